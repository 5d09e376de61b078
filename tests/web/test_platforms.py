"""A platform on the pages: asked for, shown before the decision, shortened, open, ended."""

from __future__ import annotations

import re

from broker import lifecycle
from tests.grants.platforms import granted, make_token, register
from tests.web.browser import Browser
from tests.world import World


def test_a_platform_is_asked_decided_on_used_and_ended_on_the_pages(
    engineer: Browser, admin: Browser, world: World
) -> None:
    platform = register(world)
    path = f"/grants/new/{world.ticket()}"
    asked = engineer.submit(
        path,
        path,
        database_id=world.database_id,
        category="incident",
        reason="totals are wrong since the import",
        live_s="0",
        copy_s="0",
        platform=platform.id,
        platform_s="3600",
    )
    grant_id = asked.headers["Location"].removeprefix("/grants/")
    world.work()

    page = f"/grants/{grant_id}"
    shown = admin.page(page)
    assert platform.audience in shown
    assert "Nothing is read from this database itself" in shown
    assert "CRM for 1 h" in admin.page("/")
    assert admin.submit(page, f"{page}/approve", platform_s="1800").status_code == 303
    given = re.search(r"<th scope=\"row\">CRM</th><td>1 h</td><td>30 min", admin.page(page))
    assert given is not None
    assert f"broker platforms token {grant_id}" in engineer.page(page)

    lease_id, _ = make_token(world, platform.audience)
    for reader in (admin, engineer):
        assert f"for {platform.audience}" in reader.page("/")
    assert admin.submit("/", f"/leases/{lease_id}/end").status_code == 303
    assert "is void for whoever asks the broker" in admin.page(page)


def test_a_platform_without_a_time_is_asked_again_with_what_was_chosen(
    engineer: Browser, world: World
) -> None:
    platform = register(world)
    path = f"/grants/new/{world.ticket()}"
    answer = engineer.submit(
        path,
        path,
        database_id=world.database_id,
        category="incident",
        reason="totals are wrong since the import",
        live_s="3600",
        copy_s="0",
        platform=platform.id,
        platform_s="0",
    )
    assert answer.status_code == 422
    assert "name a platform and for how long" in answer.text
    assert f'value="{platform.id}" selected' in answer.text


def test_a_removed_platform_leaves_its_grants_readable(admin: Browser, world: World) -> None:
    """What was given stays as it was, in words, when the platform is gone."""
    platform = register(world)
    grant_id = granted(world, platform.id)
    with world.as_(world.operator) as tx:
        lifecycle.remove_platform(tx, platform.id, world.broker.queue)
    assert "its platform was removed" in admin.page(f"/grants/{grant_id}")
