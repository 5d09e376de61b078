"""Taking a live database, or a test server, out of use: refused while anything of ours is there.

A removed one keeps its row, for what was done there points to it; our login's password goes. What
is alive is looked for once the row is locked: who asks for access, or orders a copy, at the same
time waits for it, and a trigger (`check_not_removed`) refuses what would come after.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from broker import people, tenants, trail
from broker.backups.model import BackupRun
from broker.backups.states import RUN_OPEN
from broker.consents.backup_plans import BackupPlan
from broker.errors import Conflict
from broker.grants.drills import Drill
from broker.grants.model import Grant, Lease, LiveScope, Standing
from broker.grants.states import LEASE_OPEN
from broker.ids import TenantId
from broker.settling import GRANT_OPEN
from broker.snapshots.model import LaterLook, Remnant, Snapshot
from broker.snapshots.states import NOT_DESTROYED
from broker.tenants import TenantDatabase, TestServer
from broker.tx import Tx

_SHOWN = 20


class StillAlive(Conflict):
    """Something of ours is still there; `alive` are ids of what must end first."""

    type = "still-alive"


def remove_database(tx: Tx, database_id: str) -> None:
    """The vendor, or the tenant itself, takes a live database out of use. Raises StillAlive."""
    row = tenants.get_database(tx, database_id)
    tenant_id = TenantId(row.tenant_id)
    people.check(tx, "database:remove", tenant_id)
    tx.session.refresh(row, with_for_update=True)
    check_none_alive(_list_on_database(tx, row.id))
    mark_database_removed(tx, row)


def mark_database_removed(tx: Tx, row: TenantDatabase) -> None:
    """Once nothing of ours is there."""
    row.drills_since = row.drill_every_s = None
    _forget_login(tx, row)
    trail.record(tx, TenantId(row.tenant_id), "database.removed", row.id)


def remove_server(tx: Tx, server_id: str) -> None:
    """Take a test server out of use. Raises StillAlive."""
    people.check(tx, "server:register")
    row = tenants.get_server(tx, server_id)
    tx.session.refresh(row, with_for_update=True)
    check_none_alive(_list_on_server(tx, row.id))
    _forget_login(tx, row)
    trail.record(tx, None, "server.removed", row.id)


def check_none_alive(alive: Sequence[str]) -> None:
    """Raises StillAlive, which names the first of them."""
    if not alive:
        return
    raise StillAlive(
        f"refused while something is alive there ({len(alive)}): {', '.join(alive[:_SHOWN])}; end "
        "it, wait until it is gone, then try again",
        alive=list(alive[:_SHOWN]),
    )


def _list_on_database(tx: Tx, database_id: str) -> list[str]:
    on = [
        sa.select(Standing.id).where(
            Standing.database_id == database_id, Standing.state != "ended"
        ),
        sa.select(Grant.id).where(Grant.database_id == database_id, Grant.state.in_(GRANT_OPEN)),
        sa.select(Lease.id).where(Lease.database_id == database_id, Lease.state.in_(LEASE_OPEN)),
        sa.select(BackupPlan.id).where(
            BackupPlan.database_id == database_id, BackupPlan.ended_at.is_(None)
        ),
        sa.select(BackupRun.id)
        .join(BackupPlan, BackupPlan.id == BackupRun.backup_id)
        .where(BackupPlan.database_id == database_id, BackupRun.state != "revoked"),
        sa.select(Drill.id).where(Drill.database_id == database_id, Drill.state == "ordered"),
        sa.select(BackupPlan.id).where(
            BackupPlan.database_id == database_id, BackupPlan.ended_at.is_(None)
        ),
        sa.select(BackupRun.id)
        .join(BackupPlan, BackupPlan.id == BackupRun.backup_id)
        .where(BackupPlan.database_id == database_id, BackupRun.state.in_(RUN_OPEN)),
        sa.select(LiveScope.name).where(
            LiveScope.database_id == database_id, LiveScope.dropped_at.is_(None)
        ),
        sa.select(Snapshot.id).where(
            Snapshot.database_id == database_id, Snapshot.state.in_(NOT_DESTROYED)
        ),
    ]
    return [name for query in on for name in tx.session.scalars(query)]


def _list_on_server(tx: Tx, server_id: str) -> list[str]:
    here = sa.select(Snapshot.id).where(Snapshot.server_id == server_id)
    on = [
        here.where(Snapshot.state.in_(NOT_DESTROYED)),
        sa.select(Lease.id).where(Lease.server_id == server_id, Lease.state.in_(LEASE_OPEN)),
        sa.select(Remnant.id).where(Remnant.snapshot_id.in_(here), Remnant.state != "destroyed"),
        sa.select(LaterLook.snapshot_id).where(
            LaterLook.snapshot_id.in_(here), LaterLook.passed_at.is_(None)
        ),
    ]
    return list(dict.fromkeys(name for query in on for name in tx.session.scalars(query)))


def _forget_login(tx: Tx, row: TenantDatabase | TestServer) -> None:
    row.sealed_password, row.next_sealed_password = b"", None
    row.removed_at = tx.at
    tx.session.flush()
