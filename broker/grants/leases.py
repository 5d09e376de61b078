"""Leases: one credential each, for one grant, made by a client that alone knows its password.

Asking for one, and condemning one to its end; what is done on a server is in `lease_steps`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from broker import people, retries, tenants
from broker.due import plain
from broker.engines.postgres.scram import check_verifier
from broker.errors import NOT_THERE, Conflict, Denied, NotFound
from broker.grants import in_force, rates, requests
from broker.grants.model import Grant, Lease
from broker.grants.states import (
    LEASE_OPEN,
    LEASE_REVOKING,
)
from broker.ids import LeaseId, TenantId, new_id
from broker.jobs import Queue
from broker.settings import Rates
from broker.states import StateConflict, advance, advance_all, record_birth
from broker.tenants import TenantDatabase
from broker.tx import Tx

_OPEN_LEASES_PER_GRANT = 5
RATES = Rates()  # where none are set
# A login that is issued is due while a pause of it is asked or lifted, and not done.
_LOGIN_JOBS = {"pending": "issue_lease", "issued": "hold_lease", "revoking": "revoke_lease"}
_TOKEN_JOBS = {"pending": "issue_token", "issued": "expire_token", "revoking": "expire_token"}
_SESSION_JOBS = {
    "pending": "issue_session",
    "issued": "expire_token",
    "revoking": "expire_token",
}
DUE_STATES = tuple(_LOGIN_JOBS)


_COUNT_OPEN = sa.select(sa.func.count()).where(
    Lease.__table__.c.grant_id == sa.bindparam("grant"),
    Lease.__table__.c.platform_id.is_(None),
    Lease.__table__.c.storage_id.is_(None),
    Lease.__table__.c.state.in_(LEASE_OPEN),
)


class DatabaseReleased(Conflict):
    """No login is made there for a while: `facts['until']`."""

    type = "database-released"


@dataclass(frozen=True, slots=True)
class LeasePlan:
    """What `ask_lease` needs to know of where the role will stand."""

    scope_name: str
    dbname: str
    ends_at: datetime
    database_id: str | None = None
    server_id: str | None = None
    snapshot_id: str | None = None
    port: int | None = None  # of a copy's own server


def scope_name(plan_digest: str, database_id: str) -> str:
    """One name for the same views of the same database: 12 hexadecimal digits."""
    digest = hashlib.sha256(f"{database_id}\n{plan_digest}".encode()).hexdigest()
    return f"sab_s_{digest[:12]}"


def ask_live(tx: Tx, grant_id: str, verifier: str, queue: Queue, limits: Rates = RATES) -> LeaseId:
    """Ask for a login on the live database. The worker makes it; the row says when it is there."""
    people.check(tx, "lease:issue")  # before anything is said of the grant (G12)
    # Locked: an end that is under way is waited for, and one that comes later sees this lease.
    grant = requests.get_grant(tx, grant_id, lock=True)
    _check_asker(tx, grant)
    until = in_force.check_usable(tx, grant, kind="live")
    database = _get_open_database(tx, grant.database_id)
    where = LeasePlan(
        scope_name=scope_name(grant.given_digest or "", database.id),
        dbname=database.dbname,
        ends_at=until,
        database_id=database.id,
    )
    return ask_lease(tx, grant, verifier, where, queue, limits)


def _get_open_database(tx: Tx, database_id: str) -> TenantDatabase:
    """Raises DatabaseReleased. Locked: a release that is under way is waited for."""
    database = tenants.get_database(tx, database_id, share=True)
    until = database.released_until
    if until is not None and tx.at < until:
        raise DatabaseReleased(
            f"{database.name} was released for a migration of the customer's own; ask again after "
            f"{until:%H:%M:%S} UTC",
            until=until.isoformat(),
        )
    return database


def _check_asker(tx: Tx, grant: Grant) -> None:
    people.check(tx, "lease:issue", TenantId(grant.tenant_id))  # a token may be of other tenants
    if tx.actor.person_id != grant.requester_id:
        raise Denied(f"{grant.id} was given to another person; ask for access yourself")


def ask_lease(
    tx: Tx,
    grant: Grant,
    verifier: str,
    where: LeasePlan,
    queue: Queue,
    limits: Rates = RATES,
) -> LeaseId:
    """Store the intent of a lease and enqueue its making.

    Raises Invalid, Conflict, Denied, TooManyLogins.
    """
    _check_asker(tx, grant)
    check_verifier(verifier)
    asked = rates.Ask(
        person_id=grant.requester_id,
        tenant_id=grant.tenant_id,
        database_id=where.database_id,
        server_id=where.server_id,
    )
    rates.check(tx, asked, limits)
    count = tx.session.scalar(_COUNT_OPEN, {"grant": grant.id})
    if (count or 0) >= _OPEN_LEASES_PER_GRANT:
        raise Conflict(
            f"{grant.id} has {count} open logins; end one first with: broker leases end LEASE"
        )
    identity = new_id("lse")
    lease = Lease(
        id=identity,
        tenant_id=grant.tenant_id,
        state="pending",
        grant_id=grant.id,
        snapshot_id=where.snapshot_id,
        person_id=tx.actor.person_id,
        database_id=where.database_id,
        server_id=where.server_id,
        dbname=where.dbname,
        port=where.port,
        role_name=f"sab_l_{identity[4:16]}_{secrets.token_hex(4)}",
        scope_name=where.scope_name,
        verifier=verifier,
        ends_at=where.ends_at,
        asked_at=tx.at,
    )
    retries.hint(lease, tx.at)
    facts = {
        "grant": grant.id,
        "role": lease.role_name,
        "scope": lease.scope_name,
        "ends_at": lease.ends_at.isoformat(),
        "on": where.snapshot_id or where.database_id or "",
    }
    record_birth(tx, lease, "lease.asked", facts=facts)
    call(tx, lease, queue)
    return LeaseId(lease.id)


def end(tx: Tx, lease: Lease, why: str, queue: Queue) -> bool:
    """Condemn a lease to be revoked; False when it is already being or has been."""
    try:
        due = retries.afresh(tx.at)  # what kept it from being made is no reason of its end
        advance(tx, lease, LEASE_REVOKING, values=due, facts={"why": why})
    except StateConflict:
        return False
    call(tx, lease, queue)
    return True


def end_on(tx: Tx, snapshots: Collection[str], why: str, queue: Queue) -> None:
    """End every login on the sandboxes of these copies: as `end`, in few statements."""
    is_open = plain(Lease.state.in_(LEASE_OPEN))
    query = sa.select(Lease).where(is_open, Lease.snapshot_id.in_(snapshots))
    rows = tx.session.scalars(query.order_by(Lease.id)).all()
    due, facts, ids = retries.afresh(tx.at), {"why": why}, [lease.id for lease in rows]
    done = advance_all(tx, Lease, ids, LEASE_REVOKING, values=due, facts=facts) if ids else set()
    for lease in rows:
        if lease.id in done:
            queue.call(tx, lease.id, lease.server_id or "", lease.scope_name)
        else:  # somebody holds it, or was first
            end(tx, lease, why, queue)


def job_of(lease: Lease) -> str:
    """The job that goes on with a lease that is due."""
    if lease.storage_id is not None:
        return _SESSION_JOBS[lease.state]
    jobs = _LOGIN_JOBS if lease.platform_id is None else _TOKEN_JOBS
    return jobs[lease.state]


def call(tx: Tx, lease: Lease, queue: Queue) -> None:
    """Have a login made or ended now. If the call is lost, a sweep puts a job at `next_try_at`."""
    if lease.platform_id is not None or lease.port is not None:  # a copy's own server: one by one
        queue.put(tx, job_of(lease), lease.id, queue="access")
        return
    queue.call(tx, lease.id, lease.database_id or lease.server_id or "", lease.scope_name)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A credential that no server knows by name: it is sealed to `public`, its asker's own key.

    `kind` is "platform" or "storage", `on` the id of the one it is for.
    """

    kind: str
    on: str
    public: bytes
    ends_at: datetime


