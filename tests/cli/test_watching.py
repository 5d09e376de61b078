"""What is open now: `broker leases watch`, and the page that shows the same."""

from __future__ import annotations

import contextlib

from broker.tx import system
from tests.cli.conftest import Desk
from tests.engines.registered import wait_for
from tests.web.browser import sign_in
from tests.world import add_person

SCRIPT = "<script>alert(1)</script>"


def test_the_customer_watches_and_the_engineer_sees_no_statement(desk: Desk) -> None:
    world = desk.world
    with world.as_(system("tests")) as tx:
        auditor = add_person(tx, "auditor", world.tenant)
    admin = desk.terminal("admin", world.admin)
    engineer = desk.terminal("engineer", world.engineer)
    browser = sign_in(desk.app, world, auditor)
    assert "Nobody is logged in" in browser.page("/live")
    lease_id, password = world.lease(world.approved())
    world.work()
    with contextlib.closing(world.login(lease_id, password)) as session, desk.worker():
        session.execute(f"SELECT '{SCRIPT}'")
        (pane,) = admin.json("leases", "watch", "--once")
        assert SCRIPT in pane["sessions"][0]["statement"]
        assert (pane["id"], pane["problem"]) == (lease_id, None)
        assert "idle" in admin.run("leases", "watch")
        (pane,) = engineer.json("leases", "watch", "--once")
        assert pane["sessions"][0]["statement"] is None
        shown = browser.page("/live")
        assert "&lt;script&gt;alert" in shown
        assert SCRIPT not in shown
        assert "Pause" not in shown  # an auditor looks on
        admin.run("leases", "pause", lease_id)
        wait_for(lambda: admin.json("leases", "show", lease_id)["pause"] == "paused", "paused")
        assert "paused by the customer" in browser.page("/live")
        assert engineer.try_("leases", "resume", lease_id).exit_code == 4
        admin.run("grants", "pause", world.find_lease(lease_id).grant_id)
        admin.run("grants", "resume", world.find_lease(lease_id).grant_id)
        admin.run("leases", "resume", lease_id)
        wait_for(lambda: admin.json("leases", "show", lease_id)["pause"] == "open", "open again")
    world.login(lease_id, password).close()
