"""Certificates through the API: as a PDF, revoked, and of another tenant."""

from __future__ import annotations

from broker import janitor
from broker.audit.revocation import verify_revocation
from tests.api.conftest import Api
from tests.janitor_world import put_object
from tests.stories import pinned, sweep
from tests.world import enrol


def test_a_certificate_is_fetched_as_a_pdf_and_its_revocation_once_there_is_one(api: Api) -> None:
    world = api.world
    snapshot_id = world.order(world.approved())
    api.post(world.admin, f"/snapshots/{snapshot_id}/destroy")
    world.work()
    world.work()
    (first,) = api.get(world.admin, "/certificates").json["items"]
    path = f"/certificates/{first['id']}"
    assert first["revoked_at"] is None
    assert api.get(world.admin, f"{path}/revocation").status_code == 404

    pdf = api.get(world.admin, f"{path}/pdf?lang=fr")
    assert (pdf.status_code, pdf.mimetype) == (200, "application/pdf")
    assert pdf.data.startswith(b"%PDF-")
    assert pdf.data == api.get(world.admin, f"{path}/pdf?lang=fr").data
    assert pdf.data != api.get(world.admin, f"{path}/pdf").data
    assert api.get(world.admin, f"{path}/pdf?lang=xx").status_code == 422

    put_object(world, f"snapshots/{snapshot_id}/table-00000")
    janitor.look_everywhere(world.ports)
    sweep(world)
    assert api.get(world.admin, path).json["revoked_at"] is not None
    revocation = api.get(world.admin, f"{path}/revocation")
    assert verify_revocation(revocation.data, pinned(world)).ok

    _, stranger = enrol(world, "Another tenant")
    for form in ("", "/pdf", "/revocation", "/envelope"):
        assert api.get(stranger, f"{path}{form}").status_code == 404
