"""G8. `destroyed` means that fresh, independent looks found nothing in any place that the copy's
inventory names, nor in any place that carries its label.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg import sql

from broker.errors import Unavailable
from broker.snapshots import looks
from broker.snapshots.model import Snapshot
from broker.stores import StoredObject
from tests.stories import ready_copy, retry, sandbox_server
from tests.world import World, connect


@contextmanager
def renamed_clone(world: World, snapshot: Snapshot) -> Iterator[None]:
    """Somebody with a superuser's login cloned the sandbox, and gave the clone its label."""
    clone = sql.Identifier("sab_clone")
    with connect(world.test) as connection:
        (label,) = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
            [snapshot.sandbox],
        ).fetchone() or ("",)
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                clone, sql.Identifier(snapshot.sandbox)
            )
        )
        connection.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(clone, sql.Literal(label))
        )
        yield
        connection.execute(sql.SQL("DROP DATABASE {}").format(clone))


@contextmanager
def marked_role(world: World, snapshot: Snapshot) -> Iterator[None]:
    with connect(world.test) as connection:
        connection.execute("CREATE ROLE sab_u_left IN ROLE sab_managed")
        connection.execute(f"COMMENT ON ROLE sab_u_left IS 'sab1 sandbox {snapshot.id} altered'")
        yield
        connection.execute("DROP ROLE sab_u_left")


@contextmanager
def object_elsewhere(world: World, snapshot: Snapshot) -> Iterator[None]:
    name = f"kept/{snapshot.id}/table-00000"
    with world.ports.store.create(name) as sink:
        sink.write(b"a second copy of an object")
    yield
    world.ports.store.delete(StoredObject(name, 0))


@contextmanager
def unfinished_upload(world: World, snapshot: Snapshot) -> Iterator[None]:
    folder = (world.broker.settings.store.folder or Path()) / "kept" / snapshot.id
    folder.mkdir(parents=True)
    part = folder / f".{'0' * 32}.part"
    part.write_bytes(b"half an object")
    yield
    part.unlink()


PLANTED = {
    "a renamed clone": (renamed_clone, "sandbox"),
    "a role with its label": (marked_role, "still there: sandbox role"),
    "an object elsewhere": (object_elsewhere, "still there: artifact"),
    "an unfinished upload": (unfinished_upload, "still there: artifact"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_copy_is_not_destroyed_while_a_part_of_it_is_left(world: World, what: str) -> None:
    planted, reason = PLANTED[what]
    grant_id, snapshot_id = ready_copy(world)
    with planted(world, world.snapshot(snapshot_id)):
        world.close_ticket(world.grant(grant_id).ticket_id)
        world.work()
        snapshot = world.snapshot(snapshot_id)
        assert snapshot.state == "condemned"
        assert reason in (snapshot.stuck_reason or "")
    retry(world)
    assert world.snapshot(snapshot_id).state == "destroyed"


def test_what_lies_in_its_own_places_goes_with_the_copy_also_unfinished_and_unknown(
    world: World,
) -> None:
    grant_id, snapshot_id = ready_copy(world)
    prefix = world.snapshot(snapshot_id).prefix
    with world.ports.store.create(f"{prefix}extra") as sink:
        sink.write(b"put here by nobody that we know")
    folder = (world.broker.settings.store.folder or Path()) / prefix
    (folder / f".{'0' * 32}.part").write_bytes(b"half")
    world.close_ticket(world.grant(grant_id).ticket_id)
    world.work()
    assert world.snapshot(snapshot_id).state == "destroyed"
    assert not folder.exists()


def test_a_look_that_does_not_see_its_decoy_is_no_look(world: World) -> None:
    """At each place: with its decoy the look answers, without it there is no answer."""
    _, snapshot_id = ready_copy(world)
    snapshot, ports, server = world.snapshot(snapshot_id), world.ports, sandbox_server(world)
    looks.place_decoys(ports.database, ports.keys, ports.store, server)
    assert any(item.found for item in looks.look_at_store(ports.store, snapshot))
    assert all(item.found for item in looks.look_at_server(server, snapshot))
    assert all(item.found for item in looks.look_at_key(ports.keys, snapshot))

    ports.store.delete(StoredObject("decoys/look", 0))
    with pytest.raises(Unavailable, match="blind"):
        looks.look_at_store(ports.store, snapshot)
    ports.keys.erase("decoys/look")
    with pytest.raises(Unavailable, match="blind"):
        looks.look_at_key(ports.keys, snapshot)
    with connect(world.test) as connection:
        connection.execute(f"REVOKE sab_managed FROM sab_decoy_o GRANTED BY {server.user}")
        with pytest.raises(Unavailable, match="blind"):
            looks.look_at_server(server, snapshot)
        connection.execute("GRANT sab_managed TO sab_decoy_o")
        connection.execute("DROP DATABASE sab_decoy")
    with pytest.raises(Unavailable, match="blind"):
        looks.look_at_server(server, snapshot)


def test_a_blind_look_keeps_the_copy_condemned(world: World) -> None:
    """The listing hides databases (here: as a template), and the decoy can't be made anew."""
    grant_id, snapshot_id = ready_copy(world)
    ports = world.ports
    looks.place_decoys(ports.database, ports.keys, ports.store, sandbox_server(world))
    with connect(world.test) as connection:
        connection.execute("ALTER DATABASE sab_decoy IS_TEMPLATE true")
        world.close_ticket(world.grant(grant_id).ticket_id)
        world.work()
        snapshot = world.snapshot(snapshot_id)
        connection.execute("ALTER DATABASE sab_decoy IS_TEMPLATE false")
    assert snapshot.state == "condemned"
    assert snapshot.stuck_reason
    retry(world)
    assert world.snapshot(snapshot_id).state == "destroyed"
