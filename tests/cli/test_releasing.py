"""`broker databases release`, as a deploy hook calls it, and the page that shows the same."""

from __future__ import annotations

from tests.cli.conftest import Desk
from tests.web.browser import sign_in


def test_release_ends_with_0_when_it_is_clear_and_with_7_while_it_is_not(desk: Desk) -> None:
    world = desk.world
    world.lease(world.approved())
    world.work()
    operator = desk.terminal("operator", world.operator)
    hook = ("databases", "release", world.database_id)
    late = operator.try_(*hook, "--for", "0", "--wait", "1s")
    assert late.exit_code == 7, late.output
    assert "1 logins and 1 scopes" in late.stderr
    with desk.worker():
        found = operator.json(*hook)
    assert (found["clear"], found["logins"], found["scopes"]) == (True, 0, 0)
    assert found["released_until"]
    engineer = desk.terminal("engineer", world.engineer)
    assert engineer.try_(*hook).exit_code == 4


def test_the_page_of_a_database_releases_it_and_says_when_it_is_clear(desk: Desk) -> None:
    world = desk.world
    admin = sign_in(desk.app, world, world.admin)
    engineer = sign_in(desk.app, world, world.engineer)
    world.lease(world.approved())
    world.work()
    path = f"/databases/{world.database_id}"
    assert path in admin.page("/databases")
    assert "Not clear: 1 login" in admin.page(path)
    admin.submit(path, f"{path}/release", closed_s="600")
    world.work()
    page = admin.page(path)
    assert "Clear: no login" in page
    assert "no login is made before" in page
    assert "Release now" not in engineer.page(path)


def test_a_drill_from_both_sides(desk: Desk) -> None:
    world = desk.world
    operator = desk.terminal("operator", world.operator)
    drill = ("databases", "drill", world.database_id)
    refused = operator.try_(*drill)
    assert refused.exit_code == 6
    assert "allow-drills" in refused.stderr
    admin = sign_in(desk.app, world, world.admin)
    path = f"/databases/{world.database_id}"
    assert "none runs" in admin.page(path)
    admin.submit(path, f"{path}/drill-consent", every_s="604800")
    with desk.worker():
        found = operator.json(*drill)
    assert found["every_s"] == 604800
    assert (found["drills"][0]["state"], found["p95_dead_s"] >= 0) == ("passed", True)
    assert "dead" in operator.run("databases", "drills", world.database_id)
    page = admin.page(path)
    assert "Of the last that passed" in page
    assert "Drill now" in page
