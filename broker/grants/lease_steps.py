"""Leases on their servers: intent, effect, look, confirm.

The row is `pending` before a role exists, `issued` after it was made, `revoking` before anything
is taken away, and `revoked` only when a fresh look found no login and no session (G3). Whatever
dies in between leaves a row that the sweep finds; every effect is idempotent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import sqlalchemy as sa

from broker import quarantine, retries, tenants, trail
from broker.bell import ring
from broker.db import Busy, Database
from broker.engines import Target
from broker.engines.ownership import find_owned
from broker.engines.postgres import catalogue as catalogues
from broker.engines.postgres import leases as roles
from broker.engines.postgres import revoking, scope_looks, scopes
from broker.engines.postgres.connect import ServerRestored, connect
from broker.engines.postgres.leases import LeaseRole, ScopeExceeded, ScopeMissing
from broker.engines.postgres.looks import OpenSession, session
from broker.engines.postgres.revoking import Ended
from broker.engines.postgres.sandbox_roles import is_owner_role
from broker.engines.postgres.scopes import Scope
from broker.errors import BrokerError
from broker.faults import crash_point
from broker.grants import contacts, grounds, leases, mismatch, preflights, requests, shown_plans
from broker.grants.grounds import UNUSABLE, Unusable
from broker.grants.leases import get_lease
from broker.grants.model import Grant, Lease, LiveScope
from broker.grants.pausing import is_paused
from broker.grants.plan import Plan, check_same_tenancy
from broker.grants.scope_views import list_keys, list_views
from broker.grants.states import LEASE_ISSUED, LEASE_OPEN, LEASE_REVOKED
from broker.grants.targets import LoginOpener, live_target, sandbox_target
from broker.ids import TenantId
from broker.jobs import Queue
from broker.keys import Signer
from broker.labels import Label
from broker.logs import redact
from broker.quarantine import MarkKeeper
from broker.retries import FAILURES, describe
from broker.secret import Secret
from broker.states import StateConflict, advance
from broker.tenancy import Tenancy
from broker.tenants import TenantDatabase, TestServer
from broker.tx import Tx, system

_WORKER = system("worker")
WAIT_S = 20  # an end waits for a making that is under way, rather than for the next sweep


class KeyPort(LoginOpener, Signer, MarkKeeper, Protocol):
    """What leases need of the key port: logins opened, labels, and decisions signed or verified."""

    def label_key(self) -> Secret[bytes]:
        """The key of labels' MACs."""


@dataclass(frozen=True, slots=True)
class Work:
    """A lease's row as read in a transaction that is over: what the effect needs, no more."""

    lease_id: str
    grant_id: str
    state: str
    role: str
    scope: str
    verifier: str | None
    ends_at: datetime
    target: Target
    plan: Plan | None
    database_id: str | None
    refusal: BrokerError | None
    grant_over: bool
    paused: bool
    held: bool
    registered_id: str
    is_known: bool  # the cluster, since the first contact
    schemas: tuple[str, ...] = ()
    digest: str | None = None  # of the plan that was given
    problem: BrokerError | None = None  # with what a pending lease rests on
    tenancy: Tenancy = field(default_factory=Tenancy)


def read_work(database: Database, port: KeyPort, lease_id: str, queue: Queue | None = None) -> Work:
    """`queue` is given where a role is to be made: a preflight may refuse that, never its end."""
    with database.begin(_WORKER) as tx:
        lease = get_lease(tx, lease_id)
        plan = None
        schemas: tuple[str, ...] = ()
        tenancy = Tenancy()
        registered: TenantDatabase | TestServer
        grant = requests.get_grant(tx, lease.grant_id)
        refusal = _find_refusal(tx, port, lease, queue) if queue is not None else None
        asks = queue is not None and refusal is None
        if lease.database_id is not None:
            row = registered = tenants.get_database(tx, lease.database_id)
            target = live_target(port, row)
            schemas, tenancy = tuple(row.schemas), row.whose
            if lease.state == "pending":
                plan = shown_plans.get_plan(tx, grant.id, grant.given_digest)
        else:
            # Not by way of the sandbox: the role must be ended also when its database is gone.
            registered = tenants.get_server(tx, lease.server_id or "")
            target = sandbox_target(port, registered, lease.port)
        if queue is not None and refusal is None:
            try:
                target = contacts.to_make(registered, target)
            except ServerRestored as error:
                refusal = error
        return Work(
            lease_id=lease.id,
            grant_id=grant.id,
            state=lease.state,
            role=lease.role_name,
            scope=lease.scope_name,
            verifier=lease.verifier,
            ends_at=lease.ends_at,
            target=target,
            plan=plan,
            database_id=lease.database_id,
            refusal=refusal,
            grant_over=grant.state != "approved",
            paused=is_paused(lease, grant),
            held=lease.held_at is not None,
            registered_id=registered.id,
            is_known=registered.cluster is not None or lease.port is not None,
            schemas=schemas,
            digest=grant.given_digest,
            problem=_find_problem(tx, port, lease, grant) if asks else None,
            tenancy=tenancy,
        )


def _find_refusal(tx: Tx, port: KeyPort, lease: Lease, queue: Queue) -> BrokerError | None:
    """What keeps the role from being made; of a finding, the server is then looked at afresh."""
    held = quarantine.find_refusal(tx, port)
    if held is not None:
        return held
    target = lease.database_id or lease.server_id or ""
    refusal = preflights.find_refusal(tx, target)
    if refusal is not None:
        preflights.ask_if_stale(tx, target, queue)
    return refusal


