"""Small tables go together: one sealed object and one transaction in the sandbox for many.

Alone each would cost an object that is synced to its store, a key stream, and a dozen messages,
which is more than its rows. Their bytes stand one behind the other in the object; the manifest,
which is sealed too, says where each begins and ends. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from broker.errors import VerificationFailed

SMALL_BYTES = 4 << 20  # below, starting a child costs more than it saves
MAX_TABLES = 100
MAX_BYTES = 16 << 20
T = TypeVar("T")


def group(tables: Iterable[T], size_bytes: Callable[[T], int]) -> list[list[T]]:
    """Largest first; a table that is not small stands alone."""
    groups: list[list[T]] = []
    room = -1
    for table in sorted(tables, key=size_bytes, reverse=True):
        size = size_bytes(table)
        fits = size < SMALL_BYTES and size <= room and len(groups[-1]) < MAX_TABLES
        if not fits:
            groups.append([])
            room = MAX_BYTES if size < SMALL_BYTES else size - 1
        groups[-1].append(table)
        room -= size
    return groups


def cut(blocks: Iterator[bytes], lengths: Sequence[int | None]) -> Iterator[Iterator[bytes]]:
    """The blocks of each part, one part after the other; each is to be read before the next.

    A length of None takes all that is left. Raises VerificationFailed if the lengths do not add up.
    """
    rest = b""

    def part(length: int | None) -> Iterator[bytes]:
        nonlocal rest
        while length is None or length:
            block = rest or next(blocks, b"")
            if not block and length is None:
                return
            if not block:
                raise VerificationFailed("a sealed object ends before its last table does")
            taken, rest = block[:length], block[length:] if length is not None else b""
            length = None if length is None else length - len(taken)
            yield taken

    yield from map(part, lengths)
    if rest or next(blocks, b""):
        raise VerificationFailed("a sealed object goes on behind its last table")
