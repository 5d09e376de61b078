"""Leases on their servers: intent, effect, look, confirm.

The row is `pending` before a role exists, `issued` after it was made, `revoking` before anything
is taken away, and `revoked` only when a fresh look found no login and no session (G3). Whatever
dies in between leaves a row that the sweep finds; every effect is idempotent.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from broker import retries
from broker.bell import ring
from broker.db import Busy, Database
from broker.engines.postgres import leases as roles
from broker.engines.postgres import revoking
from broker.engines.postgres.leases import ScopeExceeded, ScopeMissing
from broker.engines.postgres.looks import OpenSession, session
from broker.engines.postgres.revoking import Ended
from broker.errors import BrokerError
from broker.faults import crash_point
from broker.grants import contacts, grounds, leases, requests
from broker.grants.grounds import UNUSABLE, Unusable
from broker.grants.lease_scopes import drop_scope_if_unused, ensure_scope, note_scope
from broker.grants.lease_work import KeyPort, Work, login_role, read_work
from broker.grants.leases import get_lease
from broker.grants.pausing import is_paused
from broker.grants.plan import check_same_tenancy
from broker.grants.states import LEASE_ISSUED, LEASE_REVOKED
from broker.jobs import Queue
from broker.retries import FAILURES, describe
from broker.secret import Secret
from broker.states import StateConflict, advance
from broker.tx import system

_WORKER = system("worker")


WAIT_S = 20  # an end waits for a making that is under way, rather than for the next sweep


def issue(
    database: Database,
    port: KeyPort,
    lease_id: str,
    queue: Queue,
    open_session: OpenSession = session,
) -> None:
    """Make the role of a pending lease; a failure is noted and tried again by the sweep."""
    try:
        with database.exclusive(f"lease {lease_id}"):
            work = read_work(database, port, lease_id, queue)
            if work.state != "pending":
                return
            if work.grant_over:
                _end(database, lease_id, queue)
                return
            if work.paused:
                _put_hold(database, lease_id, queue)
                return
            try:
                work = _allow(database, port, work, queue)
                _make_role(database, port, work, open_session)
            except UNUSABLE as found:
                refuse(database, work, found, queue)
                return
            except FAILURES as error:
                _note_failure(database, lease_id, error)
                return
            crash_point("role-made")
            _confirm_issued(database, lease_id, queue)
            crash_point("lease-issued")
    except Busy:
        return


def _allow(database: Database, port: KeyPort, work: Work, queue: Queue) -> Work:
    """Raises what keeps the role from being made. The first contact comes before anything is."""
    if work.refusal is None and not work.is_known:
        contacts.meet(database, work.target, work.registered_id, port.label_key())
        work = read_work(database, port, work.lease_id, queue)
    if (reason := work.refusal or work.problem) is not None:
        raise reason
    return work


def refuse(database: Database, work: Work, found: Unusable, queue: Queue) -> None:
    with database.begin(_WORKER) as tx:
        grounds.note(tx, work.grant_id, found)
        leases.end(tx, get_lease(tx, work.lease_id), found.why, queue)


def _put_hold(database: Database, lease_id: str, queue: Queue) -> None:
    """What is paused is not made; what an earlier try may have made is taken away."""
    with database.begin(_WORKER) as tx:
        retries.hint(get_lease(tx, lease_id), tx.at)
        queue.put(tx, "hold_lease", lease_id, queue="access")


def _make_role(database: Database, port: KeyPort, work: Work, open_session: OpenSession) -> None:
    """A scope that stands is used as it is; nobody drops it while a login is made on it."""
    key = port.label_key()
    if work.plan is None:
        _make_login(work, key, open_session)
        return
    check_same_tenancy(work.plan, work.tenancy.digest())
    with database.shared(f"scope {work.scope}"):
        if not note_scope(database, work):
            crash_point("scope-noted")
            ensure_scope(database, work, key)
        try:
            _make_login(work, key, open_session)
        except ScopeMissing:  # somebody took it away on the server itself
            ensure_scope(database, work, key)
            _make_login(work, key, open_session)


def _make_login(work: Work, key: Secret[bytes], open_session: OpenSession) -> None:
    bounded = work.plan is not None
    try:
        roles.issue(work.target, login_role(work, key), bounded=bounded, open_session=open_session)
    except ScopeExceeded:
        if not work.tenancy.is_shared:
            raise
        raise ScopeExceeded(  # the objects may be another tenant's: only the vendor reads them
            "the role would reach more than its scope; an operator sees what, and what mends it, "
            f"with: broker databases check {work.database_id}"
        ) from None


def _confirm_issued(database: Database, lease_id: str, queue: Queue) -> None:
    """If the lease was condemned meanwhile, its role is taken away by the job of its own; if its
    grant is over, it is condemned here. The grant is locked, so one of the two sees the other.
    """
    with database.begin(_WORKER) as tx:
        lease = get_lease(tx, lease_id)
        grant = requests.get_grant(tx, lease.grant_id, lock=True)
        if grant.state != "approved":
            leases.end(tx, lease, f"its grant is {grant.state}", queue)
            return
        try:
            advance(tx, lease, LEASE_ISSUED)
        except StateConflict:
            return
        retries.note_success(lease)
        if is_paused(lease, grant):  # meanwhile: shown as asked until it is done
            retries.hint(lease, tx.at)
            queue.put(tx, "hold_lease", lease_id, queue="access")
        ring(tx, lease_id)


def _end(database: Database, lease_id: str, queue: Queue) -> None:
    """A login that was asked for under a grant that is over by now is never made (G3)."""
    with database.begin(_WORKER) as tx:
        leases.end(tx, get_lease(tx, lease_id), "its grant is over", queue)


def _note_failure(database: Database, lease_id: str, error: Exception) -> None:
    with database.begin(_WORKER) as tx:
        lease = get_lease(tx, lease_id)
        if lease.state in {"pending", "revoking"}:
            retries.note_failure(lease, tx.at, describe(error))
            told = error.facts.get("sql") if isinstance(error, BrokerError) else None
            lease.stuck_sql = str(told)[: retries.LONGEST] if told else None
            ring(tx, lease_id)


def revoke(
    database: Database, port: KeyPort, lease_id: str, open_session: OpenSession = session
) -> None:
    """End a condemned lease on its server: all sessions dead, the role gone, looked at afresh."""
    try:
        with database.exclusive(f"lease {lease_id}", wait_s=WAIT_S):
            try:
                work = read_work(database, port, lease_id)
                if work.state != "revoking":
                    return
                ended = revoking.revoke(work.target, work.role, open_session=open_session)
                crash_point("role-ended")
            except FAILURES as error:
                _note_failure(database, lease_id, error)
                return
            _confirm_revoked(database, lease_id, ended)
            crash_point("lease-revoked")
    except Busy:
        return
    if work.database_id is not None:
        drop_scope_if_unused(database, port, work.scope)


def _confirm_revoked(database: Database, lease_id: str, ended: Ended) -> None:
    with database.begin(_WORKER) as tx:
        lease = get_lease(tx, lease_id)
        advance(
            tx,
            lease,
            LEASE_REVOKED,
            values={**end_values(ended), "role_oid": ended.oid},
            facts=end_facts(ended),
        )
        retries.note_success(lease)
        ring(tx, lease_id)


def note_server_gone(database: Database, lease_id: str) -> None:
    """A login on a copy's own server, of which a fresh look found no process, mount or folder."""
    with database.exclusive(f"lease {lease_id}", wait_s=WAIT_S):
        with database.begin(_WORKER) as tx:
            if get_lease(tx, lease_id).state != "revoking":
                return
            at = tx.at
        _confirm_revoked(database, lease_id, Ended(at, at, at, found_absent=True))


def end_values(ended: Ended) -> dict[str, Any]:
    """Columns of a login whose end a look has confirmed."""
    places = [asdict(place) for place in ended.places]
    return {**end_instants(ended), "looked_at": places, "verifier": None, "stuck_sql": None}


def end_instants(ended: Ended) -> dict[str, datetime]:
    return {
        "login_refused_at": ended.login_refused_at,
        "last_session_dead_at": ended.last_session_dead_at,
        "role_gone_at": ended.role_gone_at,
    }


def end_facts(ended: Ended) -> dict[str, str | bool]:
    instants = {name: at.isoformat() for name, at in end_instants(ended).items()}
    return {**instants, "found_absent": ended.found_absent}
