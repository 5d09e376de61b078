"""What should not exist now, and what is due to be tried again: asked of the tables, every time.

Level-triggered: losing every webhook, click and job loses nothing but the time until the next
sweep. Batches are bounded and one bad row never keeps the rest: each is done in a savepoint.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from broker import idempotency, lifecycle, retries, settling, unconsented
from broker.backups import due as backups
from broker.backups import restores, runs
from broker.backups.model import BackupRun
from broker.consents import ledger, nightly
from broker.db import Base, Database
from broker.due import AT, Due, find_due
from broker.errors import BrokerError
from broker.grants import (
    drills,
    escalating,
    glass,
    leases,
    preflights,
    reminders,
    rotating,
    shown_plans,
    watch_steps,
)
from broker.grants.drills import Drill
from broker.grants.model import Grant, Lease, Standing
from broker.jobs import Queue
from broker.logs import get_log
from broker.retention import improving, running
from broker.rights import cases
from broker.snapshots import holds
from broker.snapshots.model import LaterLook, Remnant, Snapshot
from broker.snapshots.remnants import list_unrevoked
from broker.snapshots.states import ALIVE
from broker.third_parties import handing
from broker.tx import Tx, system

_BATCH = 200
_NIGHTLY = timedelta(hours=24)  # all logs are read against the ledger of consents
_log = get_log(__name__)
R = TypeVar("R", bound=Base)
_Tried = Grant | Lease | Drill | Snapshot | Remnant | LaterLook | BackupRun


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
        ended += _end_backups(tx, due, queue)
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
        due: list[tuple[_Tried, str, str]] = [
            *[(g, "plan_grant", "access") for g in _list_due(tx, found, shown_plans.WITHOUT_PLAN)],
            *[(le, leases.job_of(le), "access") for le in _list_due(tx, found, _LEASE_TRIES)],
            *[(s, _COPY_JOBS[s.state], "copies") for s in _list_due(tx, found, _COPY_TRIES)],
            *[(r, _COPY_JOBS[r.state], "copies") for r in _list_due(tx, found, _REMNANT_TRIES)],
            *[(drill, "run_drill", "access") for drill in _list_due(tx, found, _DRILL_TRIES)],
            *[(run, runs.job_of(run), "access") for run in _list_due(tx, found, backups.RUN_TRIES)],
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
        watch_steps.put_due(tx, queue)
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


def _end_backups(tx: Tx, due: Collection[Due[Any]], queue: Queue) -> int:
    ended = 0
    for kind, why in (
        (backups.RUNS_OVER, runs.OVER),
        (backups.RUNS_UNCONSENTED, runs.UNCONSENTED),
    ):
        rows = _list_due(tx, due, kind)
        ended += _each(tx, rows, partial(runs.end, tx, why=why, queue=queue))
    overdue = _list_due(tx, due, backups.RESTORES_OVER)
    return ended + _each(tx, overdue, partial(restores.end_overdue, tx))


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
    backups.RUNS_OVER,
    backups.RUNS_UNCONSENTED,
    backups.RESTORES_OVER,
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
    backups.RUN_TRIES,
    settling.LEASES_OVER,
)
