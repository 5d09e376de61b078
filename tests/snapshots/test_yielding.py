"""A whole copy and a migration that meets it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO

from broker.snapshots import making
from broker.stores.folder import FolderStore
from tests.world import World, connect


class HeldStore(FolderStore):
    """A store that hangs when the first table is begun, until it is let go."""

    reached: threading.Event
    let_go: threading.Event

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        if name.endswith("table-00000"):
            self.reached.set()
            assert self.let_go.wait(60)
        with super().create(name) as sink:
            yield sink


def test_a_migration_passes_a_copy_that_hangs_and_the_copy_is_made_afterwards(
    world: World,
) -> None:
    grant_id = world.approved()
    snapshot_id = world.order(grant_id)
    folder = world.broker.settings.store.folder
    assert folder is not None
    store = HeldStore(folder)
    store.reached, store.let_go = threading.Event(), threading.Event()
    with ThreadPoolExecutor() as pool:
        copying = pool.submit(making.copy, replace(world.ports, store=store), snapshot_id)
        assert store.reached.wait(60)
        with connect(world.live, world.crm) as migration:
            migration.execute("ALTER TABLE crm.contacts ADD COLUMN added text")
        store.let_go.set()
        copying.result(60)
    snapshot = world.snapshot(snapshot_id)
    assert snapshot.state == "copying"
    assert "migration" in (snapshot.stuck_reason or "")
    assert not world.find_on_server(
        world.test, "SELECT FROM pg_database WHERE datname = %s", snapshot.sandbox
    )
    assert list(world.ports.store.list_all(snapshot.prefix)) == []
    making.copy(world.ports, snapshot_id)
    made = world.snapshot(snapshot_id)
    assert made.state == "ready", made.stuck_reason
    assert any("added" in change for change in (made.report or {})["drift"])
