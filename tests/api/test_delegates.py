"""Delegates through the API, and what the list of decisions then says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from broker.tx import system
from tests.api.conftest import Api
from tests.world import add_person


def test_an_admin_names_a_delegate_who_then_decides_until_either_ends_it(api: Api) -> None:
    world = api.world
    with world.as_(system("tests")) as tx:
        away = add_person(tx, "auditor", world.tenant)
    path = f"/tenants/{world.tenant}/delegates"
    endless = api.post(world.admin, path, {"delegate": away.person_id})
    assert (endless.status_code, set(endless.json["fields"])) == (422, {"ends_at"})
    ends_at = datetime.now(UTC) + timedelta(days=93)
    too_long = {"delegate": away.person_id, "ends_at": ends_at.isoformat()}
    assert "within 92 days" in api.post(world.admin, path, too_long).json["fields"]["ends_at"]
    body = {**too_long, "ends_at": (ends_at - timedelta(days=2)).isoformat()}
    named = api.post(world.admin, path, body)
    assert named.status_code == 201
    (one,) = named.json["items"]
    assert (one["giver"], one["delegate"]) == (world.admin.person_id, away.person_id)
    assert one["state"] == "standing"
    waiting, other = world.request(), world.request()
    world.work()
    shown = {"shown_digest": world.grant(waiting).asked_digest}
    assert api.post(away, f"/grants/{waiting}/approve", shown).json["state"] == "approved"
    (decision,) = api.get(away, f"/grants/{waiting}/decisions").json["items"]
    assert decision["stood_in_for"] == world.admin.person_id
    assert decision["delegation"] == one["id"]
    ended = api.post(away, f"/delegates/{one['id']}/end")
    assert ended.json["items"][0]["state"] == "ended"
    again = api.post(away, f"/delegates/{one['id']}/end")
    assert (again.status_code, "over already" in again.json["detail"]) == (409, True)
    shown = {"shown_digest": world.grant(other).asked_digest}
    assert api.post(away, f"/grants/{other}/approve", shown).status_code == 403
