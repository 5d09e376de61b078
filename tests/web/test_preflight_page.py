"""The page of a preflight: what was found, its SQL, and looking again."""

from __future__ import annotations

from psycopg import sql

from tests.stories import forget_looks
from tests.web.browser import Browser
from tests.world import World, connect

HOSTILE = "<script>alert('x')</script>"


def test_the_admin_sees_what_to_mend_and_looks_again_when_it_is(
    world: World, admin: Browser
) -> None:
    forget_looks(world)
    path = f"/preflight/{world.database_id}"
    role = sql.Identifier(HOSTILE).as_string()
    public = f"ON DATABASE {world.crm} {{}} PUBLIC"
    with connect(world.live, world.crm) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute("GRANT TEMPORARY " + public.format("TO"))
        try:
            assert "not looked at yet" in admin.page(path)
            admin.submit(path, f"{path}/check")
            assert "a look is ordered" in admin.page(path)
            world.work()
            page = admin.page(path)
        finally:
            connection.execute(f"DROP ROLE {role}")
            connection.execute("REVOKE TEMPORARY " + public.format("FROM"))
    assert "Nothing is issued here" in page
    assert "REVOKE TEMPORARY ON DATABASE" in page
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    assert "1 fatal" in admin.page("/preflight")
    admin.submit(path, f"{path}/check")
    world.work()
    assert "Nothing is issued here" not in admin.page(path)


def test_only_the_operator_sees_test_servers(
    world: World, admin: Browser, operator: Browser
) -> None:
    assert world.server_id in operator.page("/preflight")
    assert world.server_id not in admin.page("/preflight")
    path = f"/preflight/{world.server_id}"
    operator.submit(path, f"{path}/check")
    world.work()
    assert "looked at" in operator.page(path)
    assert admin.get(path).status_code == 403
