"""A file system that is full or read-only, under the store and under the keyring: real ones."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.keys.keyring import Keyring
from broker.snapshots import making
from broker.stores.folder import FolderStore
from tests.faults.behind import Behind, build_behind
from tests.world import World


@pytest.fixture(scope="module")
def behind(module_world: World) -> Iterator[Behind]:
    with build_behind(module_world) as made:
        yield made


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


@contextlib.contextmanager
def volume(folder: Path, size: str = "256k") -> Iterator[None]:
    """A file system of its own in `folder`."""
    if os.geteuid() != 0:
        pytest.fail("run as root: a file system is mounted")
    folder.mkdir()
    run("/bin/mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", folder)
    try:
        yield
    finally:
        run("/bin/umount", folder)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """An operator, or the kernel after an error, mounted it anew."""
    for mode in ("ro", "rw"):
        run("/bin/mount", "-o", f"remount,{mode}", folder)
        if mode == "ro":
            yield


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    rest = folder / "rest"
    with contextlib.suppress(OSError), rest.open("wb") as file:
        while True:
            file.write(b"x" * 4096)
            file.flush()
    yield
    rest.unlink()


def test_a_store_that_is_full_or_read_only_keeps_no_copy_from_its_end(
    behind: Behind, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    with volume(folder), behind.using(store=FolderStore.create_folder(folder)):
        first, second = behind.condemned(), behind.condemned()
        with read_only(folder):
            behind.end(first)
            assert "artifact: " in behind.is_stuck(first)
        behind.finish(first)
        with full(folder):
            behind.end(second)
        behind.finish(second)
        third = behind.planted()
        with full(folder):
            making.copy(behind.ports, third)
        assert "No space left" in (behind.world.snapshot(third).stuck_reason or "")
        assert behind.list_left(third) == [f"snapshot/{third}"]
        behind.condemn(third)
        behind.finish(third)


def test_a_keyring_that_is_full_or_read_only_keeps_the_copy_condemned_until_it_is_mended(
    behind: Behind, tmp_path: Path
) -> None:
    folder = behind.broker.settings.keys.keyring
    assert folder is not None
    there = tmp_path / "keyring"
    with volume(there, "512k"):
        for part in folder.iterdir():
            run("/bin/cp", "-a", part, there)
        with behind.using(keys=Keyring(there)):
            first, second = behind.condemned(), behind.condemned()
            with read_only(there):
                behind.end(first)
                assert "data key: " in behind.is_stuck(first)
            behind.finish(first)
            with full(there):
                behind.end(second)
            behind.finish(second)
