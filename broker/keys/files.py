"""Small private files: whole or not at all, on the disk when a call returns, read by us alone.

What the operating system refuses is KeyUnavailable, never "no such file".
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from broker.keys import KeyUnavailable
from broker.secret import Secret


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Raises KeyUnavailable for what the operating system refuses."""
    try:
        yield
    except OSError as error:
        raise KeyUnavailable(
            f"the keyring can't be used: {error.strerror} ({error.filename})"
        ) from error


def check_private(path: Path, status: os.stat_result) -> None:
    """Raises KeyUnavailable, with the command that mends it."""
    if status.st_uid != os.geteuid():
        raise KeyUnavailable(
            f"{path} belongs to user {status.st_uid}, the broker runs as {os.geteuid()}; "
            f"run: chown {os.geteuid()} {path}"
        )
    if status.st_mode & 0o077:
        raise KeyUnavailable(f"{path} is open to other users; run: chmod go= {path}")


def find_file(path: Path) -> bytes | None:
    """The file's bytes, or None when a folder that is really there does not hold it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        path.parent.stat()  # raises when the keyring is not mounted: that says nothing of a key
        return None
    with os.fdopen(descriptor, "rb") as file:
        check_private(path, os.fstat(descriptor))
        return file.read()


def read_login(path: Path, what: str) -> Secret[str]:
    """What lets us in elsewhere, read for each call so that it may be renewed; `what` names it.

    The file may be another user's (an agent writes it), but nobody else may read it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise KeyUnavailable(f"{what} {path} can't be read: {error.strerror}") from None
    with os.fdopen(descriptor) as file:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            raise KeyUnavailable(f"{path} is open to other users; run: chmod 600 {path}")
        return Secret(file.read().strip())


def write_file(path: Path, content: bytes) -> None:
    """Whole or not at all, and on the disk when this returns. Call it under the lock.

    As there is one writer, the temporary file has one name, and one that a killed writer left is
    removed by the next. No key in it was ever used: `create` had not returned.
    """
    fresh = path.with_name(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    fresh.rename(path)
    sync_folder(path.parent)


def overwrite(path: Path, at_least: int) -> None:
    """Random bytes in place of the file's. Asks for no mode: erasing must not wait for a chmod."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(max(at_least, os.fstat(descriptor).st_size)))
        file.flush()
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable: a rename is not, until its folder is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
