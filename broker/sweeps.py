"""What should not exist now, and what is due to be tried again: asked of the tables, every time.

Level-triggered: losing every webhook, click and job loses nothing but the time until the next
sweep. Batches are bounded and one bad row never keeps the rest: each is done in a savepoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa

from broker import lifecycle, retries
from broker.db import Database
from broker.errors import BrokerError
from broker.finds import Find
from broker.grants import glass, preflights, requests
from broker.grants.leases import list_unused_scopes
from broker.grants.model import Grant, Lease, LiveScope
from broker.ids import TenantId
from broker.jobs import Queue
from broker.logs import get_log
from broker.people import Membership, Person
from broker.snapshots.model import LaterLook, Remnant, Snapshot
from broker.snapshots.remnants import condemn_remnant, list_unrevoked
from broker.snapshots.states import ALIVE
from broker.tickets.mirror import Ticket
from broker.tx import Tx, system

_BATCH = 200
_log = get_log(__name__)
R = TypeVar("R")


class Overtaken(BrokerError):
    """This sweep was ordered by a scheduler that no longer leads; nothing was done."""

    type = "overtaken"


def sweep_ends(database: Database, queue: Queue, fence: int) -> int:
    """End what should not exist now; returns how many things were ended."""
    with database.begin(system("sweep")) as tx:
        check_fence(tx, fence)
        ended = _each(tx, _list_due_grants(tx), lambda grant: _end_grant(tx, grant, queue))
        ended += _each(
            tx, _list_due_leases(tx), lambda lease: lifecycle.end_overdue_lease(tx, lease, queue)
        )
        ended += _each(
            tx, _list_due_copies(tx), lambda copy: lifecycle.condemn_overdue(tx, copy, queue)
        )
        note_run(tx, "ends", fence, ended)
    return ended


def sweep_retries(database: Database, queue: Queue, fence: int) -> int:
    """Enqueue again what is due: whatever its job did, or if it was lost."""
    with database.begin(system("sweep")) as tx:
        check_fence(tx, fence)
        _condemn_found(tx, queue)
        due: list[tuple[Grant | Lease | Snapshot | Remnant | LaterLook, str, str]] = [
            *[(g, "plan_grant", "access") for g in requests.list_without_plan(tx, _BATCH)],
            *[(le, _LEASE_JOBS[le.state], "access") for le in _due(tx, Lease, tuple(_LEASE_JOBS))],
            *[(s, _COPY_JOBS[s.state], "copies") for s in _due(tx, Snapshot, tuple(_COPY_JOBS))],
            *[(r, _COPY_JOBS[r.state], "copies") for r in _due(tx, Remnant, _REMNANT_STATES)],
            *[(look, "look_again", "copies") for look in _list_due_looks(tx)],
        ]
        for row, job, name in due:
            identity = row.snapshot_id if isinstance(row, LaterLook) else row.id
            queue.put(tx, job, identity, queue=name)
            retries.hint(row, tx.at)
        for remnant_id in list_unrevoked(tx, _BATCH):
            queue.put(tx, "revoke_certificate", remnant_id, queue="copies")
        for name in list_unused_scopes(tx, _BATCH):
            _put_scope_drop(tx, name, queue)
        note_run(tx, "retries", fence, len(due))
    return len(due)


def sweep_checks(database: Database, queue: Queue, fence: int) -> int:
    """Enqueue the looks at servers that are due: every day, and those that failed."""
    with database.begin(system("sweep")) as tx:
        check_fence(tx, fence)
        due = preflights.put_due(tx, queue, _BATCH)
        glass.forget_old(tx)
        note_run(tx, "checks", fence, due)
    return due


_LEASE_JOBS = {"pending": "issue_lease", "revoking": "revoke_lease"}
_COPY_JOBS = {
    "ordered": "copy_snapshot",
    "copying": "copy_snapshot",
    "ready": "reset_snapshot",
    "condemned": "destroy_snapshot",
    "destroyed": "certify_snapshot",  # due until it has its certificate
}
_REMNANT_STATES = ("condemned", "destroyed")


def list_unused_scopes_of(tx: Tx, database_id: str) -> list[str]:
    """Names of the scopes on one database that no open lease uses."""
    names = set(list_unused_scopes(tx, _BATCH))
    rows = tx.session.scalars(
        sa.select(LiveScope.name).where(
            LiveScope.database_id == database_id, LiveScope.dropped_at.is_(None)
        )
    )
    return [name for name in rows if name in names]


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


def _end_grant(tx: Tx, grant: Grant, queue: Queue) -> bool:
    why = lifecycle.find_reason_to_end(tx, grant)
    return why is not None and lifecycle.end_grant(tx, grant, why, queue)


# What rests on something that is over is found by what it rests on *not* being there among what
# lives: so a sweep reads what lives, however much has ended. Time has an index, and a query of its
# own: it is what mostly ends things.


def _list_due_grants(tx: Tx) -> Sequence[Grant]:
    is_open = Grant.state.in_(("requested", "approved"))
    lapsed = sa.and_(Grant.state == "requested", Grant.lapses_at <= tx.at)
    ticket = sa.select(Ticket.id).where(Ticket.id == Grant.ticket_id, Ticket.ended_at.is_(None))
    able = (
        sa.select(Membership.person_id)
        .join(Person, Person.id == Membership.person_id)
        .where(
            Membership.person_id == Grant.requester_id,
            Membership.tenant_id.is_(None),
            Membership.ended_at.is_(None),
            Person.disabled_at.is_(None),
        )
    )
    altered = Grant.altered_at.is_not(None)
    reasons = (lapsed, Grant.ends_at <= tx.at, ~ticket.exists(), ~able.exists(), altered)
    return _list_all(tx, Grant, [sa.and_(is_open, why) for why in reasons])


def _list_due_leases(tx: Tx) -> Sequence[Lease]:
    """Past their own end, or under a grant that is over for whatever reason (G3)."""
    alive = Lease.state.in_(("pending", "issued"))
    reasons = (Lease.ends_at <= tx.at, ~_approved(Lease.grant_id).exists())
    return _list_all(tx, Lease, [sa.and_(alive, why) for why in reasons])


def _list_due_copies(tx: Tx) -> Sequence[Snapshot]:
    reasons = (Snapshot.ends_at <= tx.at, ~_approved(Snapshot.grant_id).exists())
    return _list_all(tx, Snapshot, [sa.and_(Snapshot.state.in_(ALIVE), why) for why in reasons])


def _approved(grant_id: sa.orm.InstrumentedAttribute[str]) -> sa.Select[str]:
    return sa.select(Grant.id).where(Grant.id == grant_id, Grant.state == "approved")


def _list_all(tx: Tx, model: type[R], reasons: Sequence[sa.ColumnElement[bool]]) -> list[R]:
    """Rows with any of these reasons, each once, a bounded number for each reason."""
    found: dict[R, None] = {}
    for reason in reasons:
        found |= dict.fromkeys(tx.session.scalars(sa.select(model).where(reason).limit(_BATCH)))
    return list(found)


def _due(tx: Tx, model: type[R], states: tuple[str, ...]) -> Sequence[R]:
    columns = sa.inspect(model).columns
    return tx.session.scalars(
        sa.select(model)
        .where(columns["state"].in_(states), columns["next_try_at"] <= tx.at)
        .order_by(columns["next_try_at"])
        .limit(_BATCH)
    ).all()


def _list_due_looks(tx: Tx) -> Sequence[LaterLook]:
    """Not while a remnant is condemned: its destruction ends with looks, and has the lock."""
    open_remnants = sa.select(Remnant.snapshot_id).where(Remnant.state == "condemned")
    return tx.session.scalars(
        sa.select(LaterLook)
        .where(
            LaterLook.passed_at.is_(None),
            LaterLook.next_try_at <= tx.at,
            LaterLook.snapshot_id.not_in(open_remnants),
        )
        .order_by(LaterLook.next_try_at)
        .limit(_BATCH)
    ).all()


def _condemn_found(tx: Tx, queue: Queue) -> None:
    """What the janitor found of a destroyed copy makes a remnant of it, as a look's find does.

    A remnant that was destroyed after the find has covered it: looks have found nothing since.
    """
    covered = sa.select(Remnant.id).where(
        Remnant.snapshot_id == Find.subject,
        sa.or_(Remnant.destroyed_at.is_(None), Remnant.destroyed_at >= Find.found_at),
    )
    rows = tx.session.execute(
        sa.select(Snapshot.id, sa.func.array_agg(Find.kind))
        .join(Find, Find.subject == Snapshot.id)
        .where(
            Find.noun == "remnant",
            Snapshot.state == "destroyed",
            Find.found_at >= Snapshot.destroyed_at,
            ~covered.exists(),
        )
        .group_by(Snapshot.id)
        .limit(_BATCH)
    ).all()
    for snapshot_id, kinds in rows:
        condemn_remnant(tx, snapshot_id, kinds, "janitor", queue)


def _put_scope_drop(tx: Tx, name: str, queue: Queue) -> None:
    """Its database's id is the job's argument: ids only, and the job looks for unused scopes."""
    row = tx.session.get_one(LiveScope, name)
    queue.put(tx, "drop_scopes", row.database_id, queue="access")


@dataclass(frozen=True, slots=True)
class Late:
    """A promise that is late, for `broker health`, the operator's page and alarms."""

    what: str
    id: str
    tenant_id: TenantId
    since: datetime
    since_s: float
    reason: str


_WORDS = {Snapshot: "snapshot", Remnant: "remnant", Lease: "lease", LaterLook: "look"}


def list_late(tx: Tx, after_s: int = 900) -> list[Late]:
    """Condemned copies and remnants, revoking leases, and due looks, not done after `after_s`."""
    copies = tx.session.scalars(sa.select(Snapshot).where(Snapshot.state == "condemned"))
    remnants = tx.session.scalars(sa.select(Remnant).where(Remnant.state == "condemned"))
    leases = tx.session.scalars(sa.select(Lease).where(Lease.state == "revoking"))
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
        *((row, row.id, row.tenant_id, row.state_at) for row in (*copies, *remnants, *leases)),
        *((row, row.snapshot_id, tenants[row.snapshot_id], row.due_at) for row in looks),
    ]
    late: list[Late] = []
    for row, identity, tenant_id, since in promised:
        age_s = (tx.at - since).total_seconds()
        if age_s >= after_s:
            reason = row.stuck_reason or "waiting for its turn"
            what = _WORDS[type(row)]
            late.append(Late(what, identity, TenantId(tenant_id), since, age_s, reason))
    return sorted(late, key=lambda item: -item.since_s)
