"""Audit entries, written in the transaction of the act that they record (G9).

An entry is an intent until the integrator gives it a position (`audit/integrate.py`): here there is
no hash of a predecessor and no lock, so writers never wait for each other. The bytes are never
changed again; the application's role may not even update them.

Personal fields and free text are commitments in the entry; what opens them stands in
`audit_opening`, and can be erased without touching the log (G13).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import entries, kinds
from broker.db import Base
from broker.errors import Denied
from broker.ids import PersonId, TenantId, new_id
from broker.tx import Tx


class AuditLog(Base):
    """One log per tenant, and one of the vendor's own acts (`tenant_id` is null); and the root log,
    in whose tree of slots each of these has its `slot`, under its key `blind`.
    """

    __tablename__ = "audit_log"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "root", name="audit_log_of"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str | None] = mapped_column(sa.ForeignKey("tenant.id"))
    root: Mapped[bool] = mapped_column(default=False)
    slot: Mapped[int | None] = mapped_column(unique=True)
    blind: Mapped[bytes | None]
    mailed_at: Mapped[datetime | None]
    pruned_until: Mapped[int] = mapped_column(default=0)
    origin: Mapped[str] = mapped_column(unique=True)
    size: Mapped[int] = mapped_column(default=0)
    frontier: Mapped[list[bytes]] = mapped_column(sa.ARRAY(sa.LargeBinary), default=list)


class AuditEntry(Base):
    """`idx` is its position once integrated; ids follow no order that matters."""

    __tablename__ = "audit_entry"
    id: Mapped[int] = mapped_column(sa.Identity(always=True), primary_key=True)
    log_id: Mapped[str] = mapped_column(sa.ForeignKey("audit_log.id"))
    subject: Mapped[str]
    entry: Mapped[bytes]
    idx: Mapped[int | None]
    leaf_hash: Mapped[bytes | None]


_INSERT = sa.insert(Base.metadata.tables["audit_entry"])


class AuditOpening(Base):
    """What opens a commitment: erased by deleting the row."""

    __tablename__ = "audit_opening"
    entry_id: Mapped[int] = mapped_column(sa.ForeignKey("audit_entry.id"), primary_key=True)
    field: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str | None] = mapped_column(sa.ForeignKey("person.id"))
    salt: Mapped[bytes]
    value: Mapped[str]  # canonical JSON


class AuditCheckpoint(Base):
    """Every checkpoint that was signed: a C2SP signed note over the tree of that size."""

    __tablename__ = "audit_checkpoint"
    log_id: Mapped[str] = mapped_column(sa.ForeignKey("audit_log.id"), primary_key=True)
    size: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str]
    at: Mapped[datetime]


class AuditTile(Base):
    """A full hash tile and the root over it, derived from the entries; see `audit/tiles.py`."""

    __tablename__ = "audit_tile"
    log_id: Mapped[str] = mapped_column(sa.ForeignKey("audit_log.id"), primary_key=True)
    level: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    root: Mapped[bytes]
    hashes: Mapped[bytes]


class RootEpoch(Base):
    """An epoch of the root log; `number` is its position there."""

    __tablename__ = "root_epoch"
    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]


class RootPlace(Base):
    """The size that a log had in an epoch, noted when it is another than in the one before."""

    __tablename__ = "root_place"
    log_id: Mapped[str] = mapped_column(sa.ForeignKey("audit_log.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(sa.ForeignKey("root_epoch.number"), primary_key=True)
    size: Mapped[int]


class RootCosignature(Base):
    """A witness's line under the root log's checkpoint of that size."""

    __tablename__ = "root_cosignature"
    size: Mapped[int] = mapped_column(primary_key=True)
    witness: Mapped[str] = mapped_column(primary_key=True)
    line: Mapped[str]
    at: Mapped[datetime]


class TrustedTime(Base):
    """What a timestamping authority answered (RFC 3161) about a certificate, or about the root
    log's checkpoint of a size (`root/<size>`, of no tenant); `said_at` is the authority's time.
    """

    __tablename__ = "trusted_time"
    subject: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str | None] = mapped_column(sa.ForeignKey("tenant.id"))
    response: Mapped[bytes]
    said_at: Mapped[datetime]
    at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class Personal:
    """A field about a person or free text, which may name one: committed to, not written out."""

    field: str
    value: Any
    person_id: PersonId | None = None


def record(
    tx: Tx,
    tenant_id: TenantId | None,
    kind: str,
    subject: str,
    facts: Mapping[str, Any] | None = None,
    personal: Sequence[Personal] = (),
) -> None:
    """Write one entry into the tenant's log, or the vendor's own when `tenant_id` is None.

    `kind`, `facts` and `personal` are those that `broker.kinds` lists, or Unlisted is raised: no
    names, free text or secrets among the facts.
    """
    log, content, opened = _build(tx, (tenant_id, subject), kind, facts, personal)
    row = {"log_id": log.id, "subject": subject, "entry": content}
    if not opened:
        tx.session.execute(_INSERT, row)
        return
    entry_id = tx.session.scalar(_INSERT.returning(sa.column("id")), row)
    people = {item.field: item.person_id for item in personal}
    for opening in opened:
        tx.session.add(
            AuditOpening(
                entry_id=entry_id,
                field=opening.field,
                person_id=people[opening.field],
                salt=opening.salt,
                value=entries.canonical(opening.value).decode(),
            )
        )


def record_all(
    tx: Tx,
    subjects: Sequence[tuple[TenantId | None, str]],
    kind: str,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """An entry for each (tenant, subject), with the same facts; in one statement."""
    record_each(tx, kind, [(*subject, facts or {}) for subject in subjects])


def record_each(
    tx: Tx, kind: str, entries_of: Sequence[tuple[TenantId | None, str, Mapping[str, Any]]]
) -> None:
    """An entry for each (tenant, subject, facts); in one statement."""
    rows = []
    for tenant_id, subject, facts in entries_of:
        log, content, _ = _build(tx, (tenant_id, subject), kind, facts)
        rows.append({"log_id": log.id, "subject": subject, "entry": content})
    if rows:
        tx.session.execute(_INSERT, rows)


def _build(
    tx: Tx,
    subject: tuple[TenantId | None, str],
    kind: str,
    facts: Mapping[str, Any] | None,
    personal: Sequence[Personal] = (),
) -> tuple[_Log, bytes, list[entries.Opened]]:
    kinds.check(kind, facts or {}, [item.field for item in personal])
    limits = tx.actor.tenants
    if limits is not None and subject[0] is not None and subject[0] not in limits:
        # Nothing changes without its entry (G9), so no act of a limited token gets past here.
        raise Denied("this token is limited to other tenants")
    log = _find_log(tx, subject[0])
    actor = {"side": tx.actor.side, "via": tx.actor.via}
    if tx.actor.person_id is not None:
        actor["id"] = tx.actor.person_id
    draft = entries.EntryDraft(
        kind=kind,
        at=tx.at,
        log_origin=log.origin,
        actor=actor,
        subject=subject[1],
        facts=dict(facts or {}),
        personal={item.field: item.value for item in personal},
    )
    return log, *entries.build_entry(draft)


def names_decision(tx: Tx, decision_id: str) -> bool:
    """Whether a log has an entry about this decision: that its statement was signed."""
    # By the index on what begins so: the others are many, and nobody asks for them by subject.
    named = sa.select(AuditEntry.id).where(
        AuditEntry.subject == decision_id, sa.text(r"audit_entry.subject LIKE 'dec\_%'")
    )
    return tx.session.scalar(named.limit(1)) is not None


@dataclass(frozen=True, slots=True)
class _Log:
    id: str
    origin: str


# Neither ever changes, and looking them up was a third of what an entry costs its writer.
_known: WeakKeyDictionary[object, dict[TenantId | None, _Log]] = WeakKeyDictionary()


def _find_log(tx: Tx, tenant_id: TenantId | None) -> _Log:
    known = _known.setdefault(tx.session.get_bind(), {})
    if tenant_id not in known:
        row = tx.session.execute(
            sa.select(AuditLog.id, AuditLog.origin).where(
                AuditLog.tenant_id.is_not_distinct_from(tenant_id), ~AuditLog.root
            )
        ).one()
        known[tenant_id] = _Log(row.id, row.origin)
    return known[tenant_id]


def create_log(tx: Tx, tenant_id: TenantId | None, host: str) -> str:
    """Make the log of a tenant (or the vendor's own) and return its origin: `<host>/log/<id>`."""
    identity = new_id("log")
    origin = f"{host}/log/{identity}"
    tx.session.add(AuditLog(id=identity, tenant_id=tenant_id, origin=origin, size=0, frontier=[]))
    tx.session.flush()
    return origin


def create_root_log(tx: Tx, origin: str) -> AuditLog:
    """Make the log that commits to all others (`audit/root_log.py`)."""
    log = AuditLog(id=new_id("log"), origin=origin, size=0, frontier=[], root=True)
    tx.session.add(log)
    tx.session.flush()
    return log


def erase_person(tx: Tx, person_id: PersonId, logs: Collection[TenantId | None]) -> int:
    """Delete every opening about a person and return how many; each log still verifies (G13).

    An entry says so in each of `logs`, and in each that had an opening.
    """
    rows = tx.session.execute(
        sa.select(AuditLog.tenant_id, sa.func.count())
        .join(AuditEntry, AuditEntry.log_id == AuditLog.id)
        .join(AuditOpening, AuditOpening.entry_id == AuditEntry.id)
        .where(AuditOpening.person_id == person_id)
        .group_by(AuditLog.tenant_id)
    ).all()
    erased = dict.fromkeys(logs, 0) | {TenantId(t) if t else None: count for t, count in rows}
    tx.session.execute(sa.delete(AuditOpening).where(AuditOpening.person_id == person_id))
    for log_of, count in erased.items():
        record(tx, log_of, "person.erased", person_id, {"openings": count})
    return sum(erased.values())


def read_opening(value: str) -> Any:
    return json.loads(value)
