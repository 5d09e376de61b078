"""Sealed objects: the form in which a copy leaves memory (G6).

    object = "SABSEAL1" ‖ Tink AES256_GCM_HKDF_1MB ( zstd level 1 ( plaintext ) )
    associated data = "SABSEAL1", then snapshot id, object name, part: so no object, part or header
                      can stand in another's place

What must stay true: no plaintext is released before the whole object was seen to have the length
and the SHA-256 that were noted when it was made. Tink alone does not notice bytes that were added
after a last segment that is full. And only `SealWriter.finish` writes that last segment, so that
what an abandoned writer leaves can never be opened.

Memory in both directions is a few segments of 1 MiB. All of this moves blocks, never rows.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self, cast

import tink
import zstandard
from tink import secret_key_access, streaming_aead

from broker.errors import VerificationFailed
from broker.secret import Secret

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MAGIC = b"SABSEAL1"
MANIFEST_NAME = "manifest"
BLOCK_BYTES = 1 << 20
_LEVEL = 1  # time before size: a copy lives for days
_MANIFEST_FORM = 1


@dataclass(frozen=True, slots=True)
class SealContext:
    """Where a sealed object belongs. `part` counts from 0 when one thing fills several objects."""

    snapshot_id: str
    name: str
    part: int = 0

    def associated_data(self) -> bytes:
        """Each field behind its length, so that no two contexts give the same bytes."""
        fields = (self.snapshot_id.encode(), self.name.encode(), str(self.part).encode())
        return MAGIC + b"".join(len(field).to_bytes(4, "big") + field for field in fields)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What an object must look like in its store: exact length and SHA-256 (hex) as sealed."""

    name: str
    size_bytes: int
    sha256: str


def new_data_key() -> Secret[bytes]:
    """A fresh key for one snapshot: a serialised Tink keyset. Wrap it before it is stored."""
    _register()
    template = streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB
    handle = tink.new_keyset_handle(template)
    return Secret(bytes(tink.proto_keyset_format.serialize(handle, secret_key_access.TOKEN)))


def seal_writer(sink: BinaryIO, key: Secret[bytes], context: SealContext) -> SealWriter:
    """Seal what is written into `sink`, which stays open; the result is known at the end.

    with store.create(name) as sink, seal_writer(sink, key, context) as writer:
        writer.write(block)
    note(writer.sealed)
    """
    return SealWriter(sink, key, context)


class SealWriter:
    """Compresses, encrypts, counts and digests. An error in its block abandons the object."""

    def __init__(self, sink: BinaryIO, key: Secret[bytes], context: SealContext) -> None:
        self._name = context.name
        self._sink = _Sink(sink)
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
        self._sealed: Sealed | None = None
        with self._sink.accepting():
            self._sink.write(MAGIC)
            stream = _primitive(key, context).new_encrypting_stream(
                self._sink, context.associated_data()
            )
            self._stream = cast("BinaryIO", stream)

    def write(self, block: bytes | bytearray) -> int:
        """Take all of `block` and return its length in bytes; raises what the sink raised."""
        with self._sink.accepting():
            self._stream.write(self._compressor.compress(block))
        return len(block)

    def finish(self) -> Sealed:
        """Write the last segment; once. Without it the object can't be opened."""
        if self._sealed is None:
            with self._sink.accepting():
                self._stream.write(self._compressor.flush())
                self._stream.close()
            self._sealed = Sealed(self._name, self._sink.size_bytes, self._sink.digest.hexdigest())
        return self._sealed

    @property
    def sealed(self) -> Sealed:
        if self._sealed is None:
            msg = f"the object {self._name!r} is not finished"
            raise ValueError(msg)
        return self._sealed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()


def open_sealed(
    source: BinaryIO, key: Secret[bytes], context: SealContext, expected: Sealed
) -> Iterator[bytes]:
    """Check all of `source` (seekable, left open), then give its plaintext in blocks of 1 MiB.

    The length and the digest are checked when this is called; each block's authenticity as it is
    read. Raises VerificationFailed, and what the source raises.
    """
    if expected.name != context.name:
        raise VerificationFailed(f"{expected.name!r} was offered in place of {context.name!r}")
    _check_as_sealed(source, expected)
    source.seek(0)
    if source.read(len(MAGIC)) != MAGIC:
        raise VerificationFailed(f"the object {context.name!r} is not in the form {MAGIC.decode()}")
    return _plain_blocks(_Source(source, expected.size_bytes - len(MAGIC)), key, context)


def _check_as_sealed(source: BinaryIO, expected: Sealed) -> None:
    source.seek(0)
    digest = hashlib.sha256()
    size = 0
    while block := source.read(BLOCK_BYTES):
        size += len(block)
        if size > expected.size_bytes:
            break
        digest.update(block)
    if size != expected.size_bytes:
        more = "longer" if size > expected.size_bytes else "shorter"
        raise VerificationFailed(
            f"the object {expected.name!r} is {more} than the {expected.size_bytes} bytes sealed"
        )
    if digest.hexdigest() != expected.sha256:
        raise VerificationFailed(f"the object {expected.name!r} is not the one that was sealed")


