"""Each page for each role: it renders, and says what it must."""

from __future__ import annotations

import pytest

from tests.web.browser import Browser
from tests.world import World


@pytest.fixture
def story(world: World) -> dict[str, str]:
    """One request that waits, one grant with a copy that was destroyed, one with a living one."""
    waiting = world.request()
    world.work()
    ended = world.approved()
    gone = world.order(ended)
    world.work()
    from broker import lifecycle

    with world.as_(world.admin) as tx:
        lifecycle.end_grant_by_click(tx, ended, world.broker.queue)
    world.work()
    world.sweep() if hasattr(world, "sweep") else None
    open_ = world.approved()
    copy = world.order(open_)
    world.lease(open_)
    world.work()
    return {"waiting": waiting, "ended": ended, "gone": gone, "open": open_, "copy": copy}


def test_every_page_of_the_admin_renders(
    admin: Browser, world: World, story: dict[str, str]
) -> None:
    home = admin.page("/")
    assert "Read and decide" in home
    for path in ("/copies", "/certificates", "/log", f"/tenants/{world.tenant}/end-everything"):
        admin.page(path)
    for name in ("waiting", "ended", "open"):
        admin.page(f"/grants/{story[name]}")
        admin.page(f"/fragments/grants/{story[name]}")
    for name in ("gone", "copy"):
        admin.page(f"/copies/{story[name]}")
        admin.page(f"/fragments/copies/{story[name]}")
    for path in ("/fragments/home", "/fragments/copies"):
        admin.page(path)
    print(admin.page("/certificates"))
