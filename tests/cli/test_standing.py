"""`broker standing`: given on a plan that was read, used, listed, ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.cli.conftest import Desk


def test_an_admin_approves_in_advance_reads_it_and_ends_it(desk: Desk) -> None:
    world = desk.world
    shown = world.request()
    world.work()
    admin = desk.terminal("admin", world.admin)
    until = f"{datetime.now(UTC) + timedelta(days=20):%Y-%m-%dT%H:%MZ}"
    digest = world.grant(shown).asked_digest or ""
    give = ("standing", "give", "--like", shown, "--plan", digest, "--live", "1h")
    refused = admin.try_(*give, "--until", until)
    assert refused.exit_code != 0
    assert "every ticket would do" in refused.output
    given = admin.json(*give, "--severity", "1", "--without", "crm.notes", "--until", until)
    assert (given["state"], given["severities"]) == ("given", ["1"])
    plan = admin.json("standing", "plan", given["id"])
    assert [t["rows"] for t in plan["tables"] if t["name"] == "notes"] == [False]

    grant_id = world.request(world.ticket(severity="1"), live_s=3600, copy_s=0)
    world.work()
    assert admin.json("grants", "show", grant_id)["standing"] == given["id"]
    (listed,) = admin.json("standing", "list")
    assert (listed["uses"], listed["open_uses"]) == (1, 1)
    assert "agreed" in admin.try_("standing", "show", given["id"]).output
    assert admin.json("standing", "end", given["id"])["state"] == "ended"
    assert world.grant(grant_id).state == "ended"
    engineer = desk.terminal("engineer", world.engineer)
    assert engineer.try_("standing", "list").exit_code == 4
