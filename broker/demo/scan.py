"""Searches what is left on disk for byte strings: the evidence that nothing was left.

What must stay true: every byte of every file is looked at, or a problem says which was not. Nothing
is skipped silently, for an unread file would otherwise count as a clean one. And a search that
finds nothing proves nothing until it has found what is known to be there: see `must_find`.

Packed files (zstd, gzip, bzip2, xz, zip) are searched as they are and unpacked; packed in a format
that is not opened here is a problem. Values that PostgreSQL itself compresses (rows above 2 kB,
full-page images under wal_compression) are not seen.
"""

from __future__ import annotations

import bz2
import lzma
import os
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import zstandard

from broker.errors import VerificationFailed

CHUNK_BYTES = 4 << 20
FEED_BYTES = (
    4 << 10
)  # to an unpacker at once: bounds what a few packed bytes can swell to in memory
UNPACKED_LIMIT_BYTES = 1 << 30  # per file, all its layers and members together
NESTING_LIMIT = 4


class NeedleNotFound(VerificationFailed):
    """The search did not find what is there, so what else it did not find says nothing."""

    type = "needle-not-found"


class NeedleFound(VerificationFailed):
    """Something is left, or could not be read."""

    type = "needle-found"


@dataclass(frozen=True, slots=True)
class Hit:
    """`offset` counts bytes in the file, or in the unpacked member; None: in the file's name.

    `file` is relative to the root; `member` is the way inside, e.g. `!zip:a/b.txt!gzip`.
    """

    root: str
    needle: str
    file: str
    member: str
    offset: int | None


@dataclass(frozen=True, slots=True)
class Problem:
    """What was not looked at, and why."""

    root: str
    file: str
    reason: str


@dataclass(slots=True)
class Report:
    """`files` and `bytes_read` count per root, unpacked bytes included. `vanished` were listed but
    gone when they were opened, as a running server's temporary files are.
    """

    hits: list[Hit] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    vanished: list[tuple[str, str]] = field(default_factory=list)
    files: Counter[str] = field(default_factory=Counter)
    bytes_read: Counter[str] = field(default_factory=Counter)

    def found(self, root: str) -> set[str]:
        """Names of the needles found under `root`."""
        return {hit.needle for hit in self.hits if hit.root == root}


def must_find(report: Report, root: str, names: Iterable[str]) -> None:
    """The positive control. Raises NeedleNotFound unless each name was found under `root`."""
    missing = sorted(set(names) - report.found(root))
    if missing:
        raise NeedleNotFound(
            f"the scan of {root} did not see {', '.join(missing)}, which are there", missing=missing
        )


def must_find_nothing(report: Report) -> None:
    """Raises NeedleFound when there is a hit or a problem."""
    left = [f"{h.needle} in {h.root}: {h.file}{h.member}" for h in report.hits]
    left += [f"{p.root}: {p.file} was not searched: {p.reason}" for p in report.problems]
    if left:
        raise NeedleFound(
            "; ".join(left[:20]), hits=len(report.hits), problems=len(report.problems)
        )


def scan(roots: Mapping[str, Path], needles: Mapping[str, list[bytes]]) -> Report:
    """Search each root (a folder, walked with its hidden files, or a file) for each needle.

    A needle has several byte strings when its value may stand in several forms. Symbolic links are
    not followed: one that leads out of its root is a problem, for what it leads to was not read.
    Raises ValueError without a needle, and for one so short that chance would find it.
    """
    if not needles:
        msg = "nothing to search for"
        raise ValueError(msg)
    for name, variants in needles.items():
        if not variants or any(len(variant) < 6 for variant in variants):
            msg = f"needle {name!r} is empty or shorter than 6 bytes"
            raise ValueError(msg)
    report = Report()
    for root, top in roots.items():
        for path in _walk(root, top, report):
            _FileScan(report, root, top, path, needles).run()
    return report


def _walk(root: str, top: Path, report: Report) -> Iterator[Path]:
    """Everything under `top`, or `top` itself; a folder that can't be listed is a problem."""

    def note(error: OSError) -> None:
        report.problems.append(Problem(root, str(error.filename), error.strerror or str(error)))

    if not top.is_dir():
        yield top
        return
    for folder, folders, files in os.walk(top, onerror=note):
        for name in sorted(folders + files):
            yield Path(folder, name)


class _LimitReached(Exception):
    """More was unpacked from one file than we are willing to."""


