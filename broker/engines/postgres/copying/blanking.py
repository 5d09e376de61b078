"""Takes out of an archive the text of what is never restored, before the archive is sealed.

pg_dump puts settings of the database (ALTER DATABASE … SET, which may hold a password) into every
archive and leaves no choice. Their text becomes blanks of the same length, so that nothing else in
the file moves. What must stay true: an archive whose form is not known is refused, never sealed.

The form is that of pg_dump's `pg_backup_archiver.c`, versions 1.14 to 1.16 (PostgreSQL 12 to 18): a
head, then a table of contents. A number is a sign and bytes, the lowest first; a text is its length
and its bytes, a length of -1 is no text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from broker.engines.postgres.copying import CopyFailed

_MAGIC = b"PGDMP"
_CUSTOM = 1
_FORMS = {(1, 14), (1, 15), (1, 16)}
_DATE_NUMBERS, _HEAD_TEXTS = 7, 3
_UNKNOWN = (
    "the installed pg_dump writes archives in a form that this broker does not know; "
    "install that of PostgreSQL 15 to 18"
)


@dataclass(slots=True)
class _Reader:
    content: bytes
    at: int = 0
    number_bytes: int = 4

    def byte(self) -> int:
        self.at += 1
        return self.content[self.at - 1]

    def number(self) -> int:
        sign, start = self.byte(), self.at
        self.at += self.number_bytes
        value = int.from_bytes(self.content[start : self.at], "little")
        return -value if sign else value

    def span(self) -> tuple[int, int]:
        """Where a text begins and ends."""
        length = max(self.number(), 0)
        self.at += length
        if self.at > len(self.content):
            raise IndexError
        return self.at - length, self.at

    def text(self) -> bytes:
        start, end = self.span()
        return self.content[start:end]


def blank(path: str, kinds: Collection[str]) -> None:
    """Blank the definitions of entries of these kinds in the archive without rows at `path`.

    What follows the table of contents is cut off: pg_dump goes back and writes it again, but to its
    standard output all is appended. The file is opened afresh for the same reason. Raises
    CopyFailed.
    """
    with open(path, "r+b") as stream:  # noqa: PTH123  # a descriptor, by its path
        reader = _Reader(stream.read())
        try:
            spans = list(_find_texts(reader, {kind.encode() for kind in kinds}))
        except IndexError:
            raise CopyFailed(_UNKNOWN) from None
        stream.truncate(reader.at)
        for start, end in spans:
            stream.seek(start)
            stream.write(b" " * (end - start))


def _find_texts(reader: _Reader, kinds: Collection[bytes]) -> Iterator[tuple[int, int]]:
    offset_bytes, minor = _read_head(reader)
    for _ in range(reader.number()):
        reader.number()  # dump id
        reader.number()  # whether it has data
        for _ in range(3):  # catalogue, oid, name
            reader.span()
        kind = reader.text()
        reader.number()  # section
        define, drop = reader.span(), reader.span()
        for _ in range(4):  # COPY statement, schema, tablespace, access method
            reader.span()
        if minor >= 16:
            reader.number()  # relkind
        for _ in range(2):  # owner, a word that was once WITH OIDS
            reader.span()
        while reader.text():  # dependencies, up to one that is none
            pass
        reader.at += 1 + offset_bytes
        if kind in kinds:
            yield from (define, drop)


def _read_head(reader: _Reader) -> tuple[int, int]:
    """Bytes of an offset, and the minor version of the form."""
    if reader.content[: len(_MAGIC)] != _MAGIC:
        raise CopyFailed(_UNKNOWN)
    reader.at = len(_MAGIC)
    major, minor, _ = reader.byte(), reader.byte(), reader.byte()
    reader.number_bytes, offset_bytes, form = reader.byte(), reader.byte(), reader.byte()
    if (major, minor) not in _FORMS or form != _CUSTOM:
        raise CopyFailed(_UNKNOWN)
    if minor >= 15:
        reader.byte()  # compression
    else:
        reader.number()
    for _ in range(_DATE_NUMBERS):
        reader.number()
    for _ in range(_HEAD_TEXTS):  # database, version of the server, of pg_dump
        reader.span()
    return offset_bytes, minor
