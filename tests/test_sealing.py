"""Sealed objects: whole and in their own place, or not opened at all."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import io
import re
import resource
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pytest

from broker.errors import VerificationFailed
from broker.sealing import (
    BLOCK_BYTES,
    MAGIC,
    Manifest,
    SealContext,
    Sealed,
    SealWriter,
    new_data_key,
    open_sealed,
    seal_writer,
)
from broker.secret import Secret
from broker.stores.folder import FolderStore

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

SNAPSHOT = "snp_" + "a" * 26
CONTEXT = SealContext(SNAPSHOT, "public.orders")


def seal(
    content: bytes, key: Secret[bytes], context: SealContext = CONTEXT
) -> tuple[bytes, Sealed]:
    sink = io.BytesIO()
    with seal_writer(sink, key, context) as writer:
        for start in range(0, len(content), BLOCK_BYTES):
            writer.write(content[start : start + BLOCK_BYTES])
    return sink.getvalue(), writer.sealed


def unseal(
    stored: bytes, key: Secret[bytes], expected: Sealed, context: SealContext = CONTEXT
) -> bytes:
    return b"".join(open_sealed(io.BytesIO(stored), key, context, expected))


def as_found(stored: bytes, name: str = CONTEXT.name) -> Sealed:
    """Stands for an attacker who could also change what was noted of the object."""
    return Sealed(name, len(stored), hashlib.sha256(stored).hexdigest())


@pytest.mark.parametrize("size", [0, 1, 100, BLOCK_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 7])
def test_what_was_sealed_opens_as_it_was(size: int) -> None:
    key, content = new_data_key(), secrets.token_bytes(size)
    stored, sealed = seal(content, key)
    assert unseal(stored, key, sealed) == content
    assert sealed == as_found(stored)
    assert stored.startswith(MAGIC)


def test_compressible_content_becomes_smaller_and_comes_in_bounded_blocks() -> None:
    key = new_data_key()
    stored, sealed = seal(b"a" * (20 * BLOCK_BYTES), key)
    assert sealed.size_bytes < BLOCK_BYTES
    blocks = list(open_sealed(io.BytesIO(stored), key, CONTEXT, sealed))
    assert sum(map(len, blocks)) == 20 * BLOCK_BYTES
    assert max(map(len, blocks)) == BLOCK_BYTES


def test_fifty_megabytes_pass_in_bounded_memory(tmp_path: Path) -> None:
    key, path, block = new_data_key(), tmp_path / "object", secrets.token_bytes(BLOCK_BYTES)
    seal(block, key)  # Tink's own start is no part of the measure
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    given, got = hashlib.sha256(), hashlib.sha256()
    with path.open("wb") as sink, seal_writer(sink, key, CONTEXT) as writer:
        for _ in range(50):
            given.update(block)
            writer.write(block)
    with path.open("rb") as source:
        for opened in open_sealed(source, key, CONTEXT, writer.sealed):
            got.update(opened)
    assert got.digest() == given.digest()
    assert path.stat().st_size == writer.sealed.size_bytes
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 24 * 1024


@pytest.mark.parametrize("position", [0, len(MAGIC), len(MAGIC) + 30, BLOCK_BYTES + 5, -1])
def test_a_flipped_bit_is_refused_before_any_plaintext(position: int) -> None:
    key = new_data_key()
    stored, sealed = seal(secrets.token_bytes(2 * BLOCK_BYTES), key)
    changed = bytearray(stored)
    changed[position] ^= 1
    with pytest.raises(VerificationFailed, match=r"public\.orders"):
        open_sealed(io.BytesIO(changed), key, CONTEXT, sealed)  # on the call, not on a first block


def test_a_flipped_bit_is_refused_also_when_the_digest_was_changed_with_it() -> None:
    key = new_data_key()
    stored, _ = seal(secrets.token_bytes(2 * BLOCK_BYTES), key)
    for position in (0, len(MAGIC), len(stored) // 2, len(stored) - 1):
        changed = bytearray(stored)
        changed[position] ^= 1
        with pytest.raises(VerificationFailed, match=r"public\.orders"):
            unseal(bytes(changed), key, as_found(bytes(changed)))


@pytest.mark.parametrize("keep", [0, 4, len(MAGIC), 60, BLOCK_BYTES + len(MAGIC), -1])
def test_a_cut_object_is_refused(keep: int) -> None:
    """Also where the cut falls on the border of a segment, and when the digest was changed too."""
    key = new_data_key()
    stored, sealed = seal(secrets.token_bytes(3 * BLOCK_BYTES), key)
    with pytest.raises(VerificationFailed, match="shorter"):
        unseal(stored[:keep], key, sealed)
    with pytest.raises(VerificationFailed, match=r"public\.orders"):
        unseal(stored[:keep], key, as_found(stored[:keep]))


@pytest.mark.parametrize("extra", [b"\0", b"x" * (2 * BLOCK_BYTES)])
def test_appended_bytes_are_refused(extra: bytes) -> None:
    key = new_data_key()
    stored, sealed = seal(b"rows", key)
    with pytest.raises(VerificationFailed, match="longer"):
        unseal(stored + extra, key, sealed)


@pytest.mark.parametrize(
    "other",
    [
        SealContext("snp_" + "b" * 26, CONTEXT.name),
        SealContext(SNAPSHOT, "public.people"),
        SealContext(SNAPSHOT, CONTEXT.name, part=1),
        SealContext(SNAPSHOT + CONTEXT.name[0], CONTEXT.name[1:]),
    ],
)
def test_an_object_does_not_open_in_anothers_place(other: SealContext) -> None:
    key = new_data_key()
    stored, _ = seal(b"rows", key)
    with pytest.raises(VerificationFailed, match=re.escape(other.name)):
        unseal(stored, key, as_found(stored, other.name), other)


def test_what_was_noted_of_one_object_does_not_vouch_for_another() -> None:
    key = new_data_key()
    stored, sealed = seal(b"rows", key)
    other = dataclasses.replace(CONTEXT, name="public.people")
    with pytest.raises(VerificationFailed, match="in place of"):
        unseal(stored, key, sealed, other)


def test_another_key_does_not_open_it() -> None:
    stored, sealed = seal(b"rows", new_data_key())
    with pytest.raises(VerificationFailed, match="does not open"):
        unseal(stored, new_data_key(), sealed)
    with pytest.raises(VerificationFailed, match="no key"):
        unseal(stored, Secret(b"not a keyset"), sealed)


def test_the_plaintext_is_not_in_the_object() -> None:
    content = secrets.token_bytes(4096)
    stored, _ = seal(content, new_data_key())
    assert content[:16] not in stored


class _Halves(io.BytesIO):
    """A sink that takes at most 1000 bytes a call, as a pipe or a socket may."""

    def write(self, block: ReadableBuffer) -> int:
        return super().write(memoryview(block)[:1000])


def test_a_sink_that_takes_a_little_at_a_time_gets_all() -> None:
    key, content, sink = new_data_key(), secrets.token_bytes(2 * BLOCK_BYTES), _Halves()
    with seal_writer(sink, key, CONTEXT) as writer:
        writer.write(content)
    assert unseal(sink.getvalue(), key, writer.sealed) == content


class _SinkBroke(Exception):
    pass


class _Full(io.BytesIO):
    """A sink that fails once it holds 1.5 MiB, as a full disk does."""

    def write(self, block: ReadableBuffer) -> int:
        if len(self.getvalue()) > BLOCK_BYTES * 3 // 2:
            raise _SinkBroke
        return super().write(block)


def test_an_error_of_the_sink_comes_out_as_it_was_and_for_good() -> None:
    writer = seal_writer(_Full(), new_data_key(), CONTEXT)
    with pytest.raises(_SinkBroke):
        writer.write(secrets.token_bytes(8 * BLOCK_BYTES))
    with pytest.raises(_SinkBroke):
        writer.write(b"more")
    with pytest.raises(_SinkBroke):
        writer.finish()
    with pytest.raises(ValueError, match="not finished"):
        _ = writer.sealed


def _abandon_by_error(writer: SealWriter) -> None:
    def fail() -> None:
        with writer:
            writer.write(secrets.token_bytes(5 * BLOCK_BYTES))
            raise _SinkBroke

    with pytest.raises(_SinkBroke):
        fail()


def _abandon_by_forgetting(writer: SealWriter) -> None:
    writer.write(secrets.token_bytes(5 * BLOCK_BYTES))


@pytest.mark.parametrize("abandon", [_abandon_by_error, _abandon_by_forgetting])
def test_what_an_abandoned_writer_leaves_never_opens(abandon: Callable[[SealWriter], None]) -> None:
    """Tink's stream would write a good last segment when it is garbage collected."""
    key, sink = new_data_key(), io.BytesIO()
    writer = seal_writer(sink, key, CONTEXT)
    abandon(writer)
    del writer
    gc.collect()
    stored = sink.getvalue()
    assert len(stored) > BLOCK_BYTES
    with pytest.raises(VerificationFailed):
        unseal(stored, key, as_found(stored))


