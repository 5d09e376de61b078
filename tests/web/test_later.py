"""Asking for a later start and for more time, through the forms; ending all of one person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.web.browser import Browser
from tests.world import REASON, World


def test_an_engineer_asks_for_more_time_from_a_later_start(
    engineer: Browser, admin: Browser, world: World
) -> None:
    old = world.approved()
    page = engineer.page(f"/grants/{old}")
    path = f"/grants/new/{world.grant(old).ticket_id}"
    assert f"{path}?extends={old}" in page
    start = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    sent = {"reason": REASON, "database_id": world.database_id, "category": "incident"}
    shown = f"{path}?extends={old}"
    bad = engineer.submit(shown, path, **sent, starts_at="soon")
    assert bad.status_code == 422
    made = engineer.submit(shown, path, **sent, starts_at=start)
    assert made.status_code == 303, made.text
    grant_id = made.headers["Location"].rpartition("/")[2]
    grant = world.grant(grant_id)
    assert grant.extends == old
    assert grant.starts_at is not None
    assert f"{grant.starts_at:%Y-%m-%dT%H:%M}" == start
    seen = admin.page(f"/grants/{grant_id}")
    assert f'href="/grants/{old}"' in seen
    assert "Not before" in seen


def test_an_admin_ends_everything_of_one_person_after_one_question(
    admin: Browser, engineer: Browser, world: World
) -> None:
    grants = [world.approved(), world.approved()]
    path = f"/people/{world.engineer.person_id}/end-access"
    assert path in admin.page(f"/grants/{grants[0]}")
    assert "can be taken back" in admin.page(path)
    assert engineer.get(path).status_code == 403
    assert admin.submit(path, path).status_code == 303
    assert {world.grant(grant_id).state for grant_id in grants} == {"ended"}
    assert admin.get(path).status_code == 404
