"""What explains a thing of ours that stands somewhere: its row, and whether that row is live.

Read-only. The janitor asks twice: once for all that a listing showed, and once more for each thing
under its maker's lock. Also which servers are registered, each once with all our logins there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import sqlalchemy as sa

from broker.backups.model import BackupRun
from broker.backups.states import RUN_OPEN
from broker.consents.backup_plans import BackupPlan
from broker.engines import Target
from broker.errors import BrokerError
from broker.grants.drills import Drill
from broker.grants.model import Lease, LiveScope
from broker.grants.states import LEASE_OPEN
from broker.grants.targets import LoginOpener, live_target, server_target
from broker.ids import TenantId
from broker.logs import get_log
from broker.snapshots.model import Snapshot
from broker.snapshots.states import NOT_DESTROYED
from broker.tenants import TenantDatabase, TestServer
from broker.tx import Tx

_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """`state` is the row's, or `absent`; `on` is the id of the registered database or server."""

    explains: bool
    state: str
    tenant_id: TenantId | None = None
    on: str | None = None


ABSENT = Row(explains=False, state="absent")
ReadRows = Callable[[Tx, Collection[str]], dict[str, Row]]  # those that there are, by key


def read_leases(tx: Tx, roles: Collection[str]) -> dict[str, Row]:
    """By name of role: pending, issued and revoking have a job and a sweep of their own.

    So have a drill that is under way, and a run of a backup.
    """
    query = sa.select(Lease).where(Lease.role_name.in_(roles))
    drills = sa.select(Drill).where(Drill.role_name.in_(roles))
    return (
        _read_runs(tx, roles)
        | {
            drill.role_name: Row(
                explains=drill.state == "ordered",
                state=drill.state,
                tenant_id=TenantId(drill.tenant_id),
                on=drill.database_id,
            )
            for drill in tx.session.scalars(drills)
        }
        | {
            lease.role_name: Row(
                explains=lease.state in LEASE_OPEN,
                state=lease.state,
                tenant_id=TenantId(lease.tenant_id),
                on=lease.database_id or lease.server_id,
            )
            for lease in tx.session.scalars(query)
        }
    )


def _read_runs(tx: Tx, roles: Collection[str]) -> dict[str, Row]:
    query = (
        sa.select(BackupRun, BackupPlan.database_id)
        .join(BackupPlan, BackupPlan.id == BackupRun.backup_id)
        .where(BackupRun.role_name.in_(roles))
    )
    return {
        run.role_name: Row(
            explains=run.state in RUN_OPEN,
            state=run.state,
            tenant_id=TenantId(run.tenant_id),
            on=database_id,
        )
        for run, database_id in tx.session.execute(query)
    }


def read_scopes(tx: Tx, names: Collection[str]) -> dict[str, Row]:
    """By name of scope: one that has no lease, but was not dropped, is the sweep's to drop."""
    used = sa.select(Lease.id).where(
        Lease.scope_name == LiveScope.name, Lease.state.in_(LEASE_OPEN)
    )
    query = (
        sa.select(LiveScope, TenantDatabase.tenant_id, used.exists())
        .join(TenantDatabase, TenantDatabase.id == LiveScope.database_id)
        .where(LiveScope.name.in_(names))
    )
    return {
        scope.name: Row(
            explains=is_used or scope.dropped_at is None,
            state="planned" if scope.dropped_at is None else "dropped",
            tenant_id=TenantId(tenant_id),
            on=scope.database_id,
        )
        for scope, tenant_id, is_used in tx.session.execute(query)
    }


def read_snapshots(tx: Tx, ids: Collection[str]) -> dict[str, Row]:
    """By id: one that lives or is condemned has its own machinery."""
    query = sa.select(Snapshot).where(Snapshot.id.in_(ids))
    return {
        snapshot.id: Row(
            explains=snapshot.state in NOT_DESTROYED,
            state=snapshot.state,
            tenant_id=TenantId(snapshot.tenant_id),
            on=snapshot.server_id,
        )
        for snapshot in tx.session.scalars(query)
    }


@dataclass(frozen=True, slots=True)
class Login:
    """Our login on a server as it was registered; `tenant_id` is None on a test server."""

    id: str
    tenant_id: TenantId | None
    target: Target


@dataclass(frozen=True, slots=True)
class Server:
    """One server, however many databases are registered on it: roles belong to all of it."""

    place: str
    logins: tuple[Login, ...]

    @property
    def of_databases(self) -> tuple[Login, ...]:
        return tuple(login for login in self.logins if login.tenant_id is not None)

    @property
    def of_copies(self) -> tuple[Login, ...]:
        return tuple(login for login in self.logins if login.tenant_id is None)

    def list_logins(self, first: str | None) -> list[Login]:
        """All logins, beginning with that of the registered database or server `first`."""
        return sorted(self.logins, key=lambda login: login.id != first)


def list_registered(tx: Tx, opener: LoginOpener) -> list[Server]:
    """Every registered server. A login that can't be opened is told and left out."""
    rows: list[TenantDatabase | TestServer] = [
        *tx.session.scalars(sa.select(TenantDatabase).where(TenantDatabase.removed_at.is_(None))),
        *tx.session.scalars(
            sa.select(TestServer).where(
                TestServer.removed_at.is_(None), TestServer.kind == "shared"
            )
        ),
    ]
    found: dict[str, list[Login]] = {}
    for row in sorted(rows, key=lambda row: row.registered_at):
        try:
            login = _open(opener, row)
        except BrokerError as error:
            _log.warning("login_not_opened", id=row.id, reason=error.message)
            continue
        found.setdefault(f"{row.host}:{row.port}", []).append(login)
    return [Server(place, tuple(logins)) for place, logins in found.items()]


def _open(opener: LoginOpener, row: TenantDatabase | TestServer) -> Login:
    if isinstance(row, TenantDatabase):
        return Login(row.id, TenantId(row.tenant_id), live_target(opener, row))
    return Login(row.id, None, server_target(opener, row))