class _Breaks(io.BytesIO):
    """A source that is read well once, for the check, and fails when it is read again."""

    def seek(self, position: int, whence: int = 0) -> int:
        self.rounds = getattr(self, "rounds", 0) + 1
        return super().seek(position, whence)

    def read(self, size: int | None = -1) -> bytes:
        if self.rounds == 2 and self.tell() > BLOCK_BYTES:
            raise _SinkBroke
        return super().read(size)


def test_an_error_of_the_source_comes_out_as_it_was() -> None:
    key = new_data_key()
    stored, sealed = seal(secrets.token_bytes(4 * BLOCK_BYTES), key)
    source: BinaryIO = _Breaks(stored)
    with pytest.raises(_SinkBroke):
        list(open_sealed(source, key, CONTEXT, sealed))
    assert not source.closed


def test_a_store_holds_a_sealed_object_only_when_it_is_finished(tmp_path: Path) -> None:
    store, key = FolderStore.create_folder(tmp_path / "store"), new_data_key()

    def put(*, fail: bool) -> Sealed:
        with store.create("a/b") as sink, seal_writer(sink, key, CONTEXT) as writer:
            writer.write(b"rows")
            if fail:
                raise _SinkBroke
        return writer.sealed

    with pytest.raises(_SinkBroke):
        put(fail=True)
    assert [stored.unfinished for stored in store.list_all("")] == [True]
    sealed = put(fail=False)
    with store.open("a/b") as source:
        assert b"".join(open_sealed(source, key, CONTEXT, sealed)) == b"rows"


