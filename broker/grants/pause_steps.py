"""Pauses on their servers: intent, effect, look, confirm.

What is wanted stands in the rows of login and grant (`pausing`), what is done in `held_at`; they
differ until a worker has made them equal. What must stay true: both effects are idempotent and
done under the login's lock, which whoever makes or ends it holds too; what was wanted is read again
under that lock, and what was done is written down whatever is wanted by then.
"""

from __future__ import annotations

from dataclasses import replace

from broker import retries, trail
from broker.bell import ring
from broker.db import Busy, Database
from broker.engines.postgres import holding, revoking
from broker.engines.postgres import leases as roles
from broker.engines.postgres.holding import Held
from broker.engines.postgres.looks import OpenSession, session
from broker.faults import crash_point
from broker.grants import requests
from broker.grants.grounds import UNUSABLE
from broker.grants.lease_steps import WAIT_S, refuse
from broker.grants.lease_work import KeyPort, Work, login_role, read_work
from broker.grants.leases import get_lease
from broker.grants.model import Lease
from broker.grants.pausing import LIVING, is_paused
from broker.ids import TenantId
from broker.jobs import Queue
from broker.retries import FAILURES, describe
from broker.tx import Tx, system

_WORKER = system("worker")


def hold(
    database: Database,
    port: KeyPort,
    lease_id: str,
    queue: Queue,
    open_session: OpenSession = session,
) -> None:
    """Make what is done equal to what is wanted; a failure is noted and tried again."""
    try:
        with database.exclusive(f"lease {lease_id}", wait_s=WAIT_S):
            work = read_work(database, port, lease_id, queue)
            if work.state not in LIVING or work.paused == work.held:
                return
            try:
                held = _hold(work, open_session) if work.paused else None
                keeps = work.refusal or work.problem
                if held is None and keeps is not None:
                    raise keeps  # what keeps a login from being made keeps it from this too
                if held is None and work.state == "issued":
                    role = login_role(work, port.label_key())
                    roles.resume(
                        work.target,
                        role,
                        bounded=work.database_id is not None,
                        open_session=open_session,
                    )
                crash_point("pause-done")
            except UNUSABLE as found:
                refuse(database, work, found, queue)
                return
            except FAILURES as error:
                _note_failure(database, lease_id, error)
                return
            _confirm(database, lease_id, held, queue)
    except Busy:
        return


def _hold(work: Work, open_session: OpenSession) -> Held:
    """A login that nobody was told of yet is taken away whole, and made when it is resumed."""
    target = replace(work.target, timeline=None)  # an end waits for no sweep
    if work.state == "issued":
        return holding.hold(target, work.role, open_session=open_session)
    ended = revoking.revoke(target, work.role, open_session=open_session)
    return Held(ended.login_refused_at, ended.last_session_dead_at, ended.found_absent)


def _confirm(database: Database, lease_id: str, held: Held | None, queue: Queue) -> None:
    with database.begin(_WORKER) as tx:
        lease = _get_locked(tx, lease_id)
        if lease.state not in LIVING:
            return  # it is being ended: that goes on from whatever we did
        lease.held_at = tx.at if held else None
        tenant_id = TenantId(lease.tenant_id)
        if held is not None:
            facts = {
                "login_refused_at": held.login_refused_at.isoformat(),
                "last_session_dead_at": held.last_session_dead_at.isoformat(),
                "found_absent": held.found_absent,
            }
            trail.record(tx, tenant_id, "lease.paused", lease_id, facts)
        else:
            trail.record(tx, tenant_id, "lease.resumed", lease_id)
        retries.note_success(lease)
        wanted = is_paused(lease, requests.get_grant(tx, lease.grant_id))
        if wanted != (held is not None):
            retries.hint(lease, tx.at)
            queue.put(tx, "hold_lease", lease_id, queue="access")
        elif lease.state == "pending" and not wanted:
            retries.hint(lease, tx.at)
            queue.put(tx, "issue_lease", lease_id, queue="access")
        ring(tx, lease_id)


def _get_locked(tx: Tx, lease_id: str) -> Lease:
    lease = get_lease(tx, lease_id)
    tx.session.refresh(lease, with_for_update=True)
    return lease


def _note_failure(database: Database, lease_id: str, error: Exception) -> None:
    with database.begin(_WORKER) as tx:
        lease = _get_locked(tx, lease_id)
        if lease.state in LIVING:
            retries.note_failure(lease, tx.at, describe(error))
            ring(tx, lease_id)
