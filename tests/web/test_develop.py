"""Changing a copy's definitions: asked in the form, read in the plan, taken away by a tick."""

from __future__ import annotations

from tests.web.browser import Browser
from tests.world import World


def test_it_is_asked_read_and_taken_away_by_a_tick(
    engineer: Browser, admin: Browser, world: World
) -> None:
    path = f"/grants/new/{world.ticket()}"
    sent = {
        "database_id": world.database_id,
        "category": "incident",
        "reason": "the new index has to be tried on masked rows",
        "live_s": "3600",
        "develop": "1",
    }
    refused = engineer.submit(path, path, **sent, copy_s="0")
    assert refused.status_code == 422
    assert "ask for one too" in refused.text
    assert 'name="develop" value="1" checked' in refused.text
    made = engineer.submit(path, path, **sent, copy_s="86400").headers["Location"]
    world.work()
    told = "logins that may also change its definitions"
    assert told in engineer.page(made)
    page = admin.page(made)
    assert told in page
    assert 'name="no_develop"' in page
    answer = admin.submit(made, f"{made}/approve", no_develop="1")
    assert answer.status_code == 303
    page = engineer.page(made)
    assert "stay as they are" in page
    assert told not in page
