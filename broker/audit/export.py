"""A tenant's log as one file that is verified offline, without trusting this database.

What must stay true: the file is written as it is read, a batch at a time, so that its length costs
no memory; it ends at the checkpoint that was the last when it began, whatever is logged meanwhile.
Entries never change; an opening that is erased meanwhile is missing, as one that was erased before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import sqlalchemy as sa

from broker import trail
from broker.audit import merkle
from broker.audit.anchoring import find_stamp, find_stamped_root, root_subject
from broker.audit.bundle import (
    RUN,
    CertificateLine,
    EntryLine,
    Header,
    Opening,
    Part,
    Pruned,
    Stamp,
    write_lines,
)
from broker.audit.certified import statements_key_name
from broker.audit.epochs import find_place
from broker.audit.note import VerifierKey, list_hints
from broker.audit.tiles import WIDTH, Place
from broker.audit.tiling import read_tile
from broker.entries import get_text, parse_canonical
from broker.errors import NOT_THERE, Conflict, NotFound
from broker.ids import TenantId
from broker.trail import AuditCheckpoint, AuditLog, AuditOpening
from broker.tx import Tx

Begin = Callable[[], AbstractContextManager[Tx]]
Envelopes = Callable[[Tx, Sequence[str]], Sequence[tuple[str, bytes]]]
_BATCH = 1000
_BATCH_OF_RUNS = 16 * RUN
_CERTIFICATES = 100
_CHUNK_BYTES = 64 * 1024


def verifier_keys(origin: str, log_public: bytes, statements_public: bytes) -> tuple[str, str]:
    """The two keys that a customer pins: of its log, and of the vendor's statements.

    While keys turn there are more of each.
    """
    return (
        VerifierKey(origin, log_public).format(),
        VerifierKey(statements_key_name(origin), statements_public).format(),
    )


@dataclass(slots=True)
class Export:
    """What goes into a bundle: fixed when it begins. `envelopes` gives certificates by their ids.

    Without openings, names and free text stay commitments: it verifies as well, and names nobody.
    The rest is noted while entries are read: a certificate is in the bundle, and its timestamp, and
    the place in the root log, once the entry that speaks of it is covered.
    """

    log_id: str
    size: int
    header: Header
    envelopes: Envelopes
    certified: dict[str, None] = field(default_factory=dict)
    stamped: set[str] = field(default_factory=set)
    slotted: bool = False
    with_openings: bool = True

    def note(self, subject: str, entry: bytes) -> None:
        """An entry about a certificate, or about the log itself."""
        kind = get_text(parse_canonical(entry), "kind")
        if kind == "certificate.issued":
            self.certified[subject] = None
        elif kind == "certificate.stamped":
            self.stamped.add(subject)
        elif kind == "slot.assigned":
            self.slotted = True


def begin_export(
    tx: Tx, tenant_id: TenantId | None, keys: Sequence[str], envelopes: Envelopes
) -> Export:
    """Everything up to the last signed checkpoint.

    `keys` are those that count: checkpoints which none of them signed, since their key was
    compromised, are left out; a later one covers the same entries. Without keys all are there.
    Raises NotFound, and Conflict before the first checkpoint.
    """
    log = tx.session.scalar(
        sa.select(AuditLog).where(
            AuditLog.tenant_id.is_not_distinct_from(tenant_id), ~AuditLog.root
        )
    )
    if log is None:
        raise NotFound(NOT_THERE)
    checkpoints = tx.session.scalars(
        sa.select(AuditCheckpoint)
        .where(AuditCheckpoint.log_id == log.id)
        .order_by(AuditCheckpoint.size)
    ).all()
    checkpoints = _counting(checkpoints, log.origin, keys)
    if not checkpoints:
        raise Conflict("nothing of this log is signed yet; try again in some seconds")
    notes = tuple(checkpoint.note for checkpoint in checkpoints)
    return Export(log.id, checkpoints[-1].size, Header(log.origin, notes, tuple(keys)), envelopes)


def stream(begin: Begin, export: Export) -> Iterator[bytes]:
    """The bundle's bytes in pieces of about 64 KB. Each batch is read in a transaction of its own,
    made by `begin`, so that a slow reader holds none open.
    """
    waiting, length = [], 0
    for line in write_lines(export.header, _parts(begin, export)):
        waiting.append(line)
        length += len(line)
        if length >= _CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, length = [], 0
    yield b"".join(waiting)


def _parts(begin: Begin, export: Export) -> Iterator[Part]:
    expected = 0
    for start in range(0, export.size, _BATCH):
        with begin() as tx:
            batch = _read_batch(tx, export, start)
        for line, openings in batch:
            yield from _read_gap(begin, export, expected, line.index)
            expected = line.index + 1
            yield line
            yield from openings
    yield from _read_gap(begin, export, expected, export.size)
    ids = list(export.certified)
    for first in range(0, len(ids), _CERTIFICATES):
        with begin() as tx:
            certificates = list(_read_certificates(tx, export, ids[first : first + _CERTIFICATES]))
        yield from certificates
    with begin() as tx:
        places = list(_read_places(tx, export))
    yield from places


def _counting(
    checkpoints: Sequence[AuditCheckpoint], origin: str, keys: Sequence[str]
) -> Sequence[AuditCheckpoint]:
    """Those that one of the keys of this log has signed, by their hints."""
    known = {key.hint for key in map(VerifierKey.parse, keys) if key.name == origin}
    if not known:
        return checkpoints
    return [one for one in checkpoints if known & list_hints(one.note)]


_ENTRIES = sa.text(
    "SELECT id, idx, subject, entry FROM audit_entry"
    " WHERE log_id = :log AND idx >= :start AND idx < :until ORDER BY idx"
)
_OPENINGS = (
    sa.select(AuditOpening.entry_id, AuditOpening.field, AuditOpening.salt, AuditOpening.value)
    .where(AuditOpening.entry_id == sa.any_(sa.bindparam("ids", type_=sa.ARRAY(sa.BigInteger))))
    .order_by(AuditOpening.entry_id, AuditOpening.field)
)


def _read_batch(tx: Tx, export: Export, start: int) -> list[tuple[EntryLine, list[Opening]]]:
    """The entries of a range, each with its openings; what was pruned is not among them."""
    until = min(start + _BATCH, export.size)
    rows = tx.session.execute(
        _ENTRIES, {"log": export.log_id, "start": start, "until": until}
    ).all()
    places = {row.id: row.idx for row in rows}
    openings: dict[int, list[Opening]] = {}
    opened = list(places) if export.with_openings else []
    for row in tx.session.execute(_OPENINGS, {"ids": opened}):
        opening = Opening(places[row.entry_id], row.field, row.salt, trail.read_opening(row.value))
        openings.setdefault(opening.index, []).append(opening)
    for row in rows:
        if row.subject.startswith(("crt_", "log_")):
            export.note(row.subject, row.entry)
    return [(EntryLine(row.idx, row.entry), openings.get(row.idx, [])) for row in rows]


def _read_gap(begin: Begin, export: Export, start: int, until: int) -> Iterator[Pruned]:
    """Hashes in place of entries that were pruned."""
    for first in range(start, until, _BATCH_OF_RUNS):
        last = min(first + _BATCH_OF_RUNS, until)
        with begin() as tx:
            tiles = [
                read_tile(tx, export.log_id, Place(0, number), export.size)
                for number in range(first // WIDTH, (last - 1) // WIDTH + 1)
            ]
        hashes = merkle.split_hashes(b"".join(tiles))
        offset = first // WIDTH * WIDTH
        for at in range(first, last, RUN):
            yield Pruned(at, hashes[at - offset : min(at + RUN, last) - offset])


def _read_certificates(tx: Tx, export: Export, ids: Sequence[str]) -> Iterator[Part]:
    for identity, envelope in export.envelopes(tx, ids):
        yield CertificateLine(envelope)
        stamp = find_stamp(tx, identity) if identity in export.stamped else None
        if stamp is not None:
            yield Stamp(stamp.response)


def _read_places(tx: Tx, export: Export) -> Iterator[Part]:
    """Its place in the last epoch; and in the last that a third party stamped, before that."""
    log = tx.session.get_one(AuditLog, export.log_id)
    last, stamped = find_place(tx, log), find_stamped_root(tx)
    earlier = find_place(tx, log, stamped) if stamped is not None else None
    for place in dict.fromkeys((earlier, last)):
        if place is None or place.size > export.size or not export.slotted:
            continue
        yield place
        if place is earlier and stamped is not None:
            stamp = find_stamp(tx, root_subject(stamped))
            if stamp is not None:
                yield Stamp(stamp.response)
