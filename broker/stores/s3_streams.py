"""The two streams of an object in S3: parts out, ranges in. They know no service."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from broker.stores import StoreUnavailable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

PART_BYTES = 8 << 20
_SAME_SIZE = 1000  # parts, before they grow by another PART_BYTES: 440 GB in 10,000 of them


class PartWriter(io.RawIOBase):
    """Gathers what is written and sends whole parts; `rest` is what is left for the last one."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__()
        self._send = send
        self._gathered = bytearray()
        self._sent = 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        view = memoryview(data).cast("B")
        self._gathered += view
        size = PART_BYTES * (1 + self._sent // _SAME_SIZE)
        while len(self._gathered) >= size:
            part = bytes(memoryview(self._gathered)[:size])
            del self._gathered[:size]
            self._send(part)
            self._sent += 1
        return len(view)

    def rest(self) -> bytes:
        return bytes(self._gathered)


class RangeReader(io.BufferedIOBase):
    """An object as a file to read and to go back in; each going back is one more request.

    A body that ends before its `size_bytes` is a StoreUnavailable, not an end.
    """

    def __init__(
        self,
        body: Any,
        size_bytes: int,
        read_from: Callable[[int], Any],
        failing: Callable[[], AbstractContextManager[None]],
    ) -> None:
        super().__init__()
        self._body, self._size_bytes = body, size_bytes
        self._read_from, self._failing = read_from, failing
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        to = max(0, start + offset)
        if to != self._at:
            self._drop()
            self._at = to
        return to

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size_bytes - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        blocks: list[bytes] = []
        while wanted > 0:
            with self._failing():
                self._body = self._body or self._read_from(self._at)
                block = self._body.read(wanted)
            if not block:
                raise StoreUnavailable("an object ended before its end was reached")
            blocks.append(block)
            self._at += len(block)
            wanted -= len(block)
        return b"".join(blocks)

    def read1(self, size: int = -1, /) -> bytes:
        return self.read(size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        block = self.read(len(view))
        view[: len(block)] = block
        return len(block)

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def close(self) -> None:
        self._drop()
        super().close()
