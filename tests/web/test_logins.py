"""Our own login on a database, from its page: changing its password, confirming another server."""

from __future__ import annotations

from tests.stories import control_superuser
from tests.web.browser import Browser
from tests.world import World


def test_an_operator_changes_our_password_and_confirms_the_server_that_was_shown(
    operator: Browser, admin: Browser, engineer: Browser, world: World
) -> None:
    path = f"/databases/{world.database_id}"
    world.lease(world.approved())
    world.work()  # the server is known
    assert "Another server answers" not in operator.page(path)
    assert operator.submit(path, f"{path}/rotate").status_code == 303
    world.work()
    assert "its password changed" in admin.page(path)
    with control_superuser(world) as connection:
        connection.execute("UPDATE tenant_database SET found_cluster = '7000000000000000001'")
    for browser in (admin, engineer):
        page = browser.page(path)
        assert "Another server answers" in page
        assert f"{path}/confirm" not in page
        assert f"{path}/rotate" not in page
        assert browser.act(f"{path}/rotate").status_code == 403
        assert browser.act(f"{path}/confirm", cluster="7000000000000000001").status_code == 403
    late = operator.act(f"{path}/confirm", cluster="7000000000000000002")
    assert late.status_code == 409
    assert operator.submit(path, f"{path}/confirm").status_code == 303
    assert "Another server answers" not in operator.page(path)
    assert "server.confirmed" in world.kinds()