def _find_problem(tx: Tx, port: KeyPort, lease: Lease, grant: Grant) -> BrokerError | None:
    """Why a lease is not to be made, or let in again, though its grant is open."""
    if (lease.state != "pending" and lease.held_at is None) or grant.state != "approved":
        return None
    try:
        grounds.prove(tx, port, grant, grounds.kind_of(lease))
        grounds.check_lease(tx, grant, lease)
    except BrokerError as problem:
        return problem
    return None


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
        if not _note_scope(database, work):
            crash_point("scope-noted")
            _ensure_scope(database, work, key)
        try:
            _make_login(work, key, open_session)
        except ScopeMissing:  # somebody took it away on the server itself
            _ensure_scope(database, work, key)
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


class Wanted(Protocol):
    """What a role is made of, as the lease's row has it."""

    @property
    def lease_id(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def verifier(self) -> str | None: ...
    @property
    def ends_at(self) -> datetime: ...
    @property
    def database_id(self) -> str | None: ...


def login_role(work: Wanted, key: Secret[bytes]) -> LeaseRole:
    """The role as it is made, and as it must be found when it is let in again."""
    label = Label("lease", work.lease_id, work.ends_at, work.role)
    return LeaseRole(
        role=work.role,
        scope=work.scope,
        verifier=work.verifier or "",
        valid_until=work.ends_at,
        label_text=label.text(key),
        search_path=() if work.database_id is not None else ("$user", "public"),
        acts_as_scope=is_owner_role(work.scope),
    )


def _note_scope(database: Database, work: Work) -> bool:
    """Write the scope down before it is made (habit 3); true when it stands already.

    Whoever drops it holds its name alone, and we share it: it stands until we are done.
    """
    with database.begin(_WORKER) as tx:
        row = tx.session.get(LiveScope, work.scope)
        if row is not None and row.made_at is not None and row.dropped_at is None:
            return True
        tx.session.execute(
            sa.text(
                "INSERT INTO live_scope (name, database_id, planned_at) VALUES (:n, :d, :at) "
                "ON CONFLICT DO NOTHING"
            ),
            {"n": work.scope, "d": work.database_id, "at": tx.at},
        )
        row = tx.session.get_one(
            LiveScope, work.scope, with_for_update=True, populate_existing=True
        )
        if row.dropped_at is not None:
            row.dropped_at = row.made_at = row.stuck_reason = None
        return row.made_at is not None


def _ensure_scope(database: Database, work: Work, key: Secret[bytes]) -> None:
    assert work.plan is not None  # noqa: S101  # for the type checker: only live leases get here
    mismatch.check_plan(work.grant_id, work.plan, work.digest)
    with connect(work.target) as connection:
        catalogue = catalogues.read_catalogue(connection, work.schemas)
    owned = find_owned(catalogue, work.tenancy, work.schemas)
    keys = list_keys(work.plan, work.tenancy)
    scope = Scope(work.scope, list_views(work.plan, owned, work.scope, keys), keys)
    label = Label("scope", work.lease_id, work.ends_at, work.scope)
    scopes.make_scope(work.target, scope, label.text(key), keyed=True)
    crash_point("scope-made")
    scope_looks.check_scope(work.target, scope, shared=work.tenancy.is_shared)
    with database.begin(_WORKER) as tx:
        tx.session.get_one(LiveScope, work.scope).made_at = tx.at


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
            values={**end_instants(ended), "verifier": None},
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


def end_instants(ended: Ended) -> dict[str, datetime]:
    return {
        "login_refused_at": ended.login_refused_at,
        "last_session_dead_at": ended.last_session_dead_at,
        "role_gone_at": ended.role_gone_at,
    }


def end_facts(ended: Ended) -> dict[str, str | bool]:
    instants = {name: at.isoformat() for name, at in end_instants(ended).items()}
    return {**instants, "found_absent": ended.found_absent}


def drop_scope_if_unused(database: Database, port: KeyPort, name: str) -> None:
    """Remove a scope's objects with its last lease, so that they never block a migration."""
    with database.begin(_WORKER) as tx:
        if _is_used(tx, name):  # mostly so: then nobody who makes a login is kept waiting
            return
    try:
        with database.exclusive(f"scope {name}"):
            with database.begin(_WORKER) as tx:
                row = tx.session.get(LiveScope, name)
                if _is_used(tx, name) or row is None or row.dropped_at is not None:
                    return
                registered = tenants.get_database(tx, row.database_id)
                target = live_target(port, registered)
            scopes.drop_scope(target, name)
            crash_point("scope-dropped")
            with database.begin(_WORKER) as tx:
                row = tx.session.get_one(LiveScope, name)
                row.dropped_at, row.stuck_reason = tx.at, None
                tenant_id = TenantId(tenants.get_database(tx, row.database_id).tenant_id)
                trail.record(tx, tenant_id, "scope.dropped", row.database_id, {"scope": name})
                ring(tx, row.database_id)
    except Busy:
        return
    except FAILURES as error:  # the sweep asks again for scopes without a lease
        with database.begin(_WORKER) as tx:
            row = tx.session.get(LiveScope, name)
            if row is not None:
                row.stuck_reason = redact(describe(error))[: retries.LONGEST]


def _is_used(tx: Tx, scope: str) -> bool:
    leases = sa.select(Lease.id).where(Lease.scope_name == scope, Lease.state.in_(LEASE_OPEN))
    return tx.session.scalar(leases.limit(1)) is not None
