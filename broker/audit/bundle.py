"""The export bundle: all that a customer needs to verify a log offline, as lines of JSON.

    {"checkpoints":[…],"keys":[…],"origin":"…","v":2}      signed notes, by increasing size
    an entry, byte for byte as it was signed
    {"field":"…","salt":"…","value":…}                     what opens a field of the entry above it
    {"hashes":"…"}                                         in place of entries that were pruned
    a certificate                                          DSSE envelopes, after all entries
    {"blind":"…",…}                                        its place in the root log, if it has one
    {"stamp":"…"}                                          a third party's time for the line above
    {"lines":N}                                            how many came before: nothing was cut off

Parsing says only that the form is right; `verify` says what holds. Each line is canonical (RFC
8785), so that two different files never stand for one bundle; a reader needs one line at a time.
Keys in it are hints: whoever could forge the bundle could forge them too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import BinaryIO, TypeAlias

from broker.audit.merkle import HASH_BYTES, split_hashes
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
RUN = 256  # hashes in a line at most
_MAX_PLACES = 2  # one that a third party stamped, and the last


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
class Pruned:
    """The leaf hashes of up to 256 entries, from `index` on, that were pruned."""

    index: int
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class CertificateLine:
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Stamp:
    """A timestamping authority's answer (RFC 3161) about the line above it: a certificate, or the
    text of the root log's checkpoint in a place.
    """

    response: bytes


Part: TypeAlias = EntryLine | Opening | Pruned | CertificateLine | Place | Stamp


@dataclass(frozen=True, slots=True)
class Bundle:
    """A whole one, in memory. `entries` in order from 0, a `Pruned` in place of those that are no
    more; `certificates` are DSSE envelopes; `stamps` by what each is over, a certificate or a
    place's checkpoint; `stamped` is an earlier place, which has a stamp.
    """

    origin: str
    entries: tuple[bytes | Pruned, ...]
    openings: tuple[Opening, ...]
    checkpoints: tuple[str, ...]
    keys: tuple[str, ...]
    certificates: tuple[bytes, ...]
    place: Place | None = None
    stamped: Place | None = None
    stamps: Mapping[bytes, bytes] = field(default_factory=dict)


def build_bundle(bundle: Bundle) -> bytes:
    """Raises Invalid if a value has no canonical form."""
    header = Header(bundle.origin, bundle.checkpoints, bundle.keys)
    return b"".join(write_lines(header, iter_parts(bundle)))


def iter_parts(bundle: Bundle) -> Iterator[Part]:
    """The parts of a bundle in the order of its lines."""
    openings: dict[int, list[Opening]] = {}
    for opening in bundle.openings:
        openings.setdefault(opening.index, []).append(opening)
    index = 0
    for entry in bundle.entries:
        if isinstance(entry, Pruned):
            yield entry
            index += len(entry.hashes)
            continue
        yield EntryLine(index, entry)
        yield from sorted(openings.get(index, ()), key=lambda opening: opening.field)
        index += 1
    for envelope in bundle.certificates:
        yield CertificateLine(envelope)
        yield from _stamps(bundle, envelope)
    for place in (bundle.stamped, bundle.place):
        if place is not None:
            yield place
            yield from _stamps(bundle, place.checkpoint.encode())


def _stamps(bundle: Bundle, of: bytes) -> Iterator[Stamp]:
    if of in bundle.stamps:
        yield Stamp(bundle.stamps[of])


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
        case Pruned(hashes=hashes):
            return canonical({"hashes": encode_base64(b"".join(hashes))})
        case Stamp(response=response):
            return canonical({"stamp": encode_base64(response)}, max_bytes=None)
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
    lines, reader = 1, _Reader()
    while not (line := _read_line(file)).startswith(b'{"lines":'):
        lines += 1
        yield reader.read(line)
    if line != canonical({"lines": lines}) or file.read(1):
        raise VerificationFailed(f"the last line does not count the {lines} before it")


class _Reader:
    """Knows what may come next. What a line is, its beginning says: the first of its keys, in their
    order. Whatever is nothing else is an entry, for the verifier to judge.
    """

    def __init__(self) -> None:
        self._rank = 0  # 0 among entries, 1 among certificates, 2 among places
        self._index, self._opened = -1, ""  # the last entry, and the last of its fields opened
        self._run = 0  # how many hashes the line above held, if it held hashes
        self._places, self._stampable = 0, False

    def read(self, line: bytes) -> Part:
        if line.startswith(b'{"stamp":'):
            return self._stamp(line)
        rank = 2 if line.startswith(b'{"blind":') else int(line.startswith(b'{"payload":'))
        if rank < self._rank:
            raise VerificationFailed("its parts are out of order")
        self._rank, self._stampable = rank, rank > 0
        if rank == 2:
            return self._place(line)
        if rank == 1:
            return CertificateLine(line)
        if line.startswith(b'{"field":'):
            return self._opening(line)
        if line.startswith(b'{"hashes":'):
            return self._hashes(line)
        self._index, self._opened, self._run = self._index + 1, "", 0
        return EntryLine(self._index, line)

    def _stamp(self, line: bytes) -> Stamp:
        if not self._stampable:
            raise VerificationFailed("a timestamp stands there twice, or below nothing")
        self._stampable = False
        return Stamp(_only(line, "stamp"))

    def _place(self, line: bytes) -> Place:
        self._places += 1
        if self._places > _MAX_PLACES:
            raise VerificationFailed("it has more than two places in the root log")
        return read_place(line)

    def _opening(self, line: bytes) -> Opening:
        item = parse_canonical(line, max_bytes=_MAX_OPENING_BYTES)
        if item.keys() != _OPENING_FIELDS:
            raise VerificationFailed("an opening has field, salt and value")
        salt, field = decode_base64(get_text(item, "salt"), SALT_BYTES), get_text(item, "field")
        if field <= self._opened or self._index < 0 or self._run:
            raise VerificationFailed("openings are out of order, or one stands there twice")
        self._opened = field
        return Opening(self._index, field, salt, item["value"])

    def _hashes(self, line: bytes) -> Pruned:
        """As long as they can be, so that there is one way to write them."""
        data = _only(line, "hashes")
        count, rest = divmod(len(data), HASH_BYTES)
        if rest or not 0 < count <= RUN or self._run not in {0, RUN}:
            raise VerificationFailed("hashes of pruned entries stand in another form")
        first, self._run, self._opened = self._index + 1, count, ""
        self._index += count
        return Pruned(first, split_hashes(data))


def _only(line: bytes, name: str) -> bytes:
    """The bytes in the one field of a line."""
    document = parse_canonical(line, max_bytes=_MAX_OPENING_BYTES)
    if document.keys() != {name}:
        raise VerificationFailed(f"a line has other fields than {name!r}")
    return decode_base64(get_text(document, name))


def _read_line(file: BinaryIO) -> bytes:
    line = file.readline(_MAX_LINE_BYTES)
    if not line.endswith(b"\n"):
        raise VerificationFailed("it was cut off")
    return line[:-1]


def parse_bundle(data: bytes) -> Bundle:
    """The whole of it. Raises VerificationFailed."""
    header, found = read_bundle(io.BytesIO(data))
    parts = list(found)
    places = [part for part in parts if isinstance(part, Place)]
    return Bundle(
        origin=header.origin,
        entries=tuple(
            part.entry if isinstance(part, EntryLine) else part
            for part in parts
            if isinstance(part, (EntryLine, Pruned))
        ),
        openings=tuple(part for part in parts if isinstance(part, Opening)),
        checkpoints=header.checkpoints,
        keys=header.keys,
        certificates=tuple(p.envelope for p in parts if isinstance(p, CertificateLine)),
        place=places[-1] if places else None,
        stamped=places[0] if len(places) > 1 else None,
        stamps={
            _what_is_stamped(above): part.response
            for above, part in pairwise(parts)
            if isinstance(part, Stamp)
        },
    )


def _what_is_stamped(part: Part) -> bytes:
    match part:
        case CertificateLine(envelope=envelope):
            return envelope
        case Place(checkpoint=checkpoint):
            return checkpoint.encode()
    raise VerificationFailed("a timestamp stands below nothing")


def find_origin(file: BinaryIO) -> str | None:
    """Whose log the bundle says it is: to look up what its reader holds, never to believe."""
    try:
        return read_bundle(file)[0].origin
    except VerificationFailed:
        return None


def _texts(document: dict[str, Json], name: str) -> tuple[str, ...]:
    items = document[name]
    if not isinstance(items, list):
        raise VerificationFailed(f"{name!r} is not a list")
    texts: Sequence[str] = [item for item in items if isinstance(item, str)]
    if len(texts) != len(items):
        raise VerificationFailed(f"{name!r} holds something that is not a string")
    return tuple(texts)
