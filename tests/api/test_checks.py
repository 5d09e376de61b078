"""Looks ordered and read over HTTP; a registration orders the first."""

from __future__ import annotations

import sqlalchemy as sa

from broker.tx import system
from tests.api.conftest import Api
from tests.stories import forget_looks
from tests.world import World


def waiting_looks(world: World) -> set[str]:
    with world.as_(system("tests")) as tx:
        query = "SELECT args->>'identity' FROM procrastinate_jobs WHERE task_name = 'check_target'"
        return set(tx.session.scalars(sa.text(query)))


def test_a_look_is_ordered_made_and_read(api: Api) -> None:
    world = api.world
    forget_looks(world)
    path = f"/databases/{world.database_id}"
    before = api.get(world.admin, f"{path}/preflight").json
    assert (before["pending"], before["asked_at"], before["findings"]) == (False, None, [])
    ordered = api.post(world.admin, f"{path}/check")
    assert (ordered.status_code, ordered.json["pending"]) == (202, True)
    world.work()
    found = api.get(world.admin, f"{path}/preflight?wait=10").json
    assert (found["pending"], found["fatal"], found["stuck_reason"]) == (False, 0, None)
    assert found["checked_at"] >= ordered.json["asked_at"]
    codes = {finding["code"] for finding in found["findings"]}
    assert "unexplained-login" in codes  # nobody registered the superuser


def test_registering_orders_a_look_with_the_logins_that_were_named(api: Api) -> None:
    world = api.world
    body = {
        "name": "another",
        "host": "db.tenant.test",
        "port": 5432,
        "login": "sab_broker",
        "sealed_password": api.get(world.operator, "/keys/intake").json["public"],
    }
    named = {"tenant": world.tenant, "dbname": "crm", "schemas": ["crm"], "known_logins": ["app"]}
    database = api.post(world.operator, "/databases", {**body, **named}).json
    server = api.post(world.operator, "/servers", body).json
    assert database["known_logins"] == ["app"]
    assert {database["id"], server["id"]} <= waiting_looks(world)
