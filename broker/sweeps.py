"""What should not exist now, and what is due to be tried again: asked of the tables, every time.

Level-triggered: losing every webhook, click and job loses nothing but the time until the next
sweep. Batches are bounded and one bad row never keeps the rest: each is done in a savepoint.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from broker import finds, idempotency, lifecycle, retries, settling, unconsented
from broker.consents import ledger, nightly
from broker.db import Base, Database
from broker.due import AT, Due, find_due
from broker.errors import BrokerError
from broker.finds import Find
from broker.grants import (
    drills,
    escalating,
    glass,
    leases,
    preflights,
    reminders,
    rotating,
    shown_plans,
    tokens,
)
from broker.grants.drills import Drill
from broker.grants.model import Grant, Lease, Review, Standing
from broker.ids import TenantId
from broker.jobs import Queue
from broker.logs import get_log
from broker.registers import breaches
from broker.retention import improving, running
from broker.rights import cases
from broker.snapshots import holds
from broker.snapshots.holds import LegalHold
from broker.snapshots.model import LaterLook, Remnant, Snapshot
from broker.snapshots.remnants import list_unrevoked
from broker.snapshots.states import ALIVE
from broker.third_parties import handing
from broker.tickets import reach
from broker.tickets.mirror import Ticket
from broker.tickets.reach import TicketSystemReach
from broker.tx import Tx, system

_BATCH = 200
_NIGHTLY = timedelta(hours=24)  # all logs are read against the ledger of consents
_log = get_log(__name__)
R = TypeVar("R", bound=Base)


class Overtaken(BrokerError):
    """This sweep was ordered by a scheduler that no longer leads; nothing was done."""

    type = "overtaken"


def sweep_ends(database: Database, queue: Queue, fence: int) -> int:
    """End what should not exist now; returns how many things were ended."""
    with database.begin(system("sweep")) as tx:
        check_fence(tx, fence)
        due = find_due(tx, *_ENDS)
        ended = _each(
            tx,
            _list_due(tx, due, holds.OVER, holds.UNANSWERED),
            lambda hold: holds.end(tx, hold, "its time is over", queue),
        )
        ended += _each(
            tx,
            _list_due(tx, due, _STANDING_OVER, _STANDING_UNANSWERED),
            lambda row: lifecycle.end_overdue_standing(tx, row, queue),
        )
        grants = [
            *_list_due(tx, due, _GRANTS_LAPSED, _GRANTS_OVER, _GRANTS_ALTERED),
            *settling.list_baseless_grants(tx, due),
        ]
        ended += _each(tx, grants, lambda grant: _end_grant(tx, grant, queue))
        ended += _end_unconsented(tx, due, queue)
        under = settling.list_under_ended(tx) if settling.GRANTS_OVER in due else ([], [])
        leases, copies = [*_list_due(tx, due, _LEASES), *under[0]], under[1]
        ended += _each(tx, leases, lambda lease: lifecycle.end_overdue_lease(tx, lease, queue))
        ended += _end_copies(tx, [*_list_due(tx, due, _COPIES), *copies], queue)
        note_run(tx, "ends", fence, ended)
    with database.begin(system("sweep")) as tx:
        settling.settle(tx)
    with database.begin(system("sweep")) as tx:
        escalating.escalate_due(tx)
        reminders.remind_due(tx)
        reminders.warn_ending(tx)
        cases.remind_due(tx)
        handing.tell_due(tx)
    return ended


def sweep_retries(database: Database, queue: Queue, fence: int) -> int:
    """Enqueue again what is due: whatever its job did, or if it was lost."""
    with database.begin(system("sweep")) as tx:
        check_fence(tx, fence)
        found = find_due(tx, *_TRIES)
        due: list[tuple[Grant | Lease | Drill | Snapshot | Remnant | LaterLook, str, str]] = [
            *[(g, "plan_grant", "access") for g in _list_due(tx, found, shown_plans.WITHOUT_PLAN)],
            *[(le, leases.job_of(le), "access") for le in _list_due(tx, found, _LEASE_TRIES)],
            *[(s, _COPY_JOBS[s.state], "copies") for s in _list_due(tx, found, _COPY_TRIES)],
            *[(r, _COPY_JOBS[r.state], "copies") for r in _list_due(tx, found, _REMNANT_TRIES)],
            *[(drill, "run_drill", "access") for drill in _list_due(tx, found, _DRILL_TRIES)],
            *[(look, "look_again", "copies") for look in _list_due(tx, found, _LOOKS)],
        ]
        jobs: dict[tuple[str, str], list[str]] = {}
        for row, job, name in due:
            identity = row.snapshot_id if isinstance(row, LaterLook) else row.id
            jobs.setdefault((job, name), []).append(identity)
            retries.hint(row, tx.at)
        for (job, name), identities in jobs.items():
            queue.put_all(tx, job, identities, queue=name)
        for remnant_id in list_unrevoked(tx, _BATCH):
            queue.put(tx, "revoke_certificate", remnant_id, queue="copies")
        if settling.LEASES_OVER in found:
            for database_id in settling.list_with_unused_scopes(tx):
                queue.put(tx, "drop_scopes", database_id, queue="access")
        note_run(tx, "retries", fence, len(due))
    return len(due)


def sweep_checks(database: Database, queue: Queue, fence: int, rotate_s: int = 30 * 86400) -> int:
    """Enqueue the looks at servers that are due: every day, and those that failed; and the changes
    of our own passwords there, every `rotate_s`.
    """
    with database.begin(system("sweep")) as tx:
        check_fence(tx, fence)
        due = preflights.put_due(tx, queue, _BATCH)
        preflights.put_due_logins(tx, queue, _BATCH)
        drills.order_due(tx, queue, _BATCH)
        due += rotating.put_due(tx, rotate_s, queue, _BATCH)
        glass.forget_old(tx)
        idempotency.forget_old(tx)
        note_run(tx, "checks", fence, due)
        ran_at = tx.session.scalar(sa.text("SELECT at FROM sweep_run WHERE kind = 'consents'"))
        nightly_due = ran_at is None or tx.at >= ran_at + _NIGHTLY
        if nightly_due:  # first, so that one that fails is not tried again every minute
            note_run(tx, "consents", fence, 0)
    if nightly_due:
        unexplained = nightly.check_all(database)
        with database.begin(system("sweep")) as tx:
            note_run(tx, "consents", fence, unexplained)
        running.run(database)
        with database.begin(system("sweep")) as tx:
            improving.improve(tx)
    return due


_COPY_JOBS = {
    "ordered": "copy_snapshot",
    "copying": "copy_snapshot",
    "ready": "reset_snapshot",
    "condemned": "destroy_snapshot",
    "destroyed": "certify_snapshot",  # due until it has its certificate
}


def check_fence(tx: Tx, fence: int) -> None:
    """Refuse a sweep of a scheduler that was overtaken by another."""
    current = tx.session.scalar(sa.text("SELECT fence FROM scheduler_lead"))
    if current is not None and fence < current:
        raise Overtaken(f"a scheduler with a later fencing number ({current}) leads")


def note_run(tx: Tx, kind: str, fence: int, found: int) -> None:
    """Write down when this kind of sweep ran last, and how much it found."""
    tx.session.execute(
        sa.text(
            "INSERT INTO sweep_run (kind, at, fence, found) VALUES (:k, :at, :f, :n) ON CONFLICT "
            "(kind) DO UPDATE SET at = excluded.at, fence = excluded.fence, found = excluded.found"
        ),
        {"k": kind, "at": tx.at, "f": fence, "n": found},
    )


def _each(tx: Tx, rows: Sequence[R], act: Callable[[R], bool]) -> int:
    """Do all, each in a savepoint; what fails is logged and met again by the next sweep."""
    done = 0
    for row in rows:
        try:
            with tx.session.begin_nested():
                done += act(row)
        except (BrokerError, sa.exc.SQLAlchemyError) as error:
            _log.error("sweep_failed_for", row=type(row).__name__, error=str(error))
    return done


def _end_copies(tx: Tx, copies: Sequence[Snapshot], queue: Queue) -> int:
    """All at once; if one of them is in the way of the rest, each by itself."""
    if not copies:
        return 0
    try:
        with tx.session.begin_nested():
            return lifecycle.condemn_all_overdue(tx, copies, queue)
    except (BrokerError, sa.exc.SQLAlchemyError) as error:
        _log.warning("swept_one_by_one", rows=len(copies), error=str(error))
        return _each(tx, copies, lambda copy: lifecycle.condemn_overdue(tx, copy, queue))


def _end_unconsented(tx: Tx, due: Collection[Due[Any]], queue: Queue) -> int:
    """What rests on no live consent; and what is over is written into the ledger after that."""
    ended = 0
    for tenant_id, gone in unconsented.list_lacking(tx).items():
        rows = unconsented.list_grants(tx, tenant_id)
        ended += _each(tx, rows, partial(unconsented.end, tx, gone=gone, queue=queue))
    _each(tx, _list_due(tx, due, ledger.LAPSING), lambda act: unconsented.lapse(tx, act))
    return ended


def _end_grant(tx: Tx, grant: Grant, queue: Queue) -> bool:
    why = lifecycle.find_reason_to_end(tx, grant)
    return why is not None and lifecycle.end_grant(tx, grant, why, queue)


def _list_due(tx: Tx, due: Collection[Due[Any]], *kinds: Due[R]) -> list[R]:
    """A batch of each of `kinds` that is among `due`."""
    return [row for kind in kinds if kind in due for row in kind.list(tx, _BATCH)]


# Time has an index; what rests on something that is over is found by `settling`.

_GRANTS_LAPSED = Due(
    Grant, sa.and_(Grant.state == "requested", Grant.lapses_at <= AT), Grant.lapses_at
)
_GRANTS_OVER = Due(
    Grant, sa.and_(Grant.state.in_(settling.GRANT_OPEN), Grant.ends_at <= AT), Grant.ends_at
)
_GRANTS_ALTERED = Due(
    Grant,
    sa.and_(Grant.state.in_(settling.GRANT_OPEN), Grant.altered_at.is_not(None)),
    Grant.id,
)
_STANDING_OVER = Due(
    Standing,
    sa.and_(Standing.state.in_(("proposed", "given")), Standing.ends_at <= AT),
    Standing.ends_at,
)
_STANDING_UNANSWERED = Due(
    Standing, sa.and_(Standing.state == "proposed", Standing.lapses_at <= AT), Standing.lapses_at
)
_LEASES = Due(
    Lease, sa.and_(Lease.state.in_(settling.LEASE_ALIVE), Lease.ends_at <= AT), Lease.ends_at
)
_COPIES = Due(
    Snapshot, sa.and_(Snapshot.state.in_(ALIVE), Snapshot.ends_at <= AT), Snapshot.ends_at
)
_ENDS = (
    holds.OVER,
    holds.UNANSWERED,
    _STANDING_OVER,
    _STANDING_UNANSWERED,
    _GRANTS_LAPSED,
    _GRANTS_OVER,
    _GRANTS_ALTERED,
    *settling.BASELESS,
    ledger.LAPSING,
    settling.GRANTS_OVER,
    _LEASES,
    _COPIES,
)


def _tries(model: type[R], states: tuple[str, ...]) -> Due[R]:
    columns = sa.inspect(model).columns
    at = columns["next_try_at"]
    return Due(model, sa.and_(columns["state"].in_(states), at <= AT), at)


_LEASE_TRIES = _tries(Lease, leases.DUE_STATES)
_COPY_TRIES = _tries(Snapshot, tuple(_COPY_JOBS))
_REMNANT_TRIES = _tries(Remnant, ("condemned", "destroyed"))
_DRILL_TRIES = _tries(Drill, ("ordered",))
# Not while a remnant is condemned: its destruction ends with looks, and has the lock.
_LOOKS = Due(
    LaterLook,
    sa.and_(
        LaterLook.passed_at.is_(None),
        LaterLook.next_try_at <= AT,
        LaterLook.snapshot_id.not_in(
            sa.select(Remnant.snapshot_id).where(Remnant.state == "condemned")
        ),
    ),
    LaterLook.next_try_at,
)
_TRIES = (
    shown_plans.WITHOUT_PLAN,
    _LEASE_TRIES,
    _COPY_TRIES,
    _REMNANT_TRIES,
    _DRILL_TRIES,
    _LOOKS,
    settling.LEASES_OVER,
)


@dataclass(frozen=True, slots=True)
class Late:
    """A promise that is late, for `broker health`, the operator's page and alarms.

    `tenant_id` is None for a find that belongs to no tenant, or to more than one.
    """

    what: str
    id: str
    tenant_id: TenantId | None
    since: datetime
    since_s: float
    reason: str


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
    for row, identity, tenant_id, since in promised:
        age_s = (tx.at - since).total_seconds()
        if age_s >= after_s:
            reason = row.stuck_reason or "waiting for its turn"
            what = _WORDS[type(row)]
            late.append(Late(what, identity, TenantId(tenant_id), since, age_s, reason))
    late += [_late_find(tx, find) for find in finds.list_unended(tx, before=after_s)]
    return sorted(late, key=lambda item: -item.since_s)


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
