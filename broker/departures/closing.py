"""At its day everything of a customer ends; it is closed once a look finds nothing alive."""

from __future__ import annotations

from typing import TypeVar

import sqlalchemy as sa

from broker import (
    lifecycle,
    mail,
    people,
    platforms,
    removing,
    signin,
    storages,
    tenants,
)
from broker.backups.model import BackupRun
from broker.consents import ledger
from broker.departures.model import BEGIN, CLOSE, Departure, get_departure
from broker.grants.drills import Drill
from broker.grants.model import Grant, Lease, LiveScope, Standing
from broker.grants.states import LEASE_OPEN
from broker.ids import TenantId
from broker.jobs import Queue
from broker.languages import mark
from broker.letters import Letter, phrase
from broker.platforms import Platform
from broker.settling import GRANT_OPEN
from broker.snapshots.model import Certificate, LaterLook, Remnant, Snapshot
from broker.snapshots.states import NOT_DESTROYED
from broker.states import advance
from broker.storages import Storage
from broker.tenants import TenantDatabase
from broker.tx import Tx

M = TypeVar("M", TenantDatabase, Platform, Storage)


def begin(tx: Tx, row: Departure, queue: Queue) -> None:
    """Its day has come: nothing begins any more, and all that is open ends."""
    tenant_id = TenantId(row.tenant_id)
    tenants.mark_left(tx, tenant_id)  # first: who asks at the same time waits for it
    advance(tx, row, BEGIN)
    lifecycle.end_all(tx, tenant_id, mark("the customer left"), queue)
    ledger.end_all(tx, tenant_id)


def close_by_click(tx: Tx, tenant_id: TenantId) -> None:
    """Close it now. Raises StillAlive, which names what must be gone first."""
    people.check(tx, "tenant:leave", tenant_id)
    close(tx, get_departure(tx, tenant_id))


def close(tx: Tx, row: Departure) -> None:
    """Take what was registered out of use, and keep the rest for its term. Raises StillAlive."""
    tenant_id = TenantId(row.tenant_id)
    removing.check_none_alive(list_alive(tx, tenant_id))
    advance(tx, row, CLOSE, values={"closed_at": tx.at})
    for database in _list_in_use(tx, TenantDatabase, tenant_id):
        removing.mark_database_removed(tx, database)
    for platform in _list_in_use(tx, Platform, tenant_id):
        platforms.mark_removed(tx, platform)
    for storage in _list_in_use(tx, Storage, tenant_id):
        storages.mark_removed(tx, storage)
    for member in people.list_members(tx, tenant_id):
        if member.service:
            signin.end_tokens(tx, member.person_id)
    letter = Letter(
        phrase("Everything of your organisation has ended"),
        [
            phrase(
                "Every login was revoked and every copy destroyed and certified; nothing is alive. "
                "Download what we hold of your organisation, with the log that proves it, on that "
                "page. It is kept for the legal term, then erased, and you get a signed statement."
            )
        ],
        kind="security",
        page=f"/tenants/{tenant_id}/departure",
    )
    mail.write_to_roles(tx, tenant_id, ["admin"], letter)


def list_alive(tx: Tx, tenant_id: TenantId) -> list[str]:
    """Ids of what is not over: open, not yet gone, not yet looked for again, not yet certified."""
    copies = sa.select(Snapshot.id).where(Snapshot.tenant_id == tenant_id)
    certified = sa.select(Certificate.id).where(Certificate.snapshot_id == Snapshot.id)
    databases = sa.select(TenantDatabase.id).where(TenantDatabase.tenant_id == tenant_id)
    on = [
        _of(Standing, tenant_id).where(Standing.state != "ended"),
        _of(Grant, tenant_id).where(Grant.state.in_(GRANT_OPEN)),
        _of(Lease, tenant_id).where(Lease.state.in_(LEASE_OPEN)),
        _of(Drill, tenant_id).where(Drill.state == "ordered"),
        _of(BackupRun, tenant_id).where(BackupRun.state != "revoked"),
        _of(Remnant, tenant_id).where(Remnant.state != "destroyed"),
        copies.where(Snapshot.state.in_(NOT_DESTROYED)),
        copies.where(Snapshot.state == "destroyed", ~certified.exists()),
        sa.select(LaterLook.snapshot_id).where(
            LaterLook.snapshot_id.in_(copies), LaterLook.passed_at.is_(None)
        ),
        sa.select(LiveScope.name).where(
            LiveScope.database_id.in_(databases), LiveScope.dropped_at.is_(None)
        ),
    ]
    return list(dict.fromkeys(name for query in on for name in tx.session.scalars(query)))


def _of(
    model: type[Standing | Grant | Lease | Drill | BackupRun | Remnant], tenant_id: TenantId
) -> sa.Select[str]:
    return sa.select(model.id).where(model.tenant_id == tenant_id)


def _list_in_use(tx: Tx, model: type[M], tenant_id: TenantId) -> list[M]:
    rows = sa.select(model).where(model.tenant_id == tenant_id, model.removed_at.is_(None))
    return list(tx.session.scalars(rows))
