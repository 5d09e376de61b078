"""Promises that are late, asked of the tables: for `broker health`, a page, and alarms.

What is not there is not late: nobody's word is taken that something was done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from broker import finds, settling
from broker.audit import unlogged
from broker.backups import late as backups
from broker.engines.postgres.revoking import ending_sql
from broker.finds import Find
from broker.grants import tokens
from broker.grants.model import Grant, Lease, Review
from broker.ids import TenantId
from broker.registers import breaches
from broker.rights import cases
from broker.snapshots.holds import LegalHold
from broker.snapshots.model import LaterLook, Remnant, Snapshot
from broker.tickets import reach
from broker.tickets.mirror import Ticket
from broker.tickets.reach import TicketSystemReach
from broker.tx import Tx


@dataclass(frozen=True, slots=True)
class Late:
    """A promise that is late, for `broker health`, the operator's page and alarms.

    `tenant_id` is None for a find that belongs to no tenant, or to more than one. `sql` is what a
    superuser of the tenant's own server could run, of a login there whose end has failed.
    """

    what: str
    id: str
    tenant_id: TenantId | None
    since: datetime
    since_s: float
    reason: str
    sql: str | None = None


def _list_late_reviews(tx: Tx, after_s: int) -> list[Late]:
    """Of break-glass, that the customer has not closed in time."""
    rows = tx.session.scalars(
        sa.select(Review).where(Review.state == "open", Review.due_at <= tx.at)
    )
    reason = "the customer has not closed it; until then no other glass is broken there"
    due = [(row.id, TenantId(row.tenant_id), row.due_at) for row in rows]
    return _list_past(tx, "review", due, reason, after_s)


def _list_past(
    tx: Tx,
    what: str,
    due: Sequence[tuple[str, TenantId | None, datetime]],
    reason: str,
    after_s: int,
) -> list[Late]:
    """Those of `due` (id, tenant, until when it was to be) that are late by so much."""
    ages = [(one, (tx.at - one[2]).total_seconds()) for one in due]
    return [
        Late(what, identity, tenant_id, due_at, age_s, reason)
        for (identity, tenant_id, due_at), age_s in ages
        if age_s >= after_s
    ]


def _list_late_tickets(tx: Tx, after_s: int) -> list[Late]:
    """Systems that can't be reached, and tickets of which one that can says nothing well."""
    late = [
        Late(
            what="ticket system",
            id=row.name,
            tenant_id=None,
            since=row.stuck_since,
            since_s=(tx.at - row.stuck_since).total_seconds(),
            reason=row.stuck_reason or "it does not answer",
        )
        for row in reach.list_unreached(tx)
        if row.stuck_since is not None
    ]
    late += [
        Late("ticket", row.id, TenantId(row.tenant_id), row.seen_at, age_s, _UNREAD)
        for row in tx.session.scalars(_unread(tx.at - timedelta(seconds=_UNREAD_AFTER_S)))
        for age_s in [(tx.at - row.seen_at).total_seconds()]
    ]
    return [item for item in late if item.since_s >= after_s]


def _unread(before: datetime) -> sa.Select[Ticket]:
    return (
        sa.select(Ticket)
        .join(TicketSystemReach, TicketSystemReach.name == Ticket.system)
        .where(
            TicketSystemReach.stuck_since.is_(None),
            Ticket.ended_at.is_(None),
            Ticket.missing_since.is_(None),
            Ticket.seen_at <= before,
            sa.select(Grant.id)
            .where(Grant.ticket_id == Ticket.id, Grant.state.in_(settling.GRANT_OPEN))
            .exists(),
        )
    )


_UNREAD = "its system is not asked about it any more, or answers badly: look at it there"
_UNREAD_AFTER_S = 900  # three polls


def _list_late_breaches(tx: Tx, after_s: int) -> list[Late]:
    """Past their 72 hours. The vendor's alone."""
    reason = "the authority was not notified, and it is not written down why not"
    due = [(row.id, None, row.due_at) for row in breaches.list_late(tx)]
    return _list_past(tx, "breach", due, reason, after_s)


