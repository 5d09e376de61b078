"""What a step on a lease's server needs, as read in a transaction that is over.

What must stay true: what keeps a role from being made is read here, with the row; never what would
keep one from being ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from broker import quarantine, tenants
from broker.db import Database
from broker.engines import Target
from broker.engines.postgres.connect import ServerRestored
from broker.engines.postgres.leases import LeaseRole
from broker.engines.postgres.sandbox_roles import is_owner_role
from broker.errors import BrokerError
from broker.grants import contacts, grounds, preflights, requests, shown_plans
from broker.grants.leases import get_lease
from broker.grants.model import Grant, Lease
from broker.grants.pausing import is_paused
from broker.grants.plan import Plan
from broker.grants.targets import LoginOpener, live_target, sandbox_target
from broker.jobs import Queue
from broker.keys import Signer
from broker.labels import Label
from broker.quarantine import MarkKeeper
from broker.secret import Secret
from broker.tenancy import Tenancy
from broker.tenants import TenantDatabase, TestServer
from broker.tx import Tx, system

_WORKER = system("worker")


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
