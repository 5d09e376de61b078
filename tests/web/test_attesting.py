"""“I am done”, on the page of a copy."""

from __future__ import annotations

from broker.snapshots.queries import get_snapshot_view
from tests.stories import ready_copy
from tests.web.browser import Browser
from tests.world import World


def test_the_requester_says_what_they_took_and_the_certificate_shows_it(
    world: World, engineer: Browser, admin: Browser
) -> None:
    _, snapshot_id = ready_copy(world)
    page = f"/copies/{snapshot_id}"
    first = admin.page(page)
    assert "I am done" not in first
    assert "What differs from production" in first
    assert "crm.contacts: " in first
    assert "email (email)" in first
    assert engineer.submit(page, f"{page}/attest", took="nothing").status_code == 303
    world.work()
    shown = admin.page(page)
    assert "took nothing out of the sandbox" in shown
    with world.as_(world.admin) as tx:
        certificate = get_snapshot_view(tx, snapshot_id).certificate_id or ""
    assert "they took nothing out of the sandbox" in admin.page(f"/certificates/{certificate}")
    assert "Nobody said" not in admin.page(f"/certificates/{certificate}")
