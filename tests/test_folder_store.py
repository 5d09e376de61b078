"""The folder store: whole or not at all, never overwritten, never blind, never outside."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from broker.errors import Conflict, Invalid, NotFound
from broker.stores import Store, StoredObject, StoreUnavailable
from broker.stores.folder import FolderStore

PREFIX = "snapshots/snp_a/"
NAME = PREFIX + "public.orders"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Store:
    return FolderStore.create_folder(folder)


def put(store: Store, name: str, content: bytes = b"sealed") -> None:
    with store.create(name) as sink:
        sink.write(content)


def names(store: Store, prefix: str = "") -> list[str]:
    return [stored.name for stored in store.list_all(prefix)]


def test_what_was_put_is_read_back_and_listed(store: Store, folder: Path) -> None:
    put(store, NAME, b"x" * 3_000_000)
    put(store, PREFIX + "manifest")
    with store.open(NAME) as source:
        assert source.read() == b"x" * 3_000_000
        source.seek(0)
        assert source.read(5) == b"xxxxx"
    assert list(FolderStore(folder).list_all(PREFIX)) == [
        StoredObject(PREFIX + "manifest", 6),
        StoredObject(NAME, 3_000_000),
    ]


def test_files_and_folders_are_private(store: Store, folder: Path) -> None:
    put(store, NAME)
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_name_that_is_taken_is_a_conflict_and_keeps_its_content(store: Store) -> None:
    put(store, NAME, b"first")
    with pytest.raises(Conflict):
        put(store, NAME, b"second")
    with store.open(NAME) as source:
        assert source.read() == b"first"
    assert names(store) == [NAME]


def test_of_two_writers_of_one_name_the_second_to_end_loses(store: Store) -> None:
    def race() -> None:
        with store.create(NAME) as slow:
            slow.write(b"slow")
            put(store, NAME, b"quick")

    with pytest.raises(Conflict):
        race()
    with store.open(NAME) as source:
        assert source.read() == b"quick"
    unfinished = [stored for stored in store.list_all("") if stored.unfinished]
    assert len(unfinished) == 1


def test_an_object_has_no_name_before_it_is_whole(store: Store) -> None:
    with store.create(NAME) as sink:
        sink.write(b"sealed")
        with pytest.raises(NotFound), store.open(NAME):
            pass
        (part,) = store.list_all(PREFIX)
        assert part.unfinished
    assert list(store.list_all(PREFIX)) == [StoredObject(NAME, 6)]


class _Broke(OSError):
    pass


def test_after_an_error_the_part_is_listed_as_unfinished_and_can_be_deleted(
    store: Store, folder: Path
) -> None:
    """The caller's own error comes out as it was, also when it is one of the system's kind."""

    def fail() -> None:
        with store.create(NAME) as sink:
            sink.write(b"half")
            raise _Broke

    with pytest.raises(_Broke):
        fail()
    (part,) = store.list_all(PREFIX)
    assert part.unfinished
    assert part.size_bytes == 4
    store.delete(part)
    assert names(store) == []
    assert sorted(path.name for path in folder.iterdir()) == [".store"]


def test_after_a_kill_the_part_is_listed_as_unfinished(store: Store, folder: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from broker.stores.folder import FolderStore\n"
        f"with FolderStore(Path(sys.argv[1])).create({NAME!r}) as sink:\n"
        "    sink.write(b'half'); sink.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], check=False)
    assert done.returncode == -9
    (part,) = store.list_all(PREFIX)
    assert part.unfinished
    put(store, NAME)  # neither the part nor the lock stands in the way
    assert NAME in names(store)


def test_a_full_disk_is_the_stores_error(tmp_path: Path) -> None:
    """A limit on the size of files, in a process of its own, stands for the disk that is full."""
    FolderStore.create_folder(tmp_path / "store")
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from broker.stores import StoreUnavailable; from broker.stores.folder import FolderStore\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try:\n"
        f"    with FolderStore(Path(sys.argv[1])).create({NAME!r}) as sink:\n"
        "        for _ in range(8): sink.write(bytes(1 << 19))\n"
        "except StoreUnavailable as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "store")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "File too large" in done.stdout
    assert NAME not in names(FolderStore(tmp_path / "store"))


def test_deleting_is_idempotent_and_removes_folders_left_empty(store: Store, folder: Path) -> None:
    put(store, NAME)
    put(store, "snapshots/snp_b/manifest")
    store.delete(StoredObject(NAME, 6))
    store.delete(StoredObject(NAME, 6))
    assert sorted(path.name for path in (folder / "snapshots").iterdir()) == ["snp_b"]
    store.delete(StoredObject("snapshots/snp_b/manifest", 6))
    assert sorted(path.name for path in folder.iterdir()) == [".store"]
    assert names(store) == []


def test_a_prefix_lists_its_own_and_one_that_is_not_there_is_empty(store: Store) -> None:
    put(store, NAME)
    put(store, "snapshots/snp_ab/manifest")
    assert names(store, PREFIX) == [NAME]
    assert names(store, "snapshots/snp_c/") == []
    assert names(store, "other/snp_c/") == []


def test_a_prefix_that_could_hide_an_unfinished_part_is_refused(store: Store) -> None:
    with pytest.raises(Invalid):
        store.list_all(PREFIX + "public")


def test_a_listing_shows_what_the_store_does_not_understand(store: Store, folder: Path) -> None:
    put(store, NAME)
    strange = [".hidden", ".nfs0001", "Upper Case\n", os.fsdecode(b"\xff"), ".store"]
    for name in strange:
        (folder / PREFIX / name).write_bytes(b"?")
    (folder / PREFIX / "link").symlink_to("/etc/passwd")
    (folder / PREFIX / "dangling").symlink_to("nowhere")
    (folder / PREFIX / "loop").symlink_to(folder, target_is_directory=True)
    os.mkfifo(folder / PREFIX / "pipe")
    inside = {
        PREFIX + name for name in (*strange, "link", "dangling", "loop", "pipe", "public.orders")
    }
    assert set(names(store)) == inside
    for stored in store.list_all(PREFIX):
        store.delete(stored)
    assert names(store) == []
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "..",
        "../a",
        "a/../b",
        "./a",
        ".store",
        "a/.b",
        "A",
        "a\n",
        "a\0",
    ],
)
def test_a_name_that_could_leave_the_store_or_hide_in_it_is_refused(
    store: Store, name: str
) -> None:
    with pytest.raises(Invalid):
        put(store, name)
    with pytest.raises(Invalid), store.open(name):
        pass


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "", ".store", "a\0"])
def test_a_deletion_never_leaves_the_store_nor_takes_its_marker(store: Store, name: str) -> None:
    with pytest.raises(Invalid):
        store.delete(StoredObject(name, 0))
    with pytest.raises(Invalid):
        store.list_all("../")


def test_links_are_refused_in_every_place(store: Store, folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "public.orders").write_bytes(b"not ours")
    (folder / "snapshots").mkdir()
    (folder / "snapshots" / "snp_a").symlink_to(outside, target_is_directory=True)
    with pytest.raises(StoreUnavailable), store.open(NAME):
        pass
    with pytest.raises(StoreUnavailable):
        put(store, PREFIX + "new")
    with pytest.raises(StoreUnavailable):
        store.delete(StoredObject(NAME, 8))
    with pytest.raises(StoreUnavailable):
        store.list_all(PREFIX)
    put(store, "snapshots/snp_b/x")
    (folder / "snapshots/snp_b/y").symlink_to(outside / "public.orders")
    with pytest.raises(StoreUnavailable), store.open("snapshots/snp_b/y"):
        pass
    assert sorted(path.name for path in outside.iterdir()) == ["public.orders"]


def test_what_is_no_file_is_not_opened(store: Store, folder: Path) -> None:
    put(store, NAME)
    os.mkfifo(folder / PREFIX / "pipe")
    for name in (PREFIX + "pipe", PREFIX.removesuffix("/")):
        with pytest.raises(StoreUnavailable), store.open(name):
            pass


def test_a_store_that_is_not_mounted_is_unavailable_not_empty(store: Store, folder: Path) -> None:
    put(store, NAME)
    shutil.rmtree(folder)
    for _ in ("missing", "empty"):
        with pytest.raises(StoreUnavailable):
            store.list_all("")
        with pytest.raises(StoreUnavailable):
            store.list_all(PREFIX)
        with pytest.raises(StoreUnavailable):
            store.delete(StoredObject(NAME, 6))
        with pytest.raises(StoreUnavailable):
            put(store, NAME)
        with pytest.raises(StoreUnavailable), store.open(NAME):
            pass
        folder.mkdir(exist_ok=True)


def test_a_listing_that_can_not_be_finished_is_unavailable_as_a_whole(
    store: Store, folder: Path
) -> None:
    """Too few open files stand for any fault half-way, as root is refused nothing."""
    put(store, NAME)
    put(store, "/".join("deep" for _ in range(40)))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 20, hard))
    try:
        assert names(store, PREFIX) == [NAME]
        with pytest.raises(StoreUnavailable, match="Too many open files"):
            store.list_all("")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_store_is_never_made_over_what_is_there(store: Store, folder: Path) -> None:
    put(store, NAME)
    with pytest.raises(Conflict):
        FolderStore.create_folder(folder)
    assert names(store) == [NAME]


def test_making_and_deleting_at_once_lose_nothing(store: Store, folder: Path) -> None:
    """A deletion removes the shared parent folder while another snapshot is about to use it."""
    errors: list[BaseException] = []

    def work(who: int) -> None:
        try:
            mine = FolderStore(folder)
            for turn in range(40):
                name = f"snapshots/snp_{who}/{turn}"
                put(mine, name)
                assert names(mine, f"snapshots/snp_{who}/") == [name]
                mine.delete(StoredObject(name, 6))
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert names(store) == []