def test_a_manifest_comes_back_as_it_was() -> None:
    manifest = Manifest(
        (Sealed("public.orders", 12, "ab" * 32), Sealed("pre-data", 0, "cd" * 32)),
        {"rows:public.örders": 9121, "server": "17.2"},
    )
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"facts":{},"form":2,"objects":[]}',
        b'{"facts":{},"form":1,"objects":[]} ',
        b'{"facts":{},"form":1,"objects":[],"objects":[]}',
        b'{"facts":{},"form":1,"more":1,"objects":[]}',
        b'{"facts":{"a":1.5},"form":1,"objects":[]}',
        b'{"facts":{"a":true},"form":1,"objects":[]}',
        b'{"facts":{},"form":1,"objects":[{"name":"a","sha256":"b","size_bytes":"1"}]}',
        b'{"facts":{},"form":1,"objects":[{"name":"a","sha256":"b"}]}',
        b"\xff",
    ],
)
def test_a_manifest_in_any_other_form_is_refused(content: bytes) -> None:
    with pytest.raises(VerificationFailed):
        Manifest.from_bytes(content)


def test_a_manifest_names_each_object_once() -> None:
    with pytest.raises(VerificationFailed, match="twice"):
        Manifest((Sealed("a", 1, "b"), Sealed("a", 2, "c")), {})
