"""A sandbox rebuilt from its sealed artifact, and what happens when that was damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import psycopg
import pytest

from broker import lifecycle
from broker.errors import Conflict, Denied
from broker.snapshots import ordering, resetting
from broker.stores import StoreUnavailable
from broker.stores.folder import FolderStore
from tests.stories import ready_copy, retry, shut_out
from tests.world import World, add_person, connect

COUNTS = """
    SELECT format('%I.%I', schemaname, relname), (xpath('/row/c/text()', query_to_xml(
      format('SELECT count(*) AS c FROM %I.%I', schemaname, relname), false, true, '')))[1]::text
    FROM pg_stat_user_tables ORDER BY 1"""
OBJECTS = """
    SELECT 'index', indexrelid::regclass::text, indisvalid FROM pg_index
    WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'crm'::regnamespace)
    UNION ALL
    SELECT 'constraint', conrelid::regclass || ' ' || conname, convalidated FROM pg_constraint
    WHERE connamespace = 'crm'::regnamespace
    UNION ALL
    SELECT 'sequence', schemaname || '.' || sequencename || ' ' || COALESCE(last_value, 0), true
    FROM pg_sequences ORDER BY 1, 2"""


def ask(world: World, snapshot_id: str) -> None:
    with world.as_(world.engineer) as tx:
        ordering.ask_reset(tx, snapshot_id, world.broker.queue)


def look(world: World, snapshot_id: str, query: str) -> list[tuple[object, ...]]:
    with connect(world.test, world.snapshot(snapshot_id).sandbox) as connection:
        return connection.execute(query).fetchall()


def has_sandbox(world: World, snapshot_id: str) -> bool:
    name = world.snapshot(snapshot_id).sandbox
    return bool(
        world.find_on_server(world.test, "SELECT FROM pg_database WHERE datname = %s", name)
    )


def test_a_reset_gives_the_copy_as_it_was_made_without_touching_the_tenant(world: World) -> None:
    _, snapshot_id = ready_copy(world)
    counts, objects = look(world, snapshot_id, COUNTS), look(world, snapshot_id, OBJECTS)
    first, password = world.sandbox_lease(snapshot_id)
    world.work()
    with world.login(first, password) as session:
        session.execute("DELETE FROM crm.order_lines")
    with shut_out(world, "live"):
        ask(world, snapshot_id)
        with pytest.raises(Conflict, match="being reset"):
            world.sandbox_lease(snapshot_id)
        with pytest.raises(Conflict, match="already"):
            ask(world, snapshot_id)
        world.work()
    snapshot = world.snapshot(snapshot_id)
    assert (snapshot.state, snapshot.stuck_reason, snapshot.being_reset) == ("ready", None, False)
    assert look(world, snapshot_id, COUNTS) == counts
    assert look(world, snapshot_id, OBJECTS) == objects
    assert world.find_lease(first).state == "revoked"
    with pytest.raises(psycopg.OperationalError):
        world.login(first, password)
    second, password = world.sandbox_lease(snapshot_id)
    world.work()
    with world.login(second, password) as session:
        assert session.execute("SELECT count(*) FROM crm.order_lines").fetchone() != (0,)
    kinds = world.kinds()
    assert kinds.index("snapshot.reset_asked") < kinds.index("snapshot.reset")


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "flipped": flip,
    "cut": lambda content: content[:-1],
    "appended": lambda content: content + b"\0",
    "lost": lambda _: None,
}


def objects_of(world: World, snapshot_id: str) -> list[Path]:
    folder = world.broker.settings.store.folder
    assert folder is not None
    prefix = folder / world.snapshot(snapshot_id).prefix
    return sorted(path for path in prefix.iterdir() if path.name != "label")


@contextmanager
def damaged(path: Path, content: bytes | None) -> Iterator[None]:
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(whole)


def check_refused(world: World, snapshot_id: str, name: str) -> None:
    ask(world, snapshot_id)
    world.work()
    snapshot = world.snapshot(snapshot_id)
    assert (snapshot.state, snapshot.being_reset) == ("ready", False)
    assert f"'{name}'" in (snapshot.stuck_reason or "")


@pytest.mark.long
def test_a_damaged_object_is_named_and_the_sandbox_stays_as_it_was(world: World) -> None:
    _, snapshot_id = ready_copy(world)
    counts = look(world, snapshot_id, COUNTS)
    paths = objects_of(world, snapshot_id)
    assert {"manifest", "definitions", "canaries", "table-00000"} <= {path.name for path in paths}
    for path in paths:
        for damage in DAMAGES.values():
            with damaged(path, damage(path.read_bytes())):
                check_refused(world, snapshot_id, path.name)
    with damaged(paths[-1], paths[-2].read_bytes()):
        check_refused(world, snapshot_id, paths[-1].name)
    assert world.kinds().count("snapshot.reset_refused") == len(paths) * len(DAMAGES) + 1
    assert look(world, snapshot_id, COUNTS) == counts
    lease_id, password = world.sandbox_lease(snapshot_id)
    world.work()
    with world.login(lease_id, password) as session:
        assert session.execute("SELECT count(*) FROM crm.contacts").fetchone() != (0,)


class FailingStore(FolderStore):
    """A store whose volume goes away after the check, when the rows are read."""

    opened: dict[str, int]

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        self.opened[name] = self.opened.get(name, 0) + 1
        if name.endswith("table-00000") and self.opened[name] > 1:
            raise StoreUnavailable("the store is away")
        with super().open(name) as source:
            yield source


def fail_half_way(world: World, snapshot_id: str) -> None:
    folder = world.broker.settings.store.folder
    assert folder is not None
    store = FailingStore(folder)
    store.opened = {}
    ask(world, snapshot_id)
    resetting.reset(replace(world.ports, store=store), snapshot_id)
    snapshot = world.snapshot(snapshot_id)
    assert (snapshot.state, snapshot.being_reset) == ("ready", True)
    assert snapshot.stuck_reason == "the store is away"


@pytest.mark.long
def test_a_reset_that_fails_half_way_leaves_no_sandbox_and_is_tried_again(world: World) -> None:
    _, snapshot_id = ready_copy(world)
    counts = look(world, snapshot_id, COUNTS)
    fail_half_way(world, snapshot_id)
    assert not has_sandbox(world, snapshot_id)
    with pytest.raises(Conflict, match="being reset"):
        world.sandbox_lease(snapshot_id)
    retry(world)
    snapshot = world.snapshot(snapshot_id)
    assert (snapshot.state, snapshot.being_reset) == ("ready", False), snapshot.stuck_reason
    assert look(world, snapshot_id, COUNTS) == counts


@pytest.mark.long
def test_a_copy_with_neither_sandbox_nor_whole_artifact_is_condemned(world: World) -> None:
    _, snapshot_id = ready_copy(world)
    fail_half_way(world, snapshot_id)
    path = objects_of(world, snapshot_id)[-1]
    path.write_bytes(flip(path.read_bytes()))
    retry(world)
    snapshot = world.snapshot(snapshot_id)
    assert snapshot.state in {"condemned", "destroyed"}
    assert f"'{path.name}'" in (snapshot.condemned_why or "")


@pytest.mark.long
def test_a_copy_condemned_while_it_is_reset_is_destroyed(world: World) -> None:
    grant_id, snapshot_id = ready_copy(world)
    fail_half_way(world, snapshot_id)
    with world.as_(world.engineer) as tx:
        lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)
    world.work()
    ended = world.snapshot(snapshot_id)
    assert ended.state == "destroyed", ended.stuck_reason
    resetting.reset(world.ports, snapshot_id)
    assert not has_sandbox(world, snapshot_id)


def test_only_the_person_who_asked_for_the_grant_resets_its_copy(world: World) -> None:
    _, snapshot_id = ready_copy(world)
    with world.as_(world.operator) as tx:
        another = add_person(tx, "engineer", None)
    for actor in (another, world.admin, world.operator):
        with world.as_(actor) as tx, pytest.raises(Denied):
            ordering.ask_reset(tx, snapshot_id, world.broker.queue)
    assert not world.snapshot(snapshot_id).being_reset


def test_a_copy_that_is_not_ready_is_not_reset(world: World) -> None:
    snapshot_id = world.order(world.approved())
    with pytest.raises(Conflict, match="only a copy that is ready"):
        ask(world, snapshot_id)
