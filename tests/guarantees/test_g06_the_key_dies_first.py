"""G6. A copy at rest is unreadable without its own data key, and the key is the first thing that
dies.

Here every backup that could bring a copy back is at hand: of control database and store.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from broker.db import Database
from broker.demo.canaries import KEPT_IN_COLUMN, forms
from broker.embedded import EmbeddedServer
from broker.errors import VerificationFailed
from broker.keys import KeyErased
from broker.sealing import MANIFEST_NAME, SealContext, Sealed, new_data_key, open_sealed
from broker.secret import Secret
from broker.snapshots.model import Snapshot
from broker.stores.folder import FolderStore
from tests.stories import control_database, ready_copy, unmounted, unseal_all
from tests.world import World, connect


def test_backups_of_control_database_and_store_do_not_bring_a_destroyed_copy_back(
    world: World, control_server: EmbeddedServer, tmp_path: Path
) -> None:
    grant_id, snapshot_id = ready_copy(world)
    key = unseal_all(world, snapshot_id, tmp_path / "plain")  # while it lives, it opens
    shutil.copytree(world.broker.settings.store.folder or Path(), tmp_path / "store-backup")
    name = control_database(world)
    world.broker.database.close()  # a template is cloned while nobody is connected
    with connect(control_server) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        connection.execute(f"CREATE DATABASE {name}_backup TEMPLATE {name}")
    world.close_ticket(world.grant(grant_id).ticket_id)
    world.work()
    assert world.snapshot(snapshot_id).state == "destroyed"

    backup = world.broker.settings.control.dsn.reveal().replace(name, f"{name}_backup")
    database = Database(Secret(backup))
    try:
        with Session(database.engine) as session:
            restored = session.get_one(Snapshot, snapshot_id)
            assert restored.state == "ready"
            assert restored.wrapped_key is not None
            with pytest.raises(KeyErased):
                world.ports.keys.unwrap(
                    restored.wrapping_key, restored.wrapped_key, restored.id.encode()
                )
    finally:
        database.close()
        with connect(control_server) as connection:
            connection.execute(f"DROP DATABASE {name}_backup WITH (FORCE)")
    store = FolderStore(tmp_path / "store-backup")
    expected = Sealed(MANIFEST_NAME, restored.manifest_size or 0, restored.manifest_sha256 or "")
    context = SealContext(snapshot_id, MANIFEST_NAME)
    with store.open(restored.prefix + MANIFEST_NAME) as source:
        assert b"".join(open_sealed(source, key, context, expected))  # it is the key that is missed
    with (
        store.open(restored.prefix + MANIFEST_NAME) as source,
        pytest.raises(VerificationFailed),
    ):
        list(open_sealed(source, new_data_key(), context, expected))


def test_nothing_at_rest_in_the_store_can_be_read(world: World, tmp_path: Path) -> None:
    """Not even what the tenant agreed to see in clear."""
    _, snapshot_id = ready_copy(world)
    unseal_all(world, snapshot_id, tmp_path / "plain")
    mark = forms(world.marks.kept[KEPT_IN_COLUMN])

    def holds_mark(folder: Path) -> bool:
        contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        assert len(contents) > 3
        return any(form in content for content in contents for form in mark)

    assert holds_mark(tmp_path / "plain")
    assert not holds_mark(world.broker.settings.store.folder or Path())


def test_the_key_dies_also_while_all_else_is_stuck(world: World) -> None:
    grant_id, snapshot_id = ready_copy(world)
    snapshot = world.snapshot(snapshot_id)
    assert snapshot.wrapped_key is not None
    with unmounted(world.broker.settings.store.folder or Path()):
        world.close_ticket(world.grant(grant_id).ticket_id)
        world.work()
        assert world.snapshot(snapshot_id).state == "condemned"
        with pytest.raises(KeyErased):
            world.ports.keys.unwrap(
                snapshot.wrapping_key, snapshot.wrapped_key, snapshot.id.encode()
            )
