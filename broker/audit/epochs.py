"""Sealing epochs of the root log, and a log's place in the last one (see `root_log`).

What must stay true: a log's slot and its key are given once, and an entry in that log says which;
an epoch takes each log's last signed checkpoint; its number is its position in the root log. What
an epoch held is remembered by size alone, so its tree can be made again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from broker import trail
from broker.audit import merkle
from broker.audit.root_log import BLIND_BYTES, SLOTS, EpochTree, Place, Taken, root_origin
from broker.audit.tiling import make_proof
from broker.audit.witnessing import cosigned
from broker.db import Database
from broker.entries import EntryDraft, build_entry, encode_base64
from broker.errors import Conflict
from broker.ids import TenantId
from broker.trail import AuditCheckpoint, AuditEntry, AuditLog, RootEpoch, RootPlace
from broker.tx import Tx, system

_ACTOR = system("integrator")
_HEARTBEAT = timedelta(hours=1)  # silence would be a finding


def seal_due(database: Database, every_s: int) -> bool:
    """Seal an epoch when some log has a new checkpoint and the last epoch is `every_s` old, or when
    an hour went by. Whether one was sealed; the integrator signs it.
    """
    with database.begin(_ACTOR) as tx:
        root = _get_root(tx)
        last = tx.session.scalar(sa.select(RootEpoch).order_by(RootEpoch.number.desc()).limit(1))
        sizes = _signed_sizes(tx)
        if last is not None:
            age = tx.at - last.at
            known = _places(tx, last.number)
            moved = age >= timedelta(seconds=every_s) and sizes != known
            if not (moved or age >= _HEARTBEAT):
                return False
        _give_slots(tx)
        _seal(tx, root, 0 if last is None else last.number + 1, sizes)
        return True


def _lock(tx: Tx) -> None:
    """Slots are given by one at a time."""
    tx.session.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('root log'))"))


def _get_root(tx: Tx) -> AuditLog:
    """The root log, locked, made when it is not there; after the vendor's own."""
    _lock(tx)
    root = tx.session.scalar(sa.select(AuditLog).where(AuditLog.root))
    if root is None:
        own = sa.select(AuditLog.origin).where(AuditLog.tenant_id.is_(None), ~AuditLog.root)
        name = root_origin(tx.session.scalars(own).one())
        root = trail.create_root_log(tx, name)
        root.blind = secrets.token_bytes(BLIND_BYTES)
    return root


def _signed_sizes(tx: Tx) -> dict[str, int]:
    """The size of each log's last checkpoint, by the log's id."""
    query = (
        sa.select(AuditCheckpoint.log_id, sa.func.max(AuditCheckpoint.size))
        .join(AuditLog, AuditLog.id == AuditCheckpoint.log_id)
        .where(~AuditLog.root)
        .group_by(AuditCheckpoint.log_id)
    )
    return {row[0]: row[1] for row in tx.session.execute(query)}


def _places(tx: Tx, epoch: int) -> dict[str, int]:
    """The size that each log had in an epoch: the largest that was noted until then."""
    query = (
        sa.select(RootPlace.log_id, sa.func.max(RootPlace.size))
        .where(RootPlace.epoch <= epoch)
        .group_by(RootPlace.log_id)
    )
    return {row[0]: row[1] for row in tx.session.execute(query)}


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a log stands in every epoch, for good, and the SHA-256 of the key that goes with it:
    what a tenant is told when it is enrolled.
    """

    root: str
    number: int
    digest: str


def give_slot(tx: Tx, tenant_id: TenantId) -> Slot:
    """The slot of a tenant's log, given now if it has none. Raises Conflict when none is free."""
    _lock(tx)
    log = tx.session.scalars(sa.select(AuditLog).where(AuditLog.tenant_id == tenant_id)).one()
    if log.slot is None:
        _assign(tx, [log])
    return _told(log)


def find_slot(tx: Tx, tenant_id: TenantId) -> Slot | None:
    log = tx.session.scalars(sa.select(AuditLog).where(AuditLog.tenant_id == tenant_id)).one()
    return None if log.slot is None else _told(log)


def _told(log: AuditLog) -> Slot:
    digest = hashlib.sha256(log.blind or b"").hexdigest()
    return Slot(root_origin(log.origin), log.slot or 0, digest)


