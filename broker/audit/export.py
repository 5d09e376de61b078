"""A tenant's log as one file that is verified offline, without trusting this database."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from broker import trail
from broker.audit.bundle import Bundle, Opening, build_bundle
from broker.audit.epochs import find_place
from broker.audit.note import VerifierKey, list_hints
from broker.audit.verify import statements_key_name
from broker.errors import NOT_THERE, Conflict, NotFound
from broker.ids import TenantId
from broker.trail import AuditCheckpoint, AuditEntry, AuditLog, AuditOpening
from broker.tx import Tx


def verifier_keys(origin: str, log_public: bytes, statements_public: bytes) -> tuple[str, str]:
    """The two keys that a customer pins: of its log, and of the vendor's statements.

    While keys turn there are more of each.
    """
    return (
        VerifierKey(origin, log_public).format(),
        VerifierKey(statements_key_name(origin), statements_public).format(),
    )


def export_bundle(
    tx: Tx,
    tenant_id: TenantId | None,
    certificates: Sequence[tuple[str, bytes]],
    keys: Sequence[str],
    *,
    with_openings: bool = True,
) -> bytes:
    """Everything up to the last signed checkpoint. `certificates` are (id, envelope) of the tenant.

    Without openings, names and free text stay commitments: it verifies as well, and names nobody.

    `keys` are those that count: checkpoints which none of them signed, since their key was
    compromised, are left out; a later one covers the same entries. Without keys all are there.

    A certificate is in the bundle once its entry is covered. Raises Conflict before the first
    checkpoint.
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
    size = checkpoints[-1].size
    rows = tx.session.execute(
        sa.select(AuditEntry.idx, AuditEntry.subject, AuditEntry.entry)
        .where(AuditEntry.log_id == log.id, AuditEntry.idx < size)
        .order_by(AuditEntry.idx)
    ).all()
    opened = (
        sa.select(AuditEntry.idx, AuditOpening.field, AuditOpening.salt, AuditOpening.value)
        .join(AuditOpening, AuditOpening.entry_id == AuditEntry.id)
        .where(AuditEntry.log_id == log.id, AuditEntry.idx < size)
        .order_by(AuditEntry.idx, AuditOpening.field)
    )
    openings = tx.session.execute(opened).all() if with_openings else []
    covered = {row.subject for row in rows}
    place = find_place(tx, log) if log.id in covered else None  # its slot's entry is about the log
    return build_bundle(
        Bundle(
            origin=log.origin,
            entries=tuple(row.entry for row in rows),
            openings=tuple(
                Opening(row.idx, row.field, row.salt, trail.read_opening(row.value))
                for row in openings
            ),
            checkpoints=tuple(checkpoint.note for checkpoint in checkpoints),
            keys=tuple(keys),
            certificates=tuple(
                envelope for identity, envelope in certificates if identity in covered
            ),
            place=place if place and place.size <= size else None,
        )
    )


def _counting(
    checkpoints: Sequence[AuditCheckpoint], origin: str, keys: Sequence[str]
) -> Sequence[AuditCheckpoint]:
    """Those that one of the keys of this log has signed, by their hints."""
    known = {key.hint for key in map(VerifierKey.parse, keys) if key.name == origin}
    if not known:
        return checkpoints
    return [one for one in checkpoints if known & list_hints(one.note)]
