"""The scope that leases rest on: made and tried out with the first, dropped with the last.

What must stay true: it is written down before it is made (habit 3), and `made_at` is set only once
a throw-away login of it has shown that it gives what the plan says.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from broker import retries, tenants, trail
from broker.bell import ring
from broker.db import Busy, Database
from broker.engines.ownership import find_owned
from broker.engines.postgres import catalogue as catalogues
from broker.engines.postgres import scope_looks, scopes
from broker.engines.postgres.connect import connect
from broker.engines.postgres.scopes import Scope
from broker.faults import crash_point
from broker.grants import mismatch
from broker.grants.lease_work import KeyPort, Work
from broker.grants.model import Lease, LiveScope
from broker.grants.scope_views import list_keys, list_views
from broker.grants.states import LEASE_OPEN
from broker.grants.targets import live_target
from broker.ids import TenantId
from broker.labels import Label
from broker.logs import redact
from broker.retries import FAILURES, describe
from broker.secret import Secret
from broker.tx import Tx, system

_WORKER = system("worker")
_TRIED_FOR = timedelta(minutes=15)  # by its own label and VALID UNTIL, whatever becomes of us


def note_scope(database: Database, work: Work) -> bool:
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


def ensure_scope(database: Database, work: Work, key: Secret[bytes]) -> None:
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
    _try_out(database, work, scope, key)
    with database.begin(_WORKER) as tx:
        tx.session.get_one(LiveScope, work.scope).made_at = tx.at


def _try_out(database: Database, work: Work, scope: Scope, key: Secret[bytes]) -> None:
    """Under the lease's lock, which the janitor asks for too: what a crash leaves it ends."""
    ends_at = min(work.ends_at, database.now(_WORKER) + _TRIED_FOR)
    label = Label("lease", work.lease_id, ends_at, tryout_of(work.role))
    scope_looks.try_out(work.target, scope, label, key, shared=work.tenancy.is_shared)


def tryout_of(role: str) -> str:
    """The throw-away login by which the scope of this lease is tried out."""
    return f"{role}_try"


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
