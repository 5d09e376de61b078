"""Frozen views of a tenant's log for the outer layers; each checks who asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from broker import people
from broker.audit.selecting import Chosen
from broker.entries import Entry, Json, parse_entry
from broker.errors import NOT_THERE, NotFound
from broker.ids import TenantId
from broker.people import Person
from broker.trail import AuditCheckpoint, AuditEntry, AuditLog
from broker.tx import Tx

MAX_PAGE = 200
_BEYOND = 10**17  # above every position


@dataclass(frozen=True, slots=True)
class EntryView:
    """`position` is None until the entry is integrated.

    The row's own number is not shown: it counts every tenant's entries (G12). `actor` is a person's
    name as it stands today, or the part of the broker that acted.
    """

    position: int | None
    kind: str
    at: datetime
    actor: str
    side: str
    subject: str
    facts: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class LogView:
    """`signed_size` entries are covered by the last checkpoint, signed at `signed_at`.

    `older` is the position that continues the page; None when nothing is older.
    """

    origin: str
    signed_size: int
    signed_at: datetime | None
    entries: tuple[EntryView, ...]
    older: int | None


def get_log_view(
    tx: Tx, tenant_id: TenantId, *, before: int | None = None, limit: int = 50
) -> LogView:
    """The last entries, the youngest first; with `before`, those of a lower position.

    What has no position yet comes first, up to `limit` of it, and never on a later page. Raises
    NotFound as for a tenant that does not exist.
    """
    people.check(tx, "log:read", tenant_id)
    log = tx.session.scalar(sa.select(AuditLog).where(AuditLog.tenant_id == tenant_id))
    if log is None:
        raise NotFound(NOT_THERE)
    checkpoint = tx.session.scalar(
        sa.select(AuditCheckpoint)
        .where(AuditCheckpoint.log_id == log.id)
        .order_by(AuditCheckpoint.size.desc())
        .limit(1)
    )
    most = min(limit, MAX_PAGE)
    rows = _list_entries(tx, log.id, before, most + 1)
    older = _find_older(rows, most)
    rows = rows[:most]
    read = [(row, parse_entry(row.entry)) for row in rows]
    names = _names(tx, {entry.actor["id"] for _, entry in read if "id" in entry.actor})
    return LogView(
        origin=log.origin,
        signed_size=checkpoint.size if checkpoint else 0,
        signed_at=checkpoint.at if checkpoint else None,
        entries=tuple(_view(row.idx, entry, names) for row, entry in read),
        older=older,
    )


def view_chosen(tx: Tx, chosen: Sequence[Chosen]) -> tuple[EntryView, ...]:
    """Entries that were chosen, for reading."""
    read = [(one.position, one.entry) for one in chosen]
    names = _names(tx, {entry.actor["id"] for _, entry in read if "id" in entry.actor})
    return tuple(_view(position, entry, names) for position, entry in read)


def _list_entries(tx: Tx, log_id: str, before: int | None, most: int) -> list[AuditEntry]:
    rows: list[AuditEntry] = []
    ours = sa.select(AuditEntry).where(AuditEntry.log_id == log_id)
    if before is None:
        pending = ours.where(AuditEntry.idx.is_(None)).order_by(AuditEntry.id.desc())
        rows += tx.session.scalars(pending.limit(most))
    placed = ours.where(AuditEntry.idx < (_BEYOND if before is None else before))
    rows += tx.session.scalars(placed.order_by(AuditEntry.idx.desc()).limit(most - len(rows)))
    return rows


def _find_older(rows: Sequence[AuditEntry], most: int) -> int | None:
    """The position before which the next page begins; `rows` holds one more when there is one."""
    if len(rows) <= most:
        return None
    last = rows[most - 1].idx
    following = rows[most].idx
    return last if last is not None else _BEYOND if following is None else following + 1


def _names(tx: Tx, person_ids: set[str]) -> dict[str, str]:
    rows = tx.session.execute(sa.select(Person.id, Person.name).where(Person.id.in_(person_ids)))
    return {row.id: row.name for row in rows}


def _view(position: int | None, entry: Entry, names: Mapping[str, str]) -> EntryView:
    person_id = entry.actor.get("id")
    return EntryView(
        position=position,
        kind=entry.kind,
        at=entry.at,
        actor=names.get(person_id, person_id) if person_id else f"the broker, {entry.actor['via']}",
        side=entry.actor["side"],
        subject=entry.subject,
        facts=entry.facts,
    )
