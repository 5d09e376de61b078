"""What the console shows of what is registered and logged, at a terminal."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Desk


@pytest.mark.long
def test_what_is_registered_and_logged_is_shown(desk: Desk) -> None:
    world = desk.world
    operator = desk.terminal("operator", world.operator)
    database = operator.json("databases", "show", world.database_id)
    assert (database["id"], database["tenant"]) == (world.database_id, world.tenant)
    assert operator.json("servers", "show", world.server_id)["id"] == world.server_id
    targets = operator.run("preflights", "list", "-o", "id").split()
    assert targets == [world.database_id, world.server_id]
    for target in targets:
        assert operator.json("preflights", "show", target)["target"] == target
    admin = desk.terminal("admin", world.admin)
    last = admin.json("log", "show", world.tenant, "--last", "1")
    assert [entry["kind"] for entry in last] == ["token.created"]
    assert admin.try_("servers", "show", world.server_id).exit_code == 4
    assert operator.try_("log", "show", world.tenant).exit_code == 4