class _Unpacker(Protocol):
    """What zlib, bz2, lzma and zstandard have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, packed: bytes, /) -> bytes: ...


_Stream = Callable[
    [], Iterator[bytes]
]  # opens afresh: a layer is read twice, as it is and unpacked

_MAGIC: Final[Mapping[bytes, str]] = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x1f\x8b\x08": "gzip",
    b"BZh91AY&SY": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
    b"\x04\x22\x4d\x18": "lz4",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"PGDMP": "a pg_dump archive",
}
_UNPACKERS: Final[Mapping[str, Callable[[], _Unpacker]]] = {
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
}
_UNPACKING_ERRORS = (
    *(zlib.error, lzma.LZMAError, zstandard.ZstdError, zipfile.BadZipFile, EOFError),
    *(RuntimeError, NotImplementedError, ValueError),  # zip: encrypted, unknown method, bad field
)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _read_zip_member(path: Path, member: zipfile.ZipInfo) -> Iterator[bytes]:
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _unpack(packed: Iterator[bytes], new: Callable[[], _Unpacker]) -> Iterator[bytes]:
    """Frame after frame, to the last byte. Raises EOFError when the last one is cut short."""
    unpacker, begun, ready, ready_bytes = new(), False, list[bytes](), 0
    for chunk in packed:
        for start in range(0, len(chunk), FEED_BYTES):
            rest = chunk[start : start + FEED_BYTES]
            while rest:
                ready.append(unpacker.decompress(rest))
                ready_bytes += len(ready[-1])
                begun, rest = not unpacker.eof, unpacker.unused_data if unpacker.eof else b""
                if unpacker.eof:
                    unpacker = new()
            if ready_bytes >= CHUNK_BYTES:
                yield b"".join(ready)
                ready, ready_bytes = [], 0
    yield b"".join(ready)
    if begun:
        msg = "it ends in the middle"
        raise EOFError(msg)


@dataclass(slots=True)
class _FileScan:
    report: Report
    root: str
    top: Path
    path: Path
    needles: Mapping[str, list[bytes]]
    unpacked_bytes: int = 0

    def run(self) -> None:
        self._find(os.fsencode(self._shown), "", None)
        try:
            mode = self.path.lstat().st_mode
            if stat.S_ISLNK(mode):
                self._link()
            elif stat.S_ISREG(mode):  # a folder, socket, pipe or device holds nothing but its name
                self.report.files[self.root] += 1
                self._layer(lambda: _read(self.path), "", 0)
        except FileNotFoundError:
            self._missing()
        except OSError as error:
            self._problem(error.strerror or str(error))

    @property
    def _shown(self) -> str:
        return str(self.path.relative_to(self.top)) if self.path != self.top else self.path.name

    def _problem(self, reason: str) -> None:
        self.report.problems.append(Problem(self.root, self._shown, reason))

    def _missing(self) -> None:
        if self.path == self.top:  # the caller named it: its absence may be a mistyped name
            self._problem("there is no such file or folder")
        else:
            self.report.vanished.append((self.root, self._shown))

    def _link(self) -> None:
        self._find(os.fsencode(self.path.readlink()), "", None)
        if not Path(os.path.realpath(self.path)).is_relative_to(os.path.realpath(self.top)):
            self._problem("a link that leads out of the root: name what it leads to as a root")

    def _layer(self, opened: _Stream, member: str, depth: int) -> None:
        """Search one stream, then what is packed in it."""
        head = self._stream(opened(), member)
        packing = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
        if packing is None:
            return
        if depth == NESTING_LIMIT:
            self._problem(f"packed more than {NESTING_LIMIT} times")
            return
        try:
            self._inside(packing, opened, member, depth)
        except _LimitReached:
            self._problem(f"unpacks to more than {UNPACKED_LIMIT_BYTES} bytes: not read to its end")
        except _UNPACKING_ERRORS as error:
            self._problem(f"looks like {packing}{member} but does not unpack: {error}")

    def _inside(self, packing: str, opened: _Stream, member: str, depth: int) -> None:
        if packing in _UNPACKERS:
            new = _UNPACKERS[packing]
            self._layer(lambda: _unpack(opened(), new), f"{member}!{packing}", depth + 1)
        elif packing == "zip" and depth == 0:
            with zipfile.ZipFile(self.path) as archive:
                members = archive.infolist()
            for each in members:
                inner = partial(_read_zip_member, self.path, each)
                self._layer(inner, f"!zip:{each.filename}", 1)
        else:
            self._problem(f"{packing}{member} is not opened here")

    def _stream(self, chunks: Iterator[bytes], member: str) -> bytes:
        """Search a stream to its end and return its first bytes."""
        keep = max(len(v) for variants in self.needles.values() for v in variants) - 1
        head, tail, position = b"", b"", 0
        for chunk in chunks:
            head = head or chunk[:16]
            self.report.bytes_read[self.root] += len(chunk)
            window = tail + chunk
            self._find(window, member, position - len(tail), seen=len(tail))
            position += len(chunk)
            tail = window[-keep:]
            if member:
                self.unpacked_bytes += len(chunk)
                if self.unpacked_bytes > UNPACKED_LIMIT_BYTES:
                    raise _LimitReached
        return head

    def _find(self, window: bytes, member: str, base: int | None, seen: int = 0) -> None:
        """Note each needle in `window`; one that ends within the first `seen` bytes was noted."""
        for name, variants in self.needles.items():
            for variant in variants:
                at = window.find(variant)
                while at >= 0:
                    if at + len(variant) > seen:
                        offset = None if base is None else base + at
                        self.report.hits.append(Hit(self.root, name, self._shown, member, offset))
                    at = window.find(variant, at + 1)
