"""What a store in a folder and a keyring do wrong: the real ones, in which one call is not so.

What a file system refuses as a whole (full, read-only) is in `tests/system/test_full_disks.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from broker.keys import KeyUnavailable
from broker.keys.keyring import Keyring
from broker.snapshots import certificates, destroying, later_looks
from broker.snapshots.model import Remnant
from broker.snapshots.ports import Ports
from broker.stores import StoredObject, StoreUnavailable
from broker.stores.folder import FolderStore
from broker.tx import system
from tests.faults.behind import Behind
from tests.stories import skip, unmounted

pytestmark = pytest.mark.long


class DeletesNothing(FolderStore):
    """Says "done"."""

    def delete(self, stored: StoredObject) -> None:
        """Do nothing."""


class DeletesAndSaysNo(FolderStore):
    def delete(self, stored: StoredObject) -> None:
        super().delete(stored)
        raise StoreUnavailable("no answer")


class ErasesNothing(Keyring):
    """Says "done"."""

    def erase(self, name: str) -> None:
        """Do nothing."""


class ErasesAndSaysNo(Keyring):
    def erase(self, name: str) -> None:
        super().erase(name)
        raise KeyUnavailable("no answer")


def store_folder(behind: Behind) -> Path:
    folder = behind.broker.settings.store.folder
    assert folder is not None
    return folder


def keyring_folder(behind: Behind) -> Path:
    folder = behind.broker.settings.keys.keyring
    assert folder is not None
    return folder


LIES: dict[str, tuple[Callable[[Behind], Ports], str]] = {
    "store: said done, not done": (
        lambda b: replace(b.ports, store=DeletesNothing(store_folder(b))),
        "still there: artifact",
    ),
    "store: done, said failed": (
        lambda b: replace(b.ports, store=DeletesAndSaysNo(store_folder(b))),
        "artifact: no answer",
    ),
    "keyring: said done, not done": (
        lambda b: replace(b.ports, keys=ErasesNothing(keyring_folder(b))),
        "still there: data key",
    ),
    "keyring: done, said failed": (
        lambda b: replace(b.ports, keys=ErasesAndSaysNo(keyring_folder(b))),
        "data key: no answer",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_store_or_keyring_that_lies_keeps_the_copy_condemned(behind: Behind, lie: str) -> None:
    make, reason = LIES[lie]
    snapshot_id = behind.condemned()
    behind.end(snapshot_id, make(behind))
    assert reason in behind.is_stuck(snapshot_id)
    behind.finish(snapshot_id)


@pytest.mark.parametrize("what", ["store", "keyring"])
def test_a_folder_that_is_not_mounted_keeps_the_copy_condemned(behind: Behind, what: str) -> None:
    folder = (store_folder if what == "store" else keyring_folder)(behind)
    snapshot_id = behind.condemned()
    with unmounted(folder):
        destroying.destroy(behind.ports, snapshot_id)
    if what == "store":
        assert "artifact: " in behind.is_stuck(snapshot_id)
    behind.check_truth(snapshot_id)
    behind.finish(snapshot_id)


@pytest.mark.parametrize("what", ["store", "keyring"])
def test_an_old_copy_of_a_folder_is_found_by_the_next_look_and_ended_once_more(
    behind: Behind, what: str, tmp_path: Path
) -> None:
    """What was taken for the store when all was destroyed; the true one is mounted again later."""
    folder = (store_folder if what == "store" else keyring_folder)(behind)
    snapshot_id = behind.condemned()
    shutil.copytree(folder, tmp_path / "old")
    behind.finish(snapshot_id)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "old", folder)
    assert behind.list_left(snapshot_id)
    clock = behind.broker.database._clock
    skip(behind.world, timedelta(hours=1, seconds=1))
    behind.broker.database._clock = behind.world.broker.database._clock
    later_looks.look_again(behind.ports, snapshot_id)
    assert not behind.is_certified(snapshot_id)
    with behind.world.as_(system("tests")) as tx:
        remnant = tx.session.scalars(
            sa.select(Remnant.id).where(Remnant.snapshot_id == snapshot_id)
        ).one()
    for _ in range(2):
        destroying.destroy(behind.ports, remnant)
        certificates.certify(behind.ports, remnant)
    behind.broker.database._clock = behind.world.broker.database._clock = clock
    assert behind.is_certified(snapshot_id)
    assert behind.list_left(snapshot_id) == []
