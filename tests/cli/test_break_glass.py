"""Break-glass from the command line: `policy set`, `grants request`, `reviews`."""

from __future__ import annotations

from tests.cli.conftest import Desk
from tests.grants.glass_breaking import leads
from tests.world import REASON


def test_it_is_allowed_asked_approved_and_its_review_closed(desk: Desk) -> None:
    world = desk.world
    admin, engineer = desk.terminal("admin", world.admin), desk.terminal("eng", world.engineer)
    ask = (
        *("grants", "request", "--ticket", world.ticket(), "--database", world.database_id),
        *("--reason", REASON, "--category", "incident", "--live", "30m", "--break-glass"),
    )
    refused = engineer.try_(*ask)
    assert refused.exit_code == 4
    assert "allows no break-glass" in refused.output
    told = admin.json("policy", "set", world.tenant, "--break-glass", "--break-glass-max", "45m")
    assert (told["policy"]["break_glass"], told["policy"]["break_glass_max_s"]) == (True, 2700)
    grant_id = engineer.json(*ask)["id"]
    world.work()
    digest = world.grant(grant_id).asked_digest or ""
    for number, lead in enumerate(leads(world)):
        terminal = desk.terminal(f"lead{number}", lead)
        answer = terminal.json("grants", "approve", grant_id, "--plan", digest)
    assert (answer["state"], answer["break_glass"]) == ("approved", True)
    (review,) = admin.json("reviews", "list", "--state", "open")
    assert (review["grant"], review["late"]) == (grant_id, False)
    close = ("reviews", "close", review["id"], "--note", "we talked it through")
    assert engineer.try_(*close).exit_code == 4
    assert admin.json(*close)["state"] == "closed"
    assert engineer.json("reviews", "show", review["id"])["note"] == "we talked it through"
