"""`broker databases check` and `broker servers check`, beside a worker."""

from __future__ import annotations

import json

from tests.cli.conftest import Desk
from tests.world import connect


def test_check_prints_what_to_mend_and_ends_with_6_while_something_is_fatal(desk: Desk) -> None:
    world = desk.world
    operator = desk.terminal("operator", world.operator)
    check = ("databases", "check", world.database_id)
    with connect(world.live, world.crm) as connection, desk.worker():
        connection.execute(f"GRANT TEMPORARY ON DATABASE {world.crm} TO PUBLIC")
        result = operator.try_(*check)
        assert result.exit_code == 6, result.output
        assert "[database-public]" in result.stdout
        assert "REVOKE TEMPORARY ON DATABASE" in result.stdout
        as_json = operator.try_(*check, "-o", "json")
        assert as_json.exit_code == 6
        found = json.loads(as_json.stdout)
        assert (found["fatal"], found["pending"]) == (1, False)
        assert found["findings"][0]["code"] == "database-public"
        connection.execute(f"REVOKE TEMPORARY ON DATABASE {world.crm} FROM PUBLIC")
        assert operator.json(*check)["fatal"] == 0
        assert operator.json("servers", "check", world.server_id)["fatal"] == 0


def test_check_without_a_worker_is_a_wait_that_timed_out(desk: Desk) -> None:
    admin = desk.terminal("admin", desk.world.admin)
    result = admin.try_("databases", "check", desk.world.database_id, "--wait", "1s")
    assert result.exit_code == 7
    assert "a worker does it" in result.stderr
    assert admin.try_("servers", "check", desk.world.server_id).exit_code == 4
    engineer = desk.terminal("engineer", desk.world.engineer)
    assert engineer.try_("databases", "check", desk.world.database_id).exit_code == 4


def test_a_login_that_the_admin_names_is_unexplained_no_more(desk: Desk) -> None:
    world = desk.world
    admin = desk.terminal("admin", world.admin)
    check = ("databases", "check", world.database_id)
    with connect(world.live) as connection, desk.worker():
        connection.execute("CREATE ROLE backup_of_ours LOGIN")
        try:
            assert "backup_of_ours" in admin.run(*check)
            admin.run(*("databases", "know", world.database_id, "--login", "backup_of_ours"))
            assert "backup_of_ours" not in admin.run(*check)
        finally:
            connection.execute("DROP ROLE backup_of_ours")
    assert world.kinds().count("database.logins_registered") == 1
    operator = desk.terminal("operator", world.operator)
    denied = operator.try_("databases", "know", world.database_id, "--login", "backup_of_ours")
    assert denied.exit_code == 4
