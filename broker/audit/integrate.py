"""The integrator: gives entries their positions, and has checkpoints signed.

Entries wait as a set ("has no position yet"), never behind a cursor: ids are taken before commit,
so a slow transaction commits a lower id later and `id > last` would lose it for good.

Positions are given in one transaction, signing is a second step that trusts nothing of it: the
signer's side recomputes the batch from the entries' bytes, starting from a frontier of its own that
is kept with the last signed checkpoint outside the control database. A control database restored
from a backup is behind that checkpoint, and nothing is signed for it (`LogForked`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa

from broker.audit.merkle import Frontier, leaf_hash
from broker.audit.note import Checkpoint, checkpoint_text, sign_note, signature_line
from broker.audit.tiling import store_tiles
from broker.db import Database
from broker.errors import VerificationFailed
from broker.trail import AuditCheckpoint, AuditEntry, AuditLog
from broker.tx import system

_BATCH = 1000
_PURPOSE = "log"  # which key signs: the key port's LOG_KEY, for ports don't import each other
_ACTOR = system("integrator")
# One statement for a batch: one row a statement took five times as long.
_GIVE = sa.text(
    "UPDATE audit_entry SET idx = given.place, leaf_hash = given.leaf FROM unnest("
    "CAST(:ids AS bigint[]), CAST(:places AS bigint[]), CAST(:leaves AS bytea[])"
    ") AS given (id, place, leaf) WHERE audit_entry.id = given.id"
)


class Signer(Protocol):
    """What integrating needs of the key port; see `broker.keys.Signer`."""

    def public(self, purpose: str) -> bytes: ...
    def sign(self, purpose: str, message: bytes) -> bytes: ...
    def find_next(self, purpose: str) -> bytes | None: ...
    def sign_next(self, purpose: str, message: bytes) -> bytes: ...
    def find_head(self, origin: str) -> bytes | None: ...
    def swap_head(self, origin: str, old: bytes | None, new: bytes) -> None: ...


class LogForked(VerificationFailed):
    """The control database does not continue what was signed; a person must look at it."""

    type = "log-forked"


@dataclass(frozen=True, slots=True)
class _Head:
    """The last signed checkpoint of a log, with the frontier that led to it."""

    note: str
    frontier: Frontier

    def to_bytes(self) -> bytes:
        hashes = [item.hex() for item in self.frontier.hashes]
        document = {"note": self.note, "size": self.frontier.size, "frontier": hashes}
        return json.dumps(document, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> _Head:
        document = json.loads(content)
        hashes = [bytes.fromhex(item) for item in document["frontier"]]
        return cls(document["note"], Frontier.load(document["size"], hashes))


def integrate_all(database: Database, signer: Signer) -> int:
    """Integrate and sign whatever waits in any log; returns how many entries got a position."""
    with database.begin(_ACTOR) as tx:
        waiting = set(
            tx.session.scalars(
                sa.select(AuditEntry.log_id).where(AuditEntry.idx.is_(None)).distinct()
            )
        )
        unsigned = tx.session.scalars(
            sa.select(AuditLog.id).where(
                AuditLog.size
                > sa.func.coalesce(
                    sa.select(sa.func.max(AuditCheckpoint.size))
                    .where(AuditCheckpoint.log_id == AuditLog.id)
                    .scalar_subquery(),
                    0,
                )
            )
        ).all()
    total = 0
    for log_id in waiting | set(unsigned):
        while taken := give_positions(database, log_id):
            total += taken
            if taken < _BATCH:  # what came since is for the next round, a second later
                break
        store_tiles(database, log_id)
        sign_checkpoint(database, signer, log_id)
    return total


def give_positions(database: Database, log_id: str) -> int:
    """Give up to 1,000 waiting entries their positions; 0 when none wait or another does it."""
    with database.begin(_ACTOR) as tx:
        log = tx.session.scalar(
            sa.select(AuditLog).where(AuditLog.id == log_id).with_for_update(skip_locked=True)
        )
        if log is None:
            return 0
        rows = tx.session.execute(
            sa.select(AuditEntry.id, AuditEntry.entry)
            .where(AuditEntry.log_id == log_id, AuditEntry.idx.is_(None))
            .order_by(AuditEntry.id)
            .limit(_BATCH)
        ).all()
        if not rows:
            return 0
        frontier = Frontier.load(log.size, log.frontier)
        leaves = [leaf_hash(entry) for _, entry in rows]
        given = {
            "ids": [identity for identity, _ in rows],
            "places": list(range(log.size, log.size + len(rows))),
            "leaves": leaves,
        }
        tx.session.execute(_GIVE, given)
        for leaf in leaves:
            frontier.append(leaf)
        log.size, log.frontier = frontier.size, list(frontier.hashes)
        return len(rows)


def sign_checkpoint(database: Database, signer: Signer, log_id: str) -> None:
    """Sign the log as it stands, if it continues what was signed last. Raises LogForked."""
    with database.begin(_ACTOR) as tx:
        log = tx.session.get_one(AuditLog, log_id)
        origin, size, claimed = log.origin, log.size, Frontier.load(log.size, log.frontier).root()
        known = signer.find_head(origin)
        head = _Head.from_bytes(known) if known else _Head("", Frontier())
        if size < head.frontier.size:
            raise LogForked(
                f"{origin} has {size} entries, but {head.frontier.size} were signed; the control "
                "database is older than its log: see docs/operating.md, 'After a restore'"
            )
        entries = tx.session.scalars(
            sa.select(AuditEntry.entry)
            .where(
                AuditEntry.log_id == log_id,
                AuditEntry.idx >= head.frontier.size,
                AuditEntry.idx < size,
            )
            .order_by(AuditEntry.idx)
        ).all()
    frontier = Frontier(head.frontier.size, list(head.frontier.hashes))
    for entry in entries:
        frontier.append(leaf_hash(entry))
    if frontier.size != size or frontier.root() != claimed:
        raise LogForked(
            f"{origin} does not continue what was signed; nothing more is signed for it"
        )
    if size > head.frontier.size:
        note = _sign(signer, origin, checkpoint_text(Checkpoint(origin, size, frontier.root())))
        fresh = _Head(note, frontier)
        signer.swap_head(origin, known, fresh.to_bytes())
        head = fresh
    _keep_checkpoint(database, log_id, head)


def _sign(signer: Signer, origin: str, text: str) -> str:
    """By the present key, and by the one that follows once it was introduced: so that readers who
    pinned either go on without a gap.
    """
    note = sign_note(text, origin, signer.public(_PURPOSE), lambda m: signer.sign(_PURPOSE, m))
    following = signer.find_next(_PURPOSE)
    if following is None:
        return note
    return note + signature_line(text, origin, following, lambda m: signer.sign_next(_PURPOSE, m))


def _keep_checkpoint(database: Database, log_id: str, head: _Head) -> None:
    """Also after a crash between signing and storing: the note is with the signer's head."""
    if not head.note:
        return
    with database.begin(_ACTOR) as tx:
        tx.session.execute(
            sa.text(
                "INSERT INTO audit_checkpoint (log_id, size, note, at) VALUES (:l, :s, :n, :at) "
                "ON CONFLICT DO NOTHING"
            ),
            {"l": log_id, "s": head.frontier.size, "n": head.note, "at": tx.at},
        )
