"""A snapshot's sealed objects in the store: writing them, reading them back, deleting them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from broker import labels
from broker.errors import NotFound, VerificationFailed
from broker.sealing import (
    MANIFEST_NAME,
    Manifest,
    SealContext,
    Sealed,
    SealWriter,
    open_sealed,
    seal_writer,
)
from broker.secret import Secret
from broker.snapshots.batches import cut
from broker.snapshots.contents import SealedTable
from broker.snapshots.model import Snapshot
from broker.snapshots.ports import Ports
from broker.stores import Store

Loaded = Callable[[SealedTable, Iterator[bytes]], None]
LABEL = labels.OBJECT  # in clear, for the reaper: what this prefix is, and until when


@contextmanager
def sealed_object(
    store: Store, prefix: str, name: str, key: Secret[bytes], snapshot_id: str
) -> Iterator[SealWriter]:
    """A writer to a new sealed object; without an error in the block it is whole and visible."""
    with (
        store.create(prefix + name) as sink,
        seal_writer(sink, key, SealContext(snapshot_id, name)) as writer,
    ):
        yield writer


def put_sealed(
    store: Store, prefix: str, name: str, key: Secret[bytes], snapshot_id: str, content: bytes
) -> Sealed:
    with sealed_object(store, prefix, name, key, snapshot_id) as writer:
        writer.write(content)
    return writer.sealed


def put_label(store: Store, prefix: str, text: str) -> None:
    with store.create(prefix + LABEL) as sink:
        sink.write(text.encode())


def replace_label(store: Store, prefix: str, text: str) -> None:
    """Idempotent. A crash in between leaves no label, which ends nothing: it is put again."""
    for stored in list(store.list_all(prefix)):
        if stored.name == prefix + LABEL:
            store.delete(stored)
    put_label(store, prefix, text)


def spare_all(store: Store, prefix: str) -> None:
    """Keep what is under a prefix from the store's own end; idempotent."""
    for stored in store.list_all(prefix):
        if not stored.unfinished:
            store.spare(stored)


def delete_all(store: Store, prefix: str) -> int:
    """Delete everything under a prefix, versions and unfinished uploads too; returns how many."""
    count = 0
    for stored in list(store.list_all(prefix)):
        store.delete(stored)
        count += 1
    return count


@contextmanager
def opened_object(
    store: Store, prefix: str, expected: Sealed, key: Secret[bytes], snapshot_id: str
) -> Iterator[Iterator[bytes]]:
    """Plaintext blocks of a sealed object, which is checked as a whole before the first.

    Raises VerificationFailed naming it when it is lost, or not byte for byte what was sealed.
    """
    try:
        with store.open(prefix + expected.name) as source:
            yield open_sealed(source, key, SealContext(snapshot_id, expected.name), expected)
    except NotFound:
        raise VerificationFailed(f"the object {expected.name!r} is lost") from None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A copy's sealed objects, and the key that opens them."""

    store: Store
    snapshot: Snapshot
    data_key: Secret[bytes]

    def read(self, expected: Sealed) -> bytes:
        """For what is small: the manifest and the definitions."""
        snapshot = self.snapshot
        with opened_object(
            self.store, snapshot.prefix, expected, self.data_key, snapshot.id
        ) as blocks:
            return b"".join(blocks)

    def read_manifest(self) -> Manifest:
        size, digest = self.snapshot.manifest_size or 0, self.snapshot.manifest_sha256 or ""
        return Manifest.from_bytes(self.read(Sealed(MANIFEST_NAME, size, digest)))

    def check(self, expected: Sealed) -> None:
        """Length, digest and presence of one object. Raises VerificationFailed."""
        snapshot = self.snapshot
        with opened_object(self.store, snapshot.prefix, expected, self.data_key, snapshot.id):
            pass

    def load(self, expected: Sealed, tables: Sequence[SealedTable], loaded: Loaded) -> None:
        """Fill the tables of one object, which have been put in their order."""
        snapshot = self.snapshot
        with opened_object(
            self.store, snapshot.prefix, expected, self.data_key, snapshot.id
        ) as blocks:
            parts = cut(blocks, [table.size_bytes for table in tables])
            for table, part in zip(tables, parts, strict=True):
                loaded(table, part)


def open_artifact(ports: Ports, snapshot: Snapshot) -> Artifact:
    """Raises KeyErased, KeyHeld, KeyUnavailable."""
    wrapped = snapshot.wrapped_key or b""
    key = ports.keys.unwrap(snapshot.wrapping_key, wrapped, snapshot.id.encode())
    return Artifact(ports.store, snapshot, key)
