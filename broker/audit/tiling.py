"""Stored hash tiles: written by the integrator when they are full, read for proofs.

What must stay true: a tile is derived and written once. One that is missing (a log that is older
than its tiles, a crash in between) is built from the level below when it is read, and stored by the
next integration; so tiles only make proofs quick, never possible or true: whoever checks a proof
checks it against a signed root.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from broker.audit.tiles import WIDTH, Place, count_hashes, fold, places, range_root
from broker.db import Database
from broker.trail import AuditLog, AuditTile
from broker.tx import Tx, system

_TILES = 64  # in one transaction
_LEVELS = 7
# As text: a proof is some of these, and composing them took longer than running them.
_FULL = sa.text(
    "SELECT level, number, hashes FROM audit_tile JOIN unnest(CAST(:levels AS bigint[]), "
    "CAST(:numbers AS bigint[])) AS wanted (level, number) USING (level, number) "
    "WHERE log_id = :log"
)
_ROOTS = sa.text(
    "SELECT number, root FROM audit_tile WHERE log_id = :log AND level = :level "
    "AND number >= :first AND number < :until"
)
_LEAVES = sa.text(
    "SELECT leaf_hash FROM audit_entry WHERE log_id = :log AND idx >= :first AND idx < :until "
    "ORDER BY idx"
)


def store_tiles(database: Database, log_id: str) -> None:
    """Store each full tile that is not yet, the lowest level first.

    Asked each second of every log that grew, and nearly always there is none: one question for all
    levels says so.
    """
    for level in _list_due(database, log_id):
        while _store_some(database, log_id, level):
            pass


_LAST = sa.text("""
    SELECT levels.level, audit_log.size,
           (SELECT max(number) FROM audit_tile
             WHERE audit_tile.log_id = audit_log.id AND audit_tile.level = levels.level) AS number
      FROM audit_log, generate_series(0, :levels - 1) AS levels (level)
     WHERE audit_log.id = :log ORDER BY 1
""")


def _list_due(database: Database, log_id: str) -> list[int]:
    """Levels of which a full tile is not stored yet."""
    with database.begin(system("integrator")) as tx:
        rows = tx.session.execute(_LAST, {"log": log_id, "levels": _LEVELS}).all()
    return [
        row.level
        for row in rows
        if count_hashes(row.level + 1, row.size) > (0 if row.number is None else row.number + 1)
    ]


def _store_some(database: Database, log_id: str, level: int) -> bool:
    """Up to 64 tiles of a level; whether more are due."""
    with database.begin(system("integrator")) as tx:
        size = tx.session.scalars(sa.select(AuditLog.size).where(AuditLog.id == log_id)).one()
        last = sa.select(sa.func.max(AuditTile.number)).where(
            AuditTile.log_id == log_id, AuditTile.level == level
        )
        found = tx.session.scalar(last)
        first = 0 if found is None else found + 1
        until = min(count_hashes(level + 1, size), first + _TILES)
        rows = [_make(tx, log_id, Place(level, number)) for number in range(first, until)]
        if rows:
            tx.session.execute(insert(AuditTile).on_conflict_do_nothing(), rows)
        return until == first + _TILES


def _make(tx: Tx, log_id: str, place: Place) -> dict[str, object]:
    hashes = _build(tx, log_id, place, WIDTH)
    return {
        "log_id": log_id,
        "level": place.level,
        "number": place.number,
        "root": fold(hashes),
        "hashes": b"".join(hashes),
    }


def make_proof(
    tx: Tx, log_id: str, size: int, path: Sequence[tuple[int, int]]
) -> tuple[bytes, ...]:
    """The hash over each range of leaves of `path`, in a log of `size` entries."""
    tiles = _read_all(tx, log_id, places(path), size)
    return tuple(range_root(start, end, tiles) for start, end in path)


def read_tile(tx: Tx, log_id: str, place: Place, size: int) -> bytes:
    """The hashes of one tile, as far as `size` entries fill it."""
    return _read_all(tx, log_id, [place], size)[place]


def _read_all(tx: Tx, log_id: str, wanted: Sequence[Place], size: int) -> dict[Place, bytes]:
    """Full tiles by one statement, the others, at the right edge, from the level below."""
    rows = tx.session.execute(
        _FULL,
        {
            "log": log_id,
            "levels": [place.level for place in wanted],
            "numbers": [place.number for place in wanted],
        },
    ).all()
    tiles = {Place(row.level, row.number): row.hashes for row in rows}
    for place in wanted:
        if place not in tiles:
            width = min(WIDTH, count_hashes(place.level, size) - place.number * WIDTH)
            tiles[place] = b"".join(_build(tx, log_id, place, width))
    return tiles


def _build(tx: Tx, log_id: str, place: Place, width: int) -> list[bytes]:
    """The first `width` hashes of a tile: leaves, or the roots of the tiles below it."""
    first = place.number * WIDTH
    numbers = range(first, first + width)
    if place.level == 0:
        place_of = {"log": log_id, "first": first, "until": first + width}
        return list(tx.session.scalars(_LEAVES, place_of))
    below = place.level - 1
    where = {"log": log_id, "level": below, "first": first, "until": first + width}
    roots = {row[0]: row[1] for row in tx.session.execute(_ROOTS, where).all()}
    for number in numbers:
        if number not in roots:  # not stored yet
            roots[number] = fold(_build(tx, log_id, Place(below, number), WIDTH))
    return [roots[number] for number in numbers]