def _give_slots(tx: Tx) -> None:
    """To each log that has none: the vendor's own, and those that were made before slots were."""
    logs = tx.session.scalars(
        sa.select(AuditLog).where(~AuditLog.root, AuditLog.slot.is_(None)).order_by(AuditLog.id)
    ).all()
    if logs:
        _assign(tx, logs)


def _assign(tx: Tx, logs: Sequence[AuditLog]) -> None:
    """A random free slot to each. Raises Conflict when there are too many."""
    used = set(tx.session.scalars(sa.select(AuditLog.slot).where(AuditLog.slot.is_not(None))))
    free = [slot for slot in range(SLOTS) if slot not in used]
    if len(free) < len(logs):
        raise Conflict(f"the root log has {SLOTS} slots, and there are more logs than that")
    secrets.SystemRandom().shuffle(free)
    for log, slot in zip(logs, free, strict=False):
        log.slot, log.blind = slot, secrets.token_bytes(BLIND_BYTES)
        tenant_id = TenantId(log.tenant_id) if log.tenant_id else None
        trail.record(tx, tenant_id, "slot.assigned", log.id, {"slot": slot, "slots": SLOTS})


def _seal(tx: Tx, root: AuditLog, epoch: int, sizes: dict[str, int]) -> None:
    known = _places(tx, epoch)
    tree = _tree(tx, root, epoch, sizes)
    draft = EntryDraft(
        kind="epoch.sealed",
        at=tx.at,
        log_origin=root.origin,
        actor={"side": tx.actor.side, "via": tx.actor.via},
        subject=f"epoch-{epoch}",
        facts={"epoch": epoch, "slots": SLOTS, "root": encode_base64(tree.root)},
    )
    entry, _ = build_entry(draft)
    tx.session.add(AuditEntry(log_id=root.id, subject=draft.subject, entry=entry))
    tx.session.add(RootEpoch(number=epoch, at=tx.at))
    tx.session.flush()
    tx.session.add_all(
        RootPlace(log_id=log_id, epoch=epoch, size=size)
        for log_id, size in sizes.items()
        if known.get(log_id) != size
    )


def _tree(tx: Tx, root: AuditLog, epoch: int, sizes: dict[str, int]) -> EpochTree:
    keys = list(sizes.items())
    query = (
        sa.select(AuditLog.slot, AuditLog.blind, AuditCheckpoint.note)
        .join(AuditCheckpoint, AuditCheckpoint.log_id == AuditLog.id)
        .where(sa.tuple_(AuditCheckpoint.log_id, AuditCheckpoint.size).in_(keys))
    )
    rows = tx.session.execute(query).all() if keys else []
    taken = [Taken(slot, blind, note) for slot, blind, note in rows if slot is not None and blind]
    return EpochTree(epoch, root.blind or b"", taken)


def find_place(tx: Tx, log: AuditLog, root_size: int | None = None) -> Place | None:
    """The place of a log in the last epoch that is signed, or in the last of the `root_size` that
    the root log had then; None when it has none there.
    """
    root = tx.session.scalar(sa.select(AuditLog).where(AuditLog.root))
    if root is None or log.slot is None or log.blind is None:
        return None
    checkpoints = sa.select(AuditCheckpoint).where(AuditCheckpoint.log_id == root.id)
    if root_size is not None:
        checkpoints = checkpoints.where(AuditCheckpoint.size == root_size)
    signed = tx.session.scalar(checkpoints.order_by(AuditCheckpoint.size.desc()).limit(1))
    sizes = {} if signed is None else _places(tx, signed.size - 1)
    if signed is None or log.id not in sizes:
        return None
    epoch = signed.size - 1
    entry = tx.session.scalars(
        sa.select(AuditEntry.entry).where(AuditEntry.log_id == root.id, AuditEntry.idx == epoch)
    ).one()
    path: Sequence[tuple[int, int]] = merkle.inclusion_path(epoch, signed.size)
    return Place(
        slot=log.slot,
        blind=log.blind,
        size=sizes[log.id],
        hashes=_tree(tx, root, epoch, sizes).prove(log.slot),
        entry=entry,
        proof=make_proof(tx, root.id, signed.size, path),
        checkpoint=cosigned(tx, signed.size, signed.note),
    )
