"""Frozen views of a tenant's log for the outer layers; each checks who asks."""

from __future__ import annotations

import re
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
from broker.trail import AuditCheckpoint, AuditEntry, AuditLog, AuditOpening, read_opening
from broker.tx import Tx

MAX_PAGE = 200
_BEYOND = 10**17  # above every position
_ERASED = re.compile(r"erased on ([0-9]{4}-[0-9]{2}-[0-9]{2})")  # what `erasing` leaves of a name


@dataclass(frozen=True, slots=True)
class EntryView:
    """`position` is None until the entry is integrated.

    The row's own number is not shown: it counts every tenant's entries (G12). `actor` is a person's
    name as it stands today, or the part of the broker that acted. `personal` values are as they can
    be opened; None where they were erased, `erased_on` that day if it is known.
    """

    position: int | None
    kind: str
    at: datetime
    actor: str
    side: str
    subject: str
    facts: Mapping[str, Json]
    personal: Mapping[str, Json | None]
    erased_on: str | None


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
    read = [_Read(row.idx, row.id, parse_entry(row.entry)) for row in rows]
    return LogView(
        origin=log.origin,
        signed_size=checkpoint.size if checkpoint else 0,
        signed_at=checkpoint.at if checkpoint else None,
        entries=_view_all(tx, read),
        older=older,
    )


def view_chosen(tx: Tx, chosen: Sequence[Chosen]) -> tuple[EntryView, ...]:
    """Entries that were chosen, for reading."""
    return _view_all(tx, [_Read(one.position, one.id, one.entry) for one in chosen])


@dataclass(frozen=True, slots=True)
class _Read:
    position: int | None
    id: int
    entry: Entry


def _view_all(tx: Tx, read: Sequence[_Read]) -> tuple[EntryView, ...]:
    """With the names of who acted, and what opens their personal values."""
    ids = {id_ for one in read for id_ in (one.entry.actor.get("id"), one.entry.subject) if id_}
    names = _names(tx, {id_ for id_ in ids if id_.startswith("psn_")})
    opened = _openings(tx, [one.id for one in read if one.entry.personal])
    return tuple(_view(one, names, opened.get(one.id, {})) for one in read)


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


def _openings(tx: Tx, entry_ids: Sequence[int]) -> dict[int, dict[str, Json]]:
    opened: dict[int, dict[str, Json]] = {}
    if not entry_ids:
        return opened
    query = sa.select(AuditOpening.entry_id, AuditOpening.field, AuditOpening.value)
    for row in tx.session.execute(query.where(AuditOpening.entry_id.in_(entry_ids))):
        opened.setdefault(row.entry_id, {})[row.field] = read_opening(row.value)
    return opened


def _view(one: _Read, names: Mapping[str, str], opened: Mapping[str, Json]) -> EntryView:
    entry = one.entry
    person_id = entry.actor.get("id")
    days = [_ERASED.fullmatch(names.get(id_, "")) for id_ in (entry.subject, person_id or "")]
    return EntryView(
        position=one.position,
        kind=entry.kind,
        at=entry.at,
        actor=names.get(person_id, person_id) if person_id else f"the broker, {entry.actor['via']}",
        side=entry.actor["side"],
        subject=entry.subject,
        facts=entry.facts,
        personal={name: opened.get(name) for name in sorted(entry.personal)},
        erased_on=next((day[1] for day in days if day), None),
    )
