"""Choosing entries of a log: by kind, person, ticket and time, in order, as far as they are signed.

What belongs to a ticket is found in the log itself: a request names its ticket, and what names the
request, or a login or copy under it, belongs with it. So entries are read from the beginning; the
cursor, a position, says how far a reader has come, and the answer how far was looked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from broker import people
from broker.entries import Entry, parse_entry
from broker.errors import NOT_THERE, NotFound
from broker.ids import TenantId
from broker.trail import AuditCheckpoint, AuditEntry, AuditLog
from broker.tx import Tx

_BATCH = 1000
_CARRIERS = ("grt_", "lse_", "snp_", "dec_", "rev_", "hld_", "crt_")  # belong to one ticket alone


@dataclass(frozen=True, slots=True)
class Wanted:
    """None: all. `kind` is a kind, or a noun for all of its kinds; `until` is not included."""

    kind: str | None = None
    person: str | None = None
    ticket: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """`id` is the row's, for what opens it; never shown."""

    position: int
    id: int
    leaf_hash: bytes
    entry: Entry


@dataclass(frozen=True, slots=True)
class Selection:
    """`looked` entries were looked at, from the beginning: the cursor to go on from."""

    origin: str
    chosen: tuple[Chosen, ...]
    looked: int


class Filter:
    """Fed the entries in order; a pure rule with a memory of what belongs to the ticket."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._of_ticket = {wanted.ticket}

    def takes(self, entry: Entry) -> bool:
        wanted = self.wanted
        belongs = wanted.ticket is None or self._belongs(entry)
        return (
            belongs
            and (wanted.kind is None or wanted.kind in (entry.kind, entry.kind.partition(".")[0]))
            and (wanted.person is None or wanted.person in _named(entry))
            and (wanted.since is None or entry.at >= wanted.since)
            and (wanted.until is None or entry.at < wanted.until)
        )

    def _belongs(self, entry: Entry) -> bool:
        if self._of_ticket.isdisjoint({entry.subject, *_texts(entry)}):
            return False
        if entry.subject.startswith(_CARRIERS):
            self._of_ticket.add(entry.subject)
        return True


def _texts(entry: Entry) -> Iterator[str]:
    for value in entry.facts.values():
        if isinstance(value, str):
            yield value


def _named(entry: Entry) -> set[str]:
    """Ids of people in it: who acted, whom it is about, and whom its facts name."""
    return {entry.subject, entry.actor.get("id", ""), *_texts(entry)}


def select_entries(
    tx: Tx, tenant_id: TenantId, wanted: Wanted, *, after: int = 0, most: int = 1000
) -> Selection:
    """Up to `most` entries from position `after` on. Raises NotFound, Denied."""
    people.check(tx, "log:read", tenant_id)
    log = tx.session.scalar(sa.select(AuditLog).where(AuditLog.tenant_id == tenant_id))
    if log is None:
        raise NotFound(NOT_THERE)
    taken, looked = Filter(wanted), after
    chosen: list[Chosen] = []
    for row in signed_entries(tx, log.id, 0 if wanted.ticket else after):
        if len(chosen) == most:
            break
        entry = parse_entry(row.entry)
        if taken.takes(entry) and row.idx >= after:
            chosen.append(Chosen(row.idx, row.id, row.leaf_hash, entry))
        looked = max(looked, row.idx + 1)
    return Selection(log.origin, tuple(chosen), looked)


def signed_entries(tx: Tx, log_id: str, start: int) -> Iterator[sa.Row[Any]]:
    """In order, a batch at a time: a log can be longer than memory."""
    last = sa.select(sa.func.max(AuditCheckpoint.size)).where(AuditCheckpoint.log_id == log_id)
    size = tx.session.scalar(last) or 0
    while start < size:
        rows = tx.session.execute(
            sa.select(AuditEntry.idx, AuditEntry.id, AuditEntry.entry, AuditEntry.leaf_hash)
            .where(AuditEntry.log_id == log_id)
            .where(AuditEntry.idx >= start, AuditEntry.idx < min(size, start + _BATCH))
            .order_by(AuditEntry.idx)
        ).all()
        yield from rows  # type: ignore[misc]  # an entry with a position has a leaf hash
        start += _BATCH
