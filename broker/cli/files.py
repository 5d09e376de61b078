"""Files that a command writes: for this user alone, whole, and never over another file."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import click

from broker.errors import Conflict, Invalid, NotFound

FILE = click.Path(path_type=Path)


def write_new(path: Path, content: bytes) -> None:
    """Make a file of mode 0600. Raises Conflict when something is there already."""
    write_pieces(path, [content])


def write_pieces(path: Path, pieces: Iterable[bytes]) -> int:
    """As `write_new`, of any length; how many bytes. What can't be had whole leaves no file."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Conflict(f"{path} is there already and was left as it is") from None
    except OSError as error:
        raise Invalid(f"{path} can't be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as out:
            return sum(out.write(piece) for piece in pieces)
    except BaseException:
        path.unlink()
        raise


def replace_file(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 in a folder of mode 0700; readers see the old or the new one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    write_new(fresh, content)
    fresh.replace(path)


def open_file(path: Path) -> BinaryIO:
    """For reading. Raises NotFound, or Invalid when it can't be read."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        raise Invalid(f"{path} can't be read: {error.strerror}") from None


def read_file(path: Path) -> bytes:
    """Raises NotFound, or Invalid when it can't be read."""
    try:
        with open_file(path) as file:
            return file.read()
    except OSError as error:
        raise Invalid(f"{path} can't be read: {error.strerror}") from None


def read_text(path: Path) -> str:
    """Raises NotFound or Invalid."""
    try:
        return read_file(path).decode()
    except UnicodeDecodeError:
        raise Invalid(f"{path} is not a text file") from None


def save_signed(content: bytes, file: Path | None, name: str) -> None:
    """A signed statement, byte for byte: into `file`, or to a program that reads our output."""
    if file is not None:
        write_new(file, content)
        click.echo(f"{file}; check it with: broker certificates verify {file}")
    elif sys.stdout.isatty():
        raise Invalid(f"say where it goes, for example: -f {name}")
    else:
        sys.stdout.buffer.write(content)