def _plain_blocks(source: _Source, key: Secret[bytes], context: SealContext) -> Iterator[bytes]:
    refused = f"the object {context.name!r} does not open with this key as this part of its copy"
    try:
        stream = _primitive(key, context).new_decrypting_stream(source, context.associated_data())
        opened = cast("BinaryIO", stream)
        plain = zstandard.ZstdDecompressor().stream_reader(opened, read_size=BLOCK_BYTES)
        while block := plain.read(BLOCK_BYTES):
            yield block
        if opened.read(1):
            raise VerificationFailed(f"the object {context.name!r} goes on behind its end")
    except (tink.TinkError, zstandard.ZstdError):
        # Tink wraps what the source raised in an error of its own, without its class.
        raise source.error or VerificationFailed(refused) from None


@functools.cache
def _register() -> None:
    streaming_aead.register()


def _primitive(key: Secret[bytes], context: SealContext) -> streaming_aead.StreamingAead:
    _register()
    try:
        handle = tink.proto_keyset_format.parse(key.reveal(), secret_key_access.TOKEN)
        return handle.primitive(streaming_aead.StreamingAead)
    except tink.TinkError:
        raise VerificationFailed(f"the data key given for {context.name!r} is no key") from None


class _Sink(io.RawIOBase):
    """Passes on everything or raises, counting and digesting.

    Tink's stream finishes itself when it is garbage collected, which would give a cut object a good
    end. So bytes pass only while one of SealWriter's calls runs, and none after a first failure.
    """

    def __init__(self, sink: BinaryIO) -> None:
        super().__init__()
        self._sink = sink
        self._accepts = False
        self._error: Exception | None = None
        self.size_bytes = 0
        self.digest = hashlib.sha256()

    @contextlib.contextmanager
    def accepting(self) -> Iterator[None]:
        if self._error is not None:
            raise self._error
        self._accepts = True
        try:
            yield
        except tink.TinkError as error:
            # Tink wraps what the sink raised in an error of its own, without its class.
            raise self._error or error from None
        finally:
            self._accepts = False

    def writable(self) -> bool:
        return True

    def write(self, block: ReadableBuffer) -> int:
        view = memoryview(block).cast("B")
        if not self._accepts or self._error is not None:
            msg = "this object was abandoned"
            raise ValueError(msg)
        try:
            self._write_all(view)
        except Exception as error:
            self._error = error
            raise
        self.size_bytes += len(view)
        self.digest.update(view)
        return len(view)

    def _write_all(self, view: memoryview) -> None:
        while view:
            written = self._sink.write(view)
            if not written:  # None or 0: a sink that does not block is no place for a copy
                msg = "the sink took nothing"
                raise OSError(msg)
            view = view[written:]


class _Source(io.RawIOBase):
    """The next `size_bytes` of a stream: what comes behind them was not checked."""

    def __init__(self, source: BinaryIO, size_bytes: int) -> None:
        super().__init__()
        self._source = source
        self._left = size_bytes
        self.error: Exception | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            block = self._source.read(self._left if size < 0 else min(size, self._left))
        except Exception as error:
            self.error = error
            raise
        self._left -= len(block)
        return block


@dataclass(frozen=True, slots=True)
class Manifest:
    """All objects of a copy and what must be known of it; sealed itself as `MANIFEST_NAME`.

    `facts` are words and whole numbers, e.g. `{"rows:public.orders": 9121}`.
    """

    objects: tuple[Sealed, ...]
    facts: Mapping[str, str | int]

    def __post_init__(self) -> None:
        names = [sealed.name for sealed in self.objects]
        if len(set(names)) != len(names):
            raise VerificationFailed("a manifest names one object twice")
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))

    def to_bytes(self) -> bytes:
        """The one form of this manifest: sorted keys, no spaces, ASCII."""
        document = {
            "form": _MANIFEST_FORM,
            "objects": [
                {"name": sealed.name, "sha256": sealed.sha256, "size_bytes": sealed.size_bytes}
                for sealed in self.objects
            ],
            "facts": dict(self.facts),
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest:
        """Strict: only the very bytes that `to_bytes` gives. Raises VerificationFailed."""
        try:
            document = json.loads(content)
            objects = tuple(
                Sealed(_text(item["name"]), _number(item["size_bytes"]), _text(item["sha256"]))
                for item in document["objects"]
            )
            facts = {key: _fact(value) for key, value in document["facts"].items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise VerificationFailed("the manifest is malformed") from None
        manifest = cls(objects, facts)
        if manifest.to_bytes() != content:
            raise VerificationFailed("the manifest is not in its one form")
        return manifest


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError


def _number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError


def _fact(value: object) -> str | int:
    return _text(value) if isinstance(value, str) else _number(value)
