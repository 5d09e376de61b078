"""A store in a folder: for one machine, the demo and the tests, or a mounted volume.

What must stay true: no object is ever overwritten; an object is whole and on the disk before its
name exists; what can't be read is StoreUnavailable, never "nothing there"; no path leaves the
folder, not by `..` and not by a symbolic link.

The marker `.store` tells this store from the empty folder that an unmounted volume leaves behind.

An object is written to `.<random>.part` beside its name and linked to the name at the end. After an
error or a kill the part stays and is listed as unfinished, so that whoever cleans the prefix sees
it. Folders are entered one by one through descriptors, so that nobody swaps one for a link between
a check and its use. Publishing, listing and the removal of folders take a lock on the store:
a listing is one moment's truth, in which a name that changes is never missed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from broker.errors import Conflict, Invalid, NotFound
from broker.stores import StoredObject, StoreUnavailable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MARKER = ".store"
_SEGMENT = re.compile(r"\A[a-z0-9_-][a-z0-9._-]*\Z")
_PART = re.compile(r"\A\.[0-9a-f]{32}\.part\Z")
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class FolderStore:
    """Implements `broker.stores.Store`; see there what each call means."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def create_folder(cls, folder: Path) -> FolderStore:
        """Make an empty store. Raises Conflict if something is there already."""
        with _answering(f"the store {folder}"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise Conflict(f"{folder} is not empty; a store is made in a new folder")
            (folder / MARKER).touch(mode=0o600, exist_ok=False)
            with _opened(folder) as root:
                os.fsync(root)
        return cls(folder)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        *folders, last = _check_name(name)
        part = f".{secrets.token_hex(16)}.part"
        with contextlib.ExitStack() as stack:
            with self._answering():
                root = stack.enter_context(self._root())
                with _locked(root, fcntl.LOCK_EX):  # nobody removes a folder before it is used
                    parent = stack.enter_context(_entered(root, folders, make=True))
                    if _exists(parent, last):
                        raise Conflict(f"the store holds {name!r} already")
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                    descriptor = os.open(part, flags, 0o600, dir_fd=parent)
            sink = io.BufferedWriter(_File(descriptor, "wb", name))
            with sink:
                yield sink
                sink.flush()
                with self._answering():
                    os.fsync(descriptor)
            with self._answering(), _locked(root, fcntl.LOCK_EX):
                _publish(parent, part, last, name)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        *folders, last = _check_name(name)
        with self._answering(), self._root() as root:
            try:
                with _entered(root, folders) as parent:
                    # Without O_NONBLOCK a named pipe put in the object's place would hold us.
                    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                    descriptor = os.open(last, flags, dir_fd=parent)
                    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                        os.close(descriptor)
                        raise StoreUnavailable(f"{name!r} in the store is no file")
            except FileNotFoundError:
                raise NotFound(f"the store holds no {name!r}") from None
        with io.BufferedReader(_File(descriptor, "rb", name)) as source:
            yield cast("BinaryIO", source)

    def list_all(self, prefix: str) -> Iterator[StoredObject]:
        """`prefix` is empty or ends in `/`. Links and files that we never made are listed too."""
        folders = _check_listed(prefix.removesuffix("/")) if prefix else []
        if prefix and not prefix.endswith("/"):
            raise Invalid(f"the prefix {prefix!r} does not end in '/'")
        found: list[StoredObject] = []
        with self._answering(), self._root() as root, _locked(root, fcntl.LOCK_SH):
            if _has_folder(root, folders):
                with _entered(root, folders) as folder:
                    _walk(folder, prefix, found)
        return iter(found)

    def spare(self, stored: StoredObject) -> None:
        """Nothing: a folder ends nothing by itself."""

    def delete(self, stored: StoredObject) -> None:
        """Also what `create` would refuse to make, since a listing shows everything."""
        *folders, last = _check_listed(stored.name)
        with self._answering(), self._root() as root:
            if not self._unlink(root, folders, last):
                with _locked(root, fcntl.LOCK_EX):
                    _remove_empty(root, folders)

    def _unlink(self, root: int, folders: Sequence[str], last: str) -> bool:
        """Remove the name; whether others are left beside it. Nobody waits for the disk here: who
        lists, publishes or deletes is kept from the store for the change of a name alone.
        """
        with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as stack:
            with _locked(root, fcntl.LOCK_EX):
                parent = stack.enter_context(_entered(root, folders))
                # Gone already may mean: by a call that was killed before its fsync.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(last, dir_fd=parent)
            os.fsync(parent)
            with os.scandir(parent) as beside:
                return any(True for _ in beside)
        return False

    @contextlib.contextmanager
    def _root(self) -> Iterator[int]:
        """A descriptor of the store's folder, seen to be a store."""
        with _opened(self._folder) as root:
            if not _exists(root, MARKER):
                raise StoreUnavailable(
                    f"{self._folder} has no {MARKER}: it is no store, or its volume is not mounted"
                )
            yield root

    def _answering(self) -> contextlib.AbstractContextManager[None]:
        return _answering(f"the store {self._folder}")


class _File(io.FileIO):
    """A file whose own errors are the store's, so that they differ from those of its user."""

    def __init__(self, descriptor: int, mode: str, label: str) -> None:
        super().__init__(descriptor, mode)
        self._label = f"the object {label!r}"

    def write(self, data: ReadableBuffer) -> int:
        with _answering(self._label):
            return super().write(data)

    def readinto(self, buffer: WriteableBuffer) -> int:
        with _answering(self._label):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with _answering(self._label):
            return super().readall()


@contextlib.contextmanager
def _answering(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"{what} can't be used: {error.strerror}") from error


def _check_name(name: str) -> list[str]:
    """The segments of a name that may be made: none is hidden, so none is a part or the marker."""
    segments = name.split("/")
    if not all(_SEGMENT.match(segment) for segment in segments):
        raise Invalid(f"{name!r} can't be the name of an object")
    return segments


def _check_listed(name: str) -> list[str]:
    """The segments of a name from a listing: whatever stands here, but nothing outside."""
    segments = name.split("/")
    if "\0" in name or any(segment in {"", ".", ".."} for segment in segments):
        raise Invalid(f"{name!r} leads out of the store")
    if segments == [MARKER]:
        raise Invalid("the marker of the store is no object")
    return segments


@contextlib.contextmanager
def _opened(path: Path | str, parent: int | None = None) -> Iterator[int]:
    flags = _FOLDER_FLAGS if parent is not None else os.O_RDONLY | os.O_DIRECTORY
    descriptor = os.open(path, flags, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _entered(root: int, folders: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder `folders` below `root`; a link on the way is an OSError."""
    with contextlib.ExitStack() as stack:
        for folder in folders:
            if make and not _exists(root, folder):
                os.mkdir(folder, 0o700, dir_fd=root)
                os.fsync(root)
            root = stack.enter_context(_opened(folder, root))
        yield root


@contextlib.contextmanager
def _locked(root: int, kind: int) -> Iterator[None]:
    fcntl.flock(root, kind)  # let go by the kernel when a process dies
    try:
        yield
    finally:
        fcntl.flock(root, fcntl.LOCK_UN)


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _has_folder(root: int, folders: Sequence[str]) -> bool:
    try:
        with _entered(root, folders):
            return True
    except FileNotFoundError:
        return False


def _publish(parent: int, part: str, last: str, name: str) -> None:
    """Give the part its name. A link refuses a name that is taken; a rename would replace it."""
    try:
        os.link(part, last, src_dir_fd=parent, dst_dir_fd=parent)
    except FileExistsError:
        raise Conflict(f"the store holds {name!r} already") from None
    os.unlink(part, dir_fd=parent)
    os.fsync(parent)


def _walk(folder: int, prefix: str, found: list[StoredObject]) -> None:
    """Add everything below, in order. Nothing is skipped: what vanishes meanwhile is an error."""
    with os.scandir(folder) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    for entry in inside:
        name = prefix + entry.name
        if name == MARKER:
            continue
        if entry.is_dir(follow_symlinks=False):
            with _opened(entry.name, folder) as below:
                _walk(below, name + "/", found)
        else:
            size = entry.stat(follow_symlinks=False).st_size
            found.append(StoredObject(name, size, unfinished=bool(_PART.match(entry.name))))


def _remove_empty(root: int, folders: Sequence[str]) -> None:
    """Remove the folders that a deletion left empty, the deepest first."""
    for depth in range(len(folders), 0, -1):
        try:
            with _entered(root, folders[: depth - 1]) as parent:
                os.rmdir(folders[depth - 1], dir_fd=parent)
                os.fsync(parent)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                return  # nor is any folder above it empty
            raise
