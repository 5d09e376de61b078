"""A live database is taken out of use, refused while anything of ours is there (case 48)."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from broker import lifecycle, removing, tenants
from broker.errors import NotFound
from broker.removing import StillAlive
from broker.snapshots.model import LaterLook, Snapshot
from broker.tx import Tx
from tests.stories import control_superuser, sweep
from tests.world import World


def remove(world: World) -> None:
    with world.as_(world.admin) as tx:
        removing.remove_database(tx, world.database_id)


def refused(world: World) -> list[str]:
    with pytest.raises(StillAlive) as caught:
        remove(world)
    alive: list[str] = caught.value.facts["alive"]
    return alive


def server_of(world: World) -> str:
    with world.as_(world.operator) as tx:
        return tenants.list_servers(tx)[0].id


def test_a_database_and_a_server_go_once_nothing_of_ours_is_there(world: World) -> None:
    asked, server = world.request(), server_of(world)
    assert refused(world) == [asked]
    with world.as_(world.engineer) as tx:
        lifecycle.end_grant_by_click(tx, asked, world.broker.queue)
    grant = world.approved()
    lease, _ = world.lease(grant)
    copy = world.order(grant)
    world.work()
    assert set(refused(world)) > {grant, lease, copy}
    with world.as_(world.admin) as tx:
        lifecycle.end_all_of_tenant(tx, world.tenant, world.broker.queue)
    assert {lease, copy} <= set(refused(world)), "what is ended is not gone yet"
    with world.as_(world.operator) as tx, pytest.raises(StillAlive):
        removing.remove_server(tx, server)
    world.work()
    sweep(world)
    world.work()
    remove(world)

    with pytest.raises(NotFound):
        world.request()
    with pytest.raises(NotFound):
        remove(world)
    with world.as_(world.operator) as tx:
        assert not _sealed(tx, "tenant_database", world.database_id)
        due = tx.session.scalars(sa.select(LaterLook.snapshot_id)).all()
    with world.as_(world.operator) as tx, pytest.raises(StillAlive, match=copy):
        removing.remove_server(tx, server)  # a look at it is owed
    assert copy in due
    with control_superuser(world) as connection:
        connection.execute("UPDATE later_look SET passed_at = now()")
    with world.as_(world.operator) as tx:
        removing.remove_server(tx, server)
        assert not _sealed(tx, "test_server", server)
        assert tx.session.get_one(Snapshot, copy).state == "destroyed"
    with control_superuser(world) as connection, pytest.raises(Exception, match="out of use"):
        connection.execute(
            "INSERT INTO access_grant SELECT (jsonb_populate_record(g, "
            """'{"id": "gnt_late"}')).* FROM access_grant g LIMIT 1"""
        )


def _sealed(tx: Tx, table: str, identity: str) -> bytes:
    asked = sa.text(f"SELECT sealed_password FROM {table} WHERE id = :id")
    return bytes(tx.session.scalar(asked, {"id": identity}))