def begin_sealed(tx: Tx, grant: Grant, asked: Sealed) -> LeaseId:
    """The pending lease of such a credential, with its entry; who calls it puts the job."""
    identity = new_id("lse")
    lease = Lease(
        id=identity,
        tenant_id=grant.tenant_id,
        state="pending",
        grant_id=grant.id,
        person_id=tx.actor.person_id,
        platform_id=asked.on if asked.kind == "platform" else None,
        storage_id=asked.on if asked.kind == "storage" else None,
        dbname="",
        role_name=identity,
        scope_name="",
        sealed_to=asked.public,
        ends_at=asked.ends_at,
    )
    retries.hint(lease, tx.at)
    facts = {
        "grant": grant.id,
        "on": asked.on,
        "kind": asked.kind,
        "ends_at": asked.ends_at.isoformat(),
    }
    record_birth(tx, lease, "lease.asked", facts=facts)
    return LeaseId(identity)


def get_lease(tx: Tx, lease_id: str) -> Lease:
    lease = tx.session.get(Lease, lease_id)
    if lease is None:
        raise NotFound(NOT_THERE)
    return lease


def list_open(
    tx: Tx, *, grant_id: str | None = None, snapshot_id: str | None = None
) -> Sequence[Lease]:
    query = sa.select(Lease).where(Lease.state.in_(LEASE_OPEN)).order_by(Lease.id)
    if grant_id is not None:
        query = query.where(Lease.grant_id == grant_id)
    if snapshot_id is not None:
        query = query.where(Lease.snapshot_id == snapshot_id)
    return tx.session.scalars(query).all()


def hurry_pending(tx: Tx) -> None:
    """Have what waits to be made tried by the next sweep."""
    pending = sa.update(Lease).where(Lease.state == "pending")
    tx.session.execute(pending.values(next_try_at=tx.at))
