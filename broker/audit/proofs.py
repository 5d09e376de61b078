"""A tenant's own proofs: tiles, checkpoints, inclusion and consistency; for who may read its log.

What is served is covered by a signed checkpoint; the newest entries, not signed yet, are missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from broker import people
from broker.audit import merkle
from broker.audit.proof_text import Proof
from broker.audit.tiles import WIDTH, Place, Tile, count_hashes
from broker.audit.tiling import make_proof, read_tile
from broker.entries import encode_base64
from broker.errors import NOT_THERE, NotFound
from broker.ids import TenantId
from broker.trail import AuditCheckpoint, AuditEntry, AuditLog
from broker.tx import Tx


@dataclass(frozen=True, slots=True)
class Consistency:
    """The log of `size` entries, of which `checkpoint` is the note, continues that of `old`."""

    old: int
    size: int
    hashes: tuple[str, ...]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class _Signed:
    log_id: str
    size: int
    note: str


def get_checkpoint(tx: Tx, tenant_id: TenantId, size: int | None = None) -> str:
    """The last signed checkpoint, or that of `size` entries. Raises NotFound."""
    return _get_signed(tx, tenant_id, size).note


def get_tile(tx: Tx, tenant_id: TenantId, tile: Tile) -> bytes:
    """Hashes, or entries each after its length in two bytes, big-endian. Raises NotFound for what
    no checkpoint covers yet.
    """
    signed = _get_signed(tx, tenant_id)
    first, width = tile.number * WIDTH, tile.width
    if first + width > count_hashes(tile.level or 0, signed.size):
        raise NotFound(NOT_THERE)
    if tile.level is not None:
        place = Place(tile.level, tile.number)
        return read_tile(tx, signed.log_id, place, signed.size)[: width * merkle.HASH_BYTES]
    entries = tx.session.scalars(
        sa.select(AuditEntry.entry)
        .where(AuditEntry.log_id == signed.log_id)
        .where(AuditEntry.idx >= first, AuditEntry.idx < first + width)
        .order_by(AuditEntry.idx)
    ).all()
    if len(entries) != width:
        raise NotFound("entries of this tile were pruned: their hashes are served, they are not")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def prove_entry(tx: Tx, tenant_id: TenantId, index: int, size: int | None = None) -> Proof:
    """That an entry stands in the log under its last checkpoint, or that of `size`.

    Raises NotFound while no such checkpoint covers it.
    """
    signed = _get_signed(tx, tenant_id, size)
    entry = tx.session.scalar(
        sa.select(AuditEntry.entry).where(
            AuditEntry.log_id == signed.log_id, AuditEntry.idx == index
        )
    )
    if entry is None or index >= signed.size:
        raise NotFound(NOT_THERE)
    path = merkle.inclusion_path(index, signed.size)
    return Proof(index, entry, make_proof(tx, signed.log_id, signed.size, path), signed.note)


def prove_consistency(
    tx: Tx, tenant_id: TenantId, old: int, size: int | None = None
) -> Consistency:
    """That the log only grew from `old` entries to its last checkpoint, or that of `size`.

    Raises NotFound when `old` is more than that.
    """
    signed = _get_signed(tx, tenant_id, size)
    if not 0 <= old <= signed.size:
        raise NotFound(NOT_THERE)
    path = merkle.consistency_path(old, signed.size)
    hashes = make_proof(tx, signed.log_id, signed.size, path)
    texts = tuple(encode_base64(item) for item in hashes)
    return Consistency(old, signed.size, texts, signed.note)


def _get_signed(tx: Tx, tenant_id: TenantId, size: int | None = None) -> _Signed:
    people.check(tx, "log:read", tenant_id)
    query = (
        sa.select(AuditCheckpoint)
        .join(AuditLog, AuditLog.id == AuditCheckpoint.log_id)
        .where(AuditLog.tenant_id == tenant_id)
        .order_by(AuditCheckpoint.size.desc())
        .limit(1)
    )
    if size is not None:
        query = query.where(AuditCheckpoint.size == size)
    row = tx.session.scalar(query)
    if row is None:
        raise NotFound(NOT_THERE)
    return _Signed(row.log_id, row.size, row.note)
