"""Port: a place for sealed objects. Drivers: `folder.py`.

Names are `/`-separated, ASCII `[a-z0-9._-]`; a snapshot's objects stand under its prefix
`snapshots/<snapshot id>/`. A store may keep versions and unfinished uploads: `list_all` shows them
too, and `delete` takes exactly what was listed, so that "gone" can be seen by listing again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from broker.errors import Unavailable


class StoreUnavailable(Unavailable):
    """The store did not answer, or answered nonsense; nothing is known."""

    type = "store-unavailable"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """`version` tells versions of one name apart; `unfinished` marks an upload that never ended."""

    name: str
    size_bytes: int
    version: str | None = None
    unfinished: bool = False


class Store(Protocol):
    def create(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A stream to a new object, visible when the block ends without an error, else not at all.

        Raises Conflict if the name is taken, StoreUnavailable otherwise.
        """

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Raises NotFound or StoreUnavailable."""

    def list_all(self, prefix: str) -> Iterator[StoredObject]:
        """Everything under `prefix`, versions and unfinished uploads too.

        Raises StoreUnavailable when the listing may be incomplete: "can't list" is never "absent".
        """

    def delete(self, stored: StoredObject) -> None:
        """Delete exactly this; idempotent. Raises StoreUnavailable."""

    def spare(self, stored: StoredObject) -> None:
        """Keep this from an end that the store makes by itself, for a legal hold; idempotent.

        Whoever deletes it, and the reaper by its label, still may. Raises StoreUnavailable.
        """
