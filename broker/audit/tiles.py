"""Hash tiles (C2SP tlog-tiles): a tree's inner hashes by 256, so that a proof from a log of any
length is made of a few reads. Pure: which hashes lie where, and what they fold to.

A tile of level L holds up to 256 roots of whole subtrees of 256^L leaves, left to right; at level 0
these are the leaves' hashes. Only whole subtrees are in tiles, so none of their hashes changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from broker.audit.merkle import HASH_BYTES, node_hash
from broker.errors import NOT_THERE, Invalid, NotFound

WIDTH = 256
_HEIGHT = 8  # 2^8 = WIDTH
_PATH = re.compile(r"(entries|[0-6])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Tile number `number`, from the left, of level `level`."""

    level: int
    number: int


@dataclass(frozen=True, slots=True)
class Tile:
    """What a tile's path asks for. `level` is None for the tile of entries themselves."""

    level: int | None
    number: int
    width: int


def parse_path(path: str) -> Tile:
    """Read `<level>/<number>[.p/<width>]`, e.g. `0/x001/234` or `entries/005.p/17`.

    Raises NotFound, as for any other page that is not there.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise NotFound(NOT_THERE)
    number = int(match[2].replace("x", "").replace("/", ""))
    width = int(match[3]) if match[3] else WIDTH
    level = None if match[1] == "entries" else int(match[1])
    tile = Tile(level, number, width)
    if (match[3] and width >= WIDTH) or format_path(tile) != path:
        raise NotFound(NOT_THERE)
    return tile


def format_path(tile: Tile) -> str:
    """The path in its one spelling: groups of three digits, all but the last with an x."""
    digits = f"{tile.number:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    spelt = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    level = "entries" if tile.level is None else tile.level
    return f"{level}/{spelt}" + (f".p/{tile.width}" if tile.width < WIDTH else "")


def count_hashes(level: int, size: int) -> int:
    """How many hashes a tree of `size` leaves has at a level, in all its tiles together."""
    return size >> (_HEIGHT * level)


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of subtree roots."""
    row = list(hashes)
    while len(row) > 1:  # node_hash, spelt out: it is called 900 times for a proof
        pairs = zip(row[::2], row[1::2], strict=True)
        row = [sha256(b"\1" + left + right).digest() for left, right in pairs]
    return row[0]


@dataclass(frozen=True, slots=True)
class _Node:
    """A whole subtree: `width` neighbouring hashes of one tile, from `offset` on."""

    place: Place
    offset: int
    width: int


def _nodes(start: int, end: int) -> list[_Node]:
    """The whole subtrees that cover leaves `start` to `end`, largest first.

    `start` is a multiple of the first one's size, as it is in every RFC 6962 proof.
    """
    found = []
    while start < end:
        height = (end - start).bit_length() - 1
        level, rest = divmod(height, _HEIGHT)
        first = start >> (_HEIGHT * level)
        found.append(_Node(Place(level, first // WIDTH), first % WIDTH, 1 << rest))
        start += 1 << height
    return found


def places(ranges: Sequence[tuple[int, int]]) -> list[Place]:
    """The tiles that `range_root` reads for these ranges of leaves."""
    return sorted({node.place for start, end in ranges for node in _nodes(start, end)})


def range_root(start: int, end: int, tiles: Mapping[Place, bytes]) -> bytes:
    """The RFC 6962 root over leaves `start` to `end`. Raises Invalid if a tile is too short."""
    roots = [_read(node, tiles) for node in _nodes(start, end)]
    result = roots.pop()
    while roots:
        result = node_hash(roots.pop(), result)
    return result


def _read(node: _Node, tiles: Mapping[Place, bytes]) -> bytes:
    data = tiles[node.place]
    until = (node.offset + node.width) * HASH_BYTES
    if len(data) < until:
        raise Invalid(f"tile {node.place.number} of level {node.place.level} is too short")
    start = node.offset * HASH_BYTES
    return fold([data[at : at + HASH_BYTES] for at in range(start, until, HASH_BYTES)])
