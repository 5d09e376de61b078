"""A delegate, and a later start, through the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from broker.tx import system
from tests.cli.conftest import Desk
from tests.world import add_person


def test_a_delegate_is_named_decides_with_a_later_start_and_is_taken_back(desk: Desk) -> None:
    world = desk.world
    with world.as_(system("tests")) as tx:
        person = add_person(tx, "auditor", world.tenant)
    admin, away = desk.terminal("admin", world.admin), desk.terminal("away", person)
    grant, other = world.request(), world.request()
    world.work()
    plan = world.grant(grant).asked_digest or ""
    assert away.try_("grants", "approve", grant, "--plan", plan).exit_code == 4

    name = ("delegates", "name", world.tenant, person.person_id or "", "--until")
    assert "within 92 days" in admin.try_(*name, "2999-01-01T00:00:00Z").stderr
    soon = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    (named,) = admin.json(*name, soon)
    assert (named["state"], named["giver"]) == ("standing", world.admin.person_id)
    assert named["id"] in away.run("delegates", "list", world.tenant)

    start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    decide = ("grants", "approve", grant, "--plan", plan, "--start")
    too_late = away.try_(*decide, (start + timedelta(days=8)).isoformat())
    assert "7 days" in too_late.stderr
    given = away.json(*decide, start.isoformat())
    assert datetime.fromisoformat(given["given_starts_at"]) == start
    assert datetime.fromisoformat(given["live_until"]) == start + timedelta(hours=1)
    (decision,) = admin.json("grants", "decisions", grant)
    assert decision["stood_in_for"] == world.admin.person_id

    (ended,) = away.json("delegates", "end", named["id"])
    assert ended["state"] == "ended"
    refused = away.try_("grants", "refuse", other, "--note", "not today")
    assert refused.exit_code == 4
