"""The export bundle: all that a customer needs to verify a log offline, as lines of JSON.

    {"checkpoints":[…],"keys":[…],"origin":"…","v":2}      signed notes, by increasing size
    an entry, byte for byte as it was signed
    {"field":"…","salt":"…","value":…}                     what opens a field of the entry above it
    a certificate                                          DSSE envelopes, after all entries
    {"blind":"…",…}                                        its place in the root log, if it has one
    {"lines":N}                                            how many came before: nothing was cut off

Parsing says only that the form is right; `verify` says what holds. Each line is canonical (RFC
8785), so that two different files never stand for one bundle; a reader needs one line at a time.
Keys in it are hints: whoever could forge the bundle could forge them too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from broker.audit.root_log import Place, read_place, write_place
from broker.entries import (
    MAX_ENTRY_BYTES,
    SALT_BYTES,
    Json,
    canonical,
    decode_base64,
    encode_base64,
    get_name,
    get_text,
    parse_canonical,
)
from broker.errors import VerificationFailed

_FIELDS = {"v", "origin", "checkpoints", "keys"}
_OPENING_FIELDS = {"field", "salt", "value"}
_MAX_LINE_BYTES = 1 << 28  # the first line holds all checkpoints
_MAX_OPENING_BYTES = 2 * MAX_ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class Header:
    """The first line: `checkpoints` are notes, `keys` are verifier keys as text."""

    origin: str
    checkpoints: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EntryLine:
    index: int
    entry: bytes


@dataclass(frozen=True, slots=True)
class Opening:
    """The salt and value behind one commitment: field `field` of entry `index`."""

    index: int
    field: str
    salt: bytes
    value: Json


@dataclass(frozen=True, slots=True)
class CertificateLine:
    envelope: bytes


Part: TypeAlias = EntryLine | Opening | CertificateLine | Place


@dataclass(frozen=True, slots=True)
class Bundle:
    """A whole one, in memory. `entries` in order from 0; `certificates` are DSSE envelopes."""

    origin: str
    entries: tuple[bytes, ...]
    openings: tuple[Opening, ...]
    checkpoints: tuple[str, ...]
    keys: tuple[str, ...]
    certificates: tuple[bytes, ...]
    place: Place | None = None


def build_bundle(bundle: Bundle) -> bytes:
    """Raises Invalid if a value has no canonical form."""
    header = Header(bundle.origin, bundle.checkpoints, bundle.keys)
    return b"".join(write_lines(header, iter_parts(bundle)))


def iter_parts(bundle: Bundle) -> Iterator[Part]:
    """The parts of a bundle in the order of its lines."""
    openings: dict[int, list[Opening]] = {}
    for opening in bundle.openings:
        openings.setdefault(opening.index, []).append(opening)
    for index, entry in enumerate(bundle.entries):
        yield EntryLine(index, entry)
        yield from sorted(openings.get(index, ()), key=lambda opening: opening.field)
    for envelope in bundle.certificates:
        yield CertificateLine(envelope)
    if bundle.place is not None:
        yield bundle.place


def write_lines(header: Header, parts: Iterator[Part]) -> Iterator[bytes]:
    """The bundle's lines, each with its newline. Raises Invalid."""
    first: dict[str, Json] = {
        "v": 2,
        "origin": header.origin,
        "checkpoints": list(header.checkpoints),
        "keys": list(header.keys),
    }
    yield canonical(first, max_bytes=None) + b"\n"
    lines = 1
    for part in parts:
        yield _line(part) + b"\n"
        lines += 1
    yield canonical({"lines": lines}) + b"\n"


def _line(part: Part) -> bytes:
    match part:
        case EntryLine(entry=entry):
            return entry
        case CertificateLine(envelope=envelope):
            return envelope
        case Place():
            return write_place(part)
    opening = {"field": part.field, "salt": encode_base64(part.salt), "value": part.value}
    return canonical(opening, max_bytes=None)


def read_bundle(file: BinaryIO) -> tuple[Header, Iterator[Part]]:
    """The first line, and the other parts as they are read.

    Both raise VerificationFailed unless `write_lines` could have made exactly these bytes.
    """
    first = parse_canonical(_read_line(file), max_bytes=None)
    if first.keys() != _FIELDS or first["v"] != 2:
        raise VerificationFailed("a bundle of version 2 begins with other fields")
    header = Header(get_name(first, "origin"), _texts(first, "checkpoints"), _texts(first, "keys"))
    return header, _read_parts(file)


def _read_parts(file: BinaryIO) -> Iterator[Part]:
    """What a line is, its beginning says: the first of its keys, in their order. Whatever is
    nothing else is an entry, for the verifier to judge.
    """
    lines, index, field = 1, -1, ""
    certified = placed = False
    while not (line := _read_line(file)).startswith(b'{"lines":'):
        lines += 1
        if placed:
            raise VerificationFailed("something stands after its place in the root log")
        if line.startswith(b'{"blind":'):
            placed = True
            yield read_place(line)
        elif line.startswith(b'{"payload":'):
            certified = True
            yield CertificateLine(line)
        elif certified:
            raise VerificationFailed("something stands after a certificate")
        elif line.startswith(b'{"field":'):
            opening = _opening(line, index)
            if opening.field <= field or index < 0:
                raise VerificationFailed("openings are out of order, or one stands there twice")
            field = opening.field
            yield opening
        else:
            index, field = index + 1, ""
            yield EntryLine(index, line)
    if line != canonical({"lines": lines}) or file.read(1):
        raise VerificationFailed(f"the last line does not count the {lines} before it")


def _read_line(file: BinaryIO) -> bytes:
    line = file.readline(_MAX_LINE_BYTES)
    if not line.endswith(b"\n"):
        raise VerificationFailed("it was cut off")
    return line[:-1]


def parse_bundle(data: bytes) -> Bundle:
    """The whole of it. Raises VerificationFailed."""
    header, found = read_bundle(io.BytesIO(data))
    parts = list(found)
    return Bundle(
        origin=header.origin,
        entries=tuple(part.entry for part in parts if isinstance(part, EntryLine)),
        openings=tuple(part for part in parts if isinstance(part, Opening)),
        checkpoints=header.checkpoints,
        keys=header.keys,
        certificates=tuple(p.envelope for p in parts if isinstance(p, CertificateLine)),
        place=next((part for part in parts if isinstance(part, Place)), None),
    )


def find_origin(file: BinaryIO) -> str | None:
    """Whose log the bundle says it is: to look up what its reader holds, never to believe."""
    try:
        return read_bundle(file)[0].origin
    except VerificationFailed:
        return None


def _opening(line: bytes, index: int) -> Opening:
    item = parse_canonical(line, max_bytes=_MAX_OPENING_BYTES)
    if item.keys() != _OPENING_FIELDS:
        raise VerificationFailed("an opening has field, salt and value")
    salt = decode_base64(get_text(item, "salt"), SALT_BYTES)
    return Opening(index, get_text(item, "field"), salt, item["value"])


def _texts(document: dict[str, Json], name: str) -> tuple[str, ...]:
    items = document[name]
    if not isinstance(items, list):
        raise VerificationFailed(f"{name!r} is not a list")
    texts: Sequence[str] = [item for item in items if isinstance(item, str)]
    if len(texts) != len(items):
        raise VerificationFailed(f"{name!r} holds something that is not a string")
    return tuple(texts)