def _list_late_rights(tx: Tx, after_s: int) -> list[Late]:
    """Asks of persons past their month. The vendor's alone: what a person asks is no tenant's."""
    reason = "a privacy officer has not answered it; the law gives a month"
    due = [(row.id, None, row.due_at) for row in cases.list_overdue(tx)]
    return _list_past(tx, "rights", due, reason, after_s)


def _list_late_logs(tx: Tx, after_s: int) -> list[Late]:
    """Behind by more than their merge delay: promises of inclusion are broken."""
    reason = (
        "its entries are not placed and signed: see that a worker takes the queue `log`, and look "
        "in its log for log-forked"
    )
    due = [(one.log_id, one.tenant_id, one.since) for one in unlogged.list_behind(tx)]
    return _list_past(tx, "log", due, reason, after_s)


def _list_late_backups(tx: Tx, after_s: int) -> list[Late]:
    """Missed ones, runs that nobody reported, backups that outlive their term."""
    ages = [(one, (tx.at - one.since).total_seconds()) for one in backups.list_late(tx)]
    return [
        Late("backup", one.id, one.tenant_id, one.since, age_s, one.why)
        for one, age_s in ages
        if age_s >= after_s
    ]


_WORDS = {Snapshot: "snapshot", Remnant: "remnant", Lease: "lease", LaterLook: "look"}


def list_late(tx: Tx, after_s: int = 900) -> list[Late]:
    """Condemned copies and remnants, revoking leases, due looks, what the janitor found and has not
    ended, reviews that are owed, and ticket systems that are not reached, after `after_s`.
    """
    held = sa.select(LegalHold.snapshot_id).where(  # counted apart, and never late
        LegalHold.state == "in_force", LegalHold.closed_at.is_not(None)
    )
    copies = tx.session.scalars(
        sa.select(Snapshot).where(Snapshot.state == "condemned", Snapshot.id.not_in(held))
    )
    remnants = tx.session.scalars(sa.select(Remnant).where(Remnant.state == "condemned"))
    ends = tx.session.scalars(sa.select(Lease).where(Lease.state == "revoking")).all()
    looks = tx.session.scalars(
        sa.select(LaterLook).where(LaterLook.passed_at.is_(None), LaterLook.due_at <= tx.at)
    ).all()
    tenants = dict(
        tx.session.execute(
            sa.select(Snapshot.id, Snapshot.tenant_id).where(
                Snapshot.id.in_({look.snapshot_id for look in looks})
            )
        ).all()
    )
    promised = [
        *((row, row.id, row.tenant_id, row.state_at) for row in (*copies, *remnants)),
        *((row, row.id, row.tenant_id, tokens.promised_at(row)) for row in ends),
        *((row, row.snapshot_id, tenants[row.snapshot_id], row.due_at) for row in looks),
    ]
    late = _list_late_reviews(tx, after_s) + _list_late_tickets(tx, after_s)
    late += _list_late_rights(tx, after_s)
    late += _list_late_breaches(tx, after_s)
    late += _list_late_backups(tx, after_s)
    late += _list_late_logs(tx, after_s)
    for row, identity, tenant_id, since in promised:
        age_s = (tx.at - since).total_seconds()
        if age_s >= after_s:
            reason = row.stuck_reason or "waiting for its turn"
            what = _WORDS[type(row)]
            owner, mend = TenantId(tenant_id), _find_mend(row)
            late.append(Late(what, identity, owner, since, age_s, reason, mend))
    late += [_late_find(tx, find) for find in finds.list_unended(tx, before=after_s)]
    return sorted(late, key=lambda item: -item.since_s)


def _find_mend(row: object) -> str | None:
    if not isinstance(row, Lease) or row.database_id is None or row.stuck_since is None:
        return None
    return row.stuck_sql or ending_sql(row.role_name)


def _late_find(tx: Tx, find: Find) -> Late:
    """Of one copy or login there may be several: the reason says which stands where."""
    reason = find.stuck_reason or "waiting for its turn"
    return Late(
        what="find",
        id=find.subject,
        tenant_id=TenantId(find.tenant_id) if find.tenant_id else None,
        since=find.found_at,
        since_s=(tx.at - find.found_at).total_seconds(),
        reason=f"{find.kind} {find.name} on {find.place}: {reason}",
    )
