"""Frozen views of backups, their runs and restores for the outer layers; each checks who asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from broker import people, tenants
from broker.backups import runs
from broker.backups.model import BackupRun, Restore
from broker.consents import backup_plans, ledger
from broker.consents.backup_plans import LOCAL, BackupPlan
from broker.engines.postgres.account import backup_setup_sql
from broker.ids import TenantId
from broker.people import shown_name
from broker.tenants import TenantDatabase
from broker.tx import Tx

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class BackupView:
    """`consented` is whether the customer's consent to it is live now; `state` is `waiting` for it,
    `on` or `ended`. `last_good` is when the last good run was reported.
    """

    id: str
    tenant_id: str
    database_id: str
    database: str
    kind: str
    runner_id: str
    runner: str
    host: str
    every_s: int
    hours: str
    longest_s: int
    connections: int
    place: str
    keep_days: int
    declared_at: datetime
    ended_at: datetime | None
    state: str
    last_good: datetime | None


@dataclass(frozen=True, slots=True)
class RunView:
    """`report` is how its backup stands: `none`, `failed`, `kept`, `overdue` or `gone`."""

    id: str
    backup_id: str
    tenant_id: str
    state: str
    state_at: datetime
    asked_at: datetime
    ends_at: datetime
    role: str
    host: str
    port: int
    dbname: str
    reported_at: datetime | None
    outcome: str | None
    bytes: int | None
    digest: str | None
    place: str | None
    expires_at: datetime | None
    gone_at: datetime | None
    unusual: Sequence[str]
    end_reason: str | None
    stuck_reason: str | None
    report: str


@dataclass(frozen=True, slots=True)
class RestoreView:
    id: str
    tenant_id: str
    run_id: str
    ticket_id: str
    state: str
    state_at: datetime
    asked_by: str
    asked_by_name: str
    reason: str
    target: str
    hours: int
    asked_at: datetime
    ends_at: datetime
    digest: str | None


def list_backups(tx: Tx, tenant_id: TenantId | None = None) -> list[BackupView]:
    readable = people.list_readable(tx, "backup:read", tenant_id)
    query = _backups().where(BackupPlan.tenant_id.in_(readable))
    order = (BackupPlan.ended_at.is_not(None), BackupPlan.declared_at, BackupPlan.id)
    return [_backup(tx, row) for row in tx.session.execute(query.order_by(*order).limit(_SHOWN))]


def get_backup(tx: Tx, backup_id: str) -> BackupView:
    """Raises NotFound, the same for none and for another tenant's (G12)."""
    plan = backup_plans.get(tx, backup_id)
    people.check(tx, "backup:read", TenantId(plan.tenant_id))
    return _backup(tx, tx.session.execute(_backups().where(BackupPlan.id == backup_id)).one())


def get_setup(tx: Tx, backup_id: str) -> str:
    """The SQL, and the lines for pg_hba.conf, that the DBA needs once for this backup."""
    plan = backup_plans.get(tx, backup_id)
    people.check(tx, "backup:read", TenantId(plan.tenant_id))
    database = tenants.get_database(tx, plan.database_id)
    return backup_setup_sql(database.login, None if plan.host == LOCAL else plan.host)


def _backups() -> sa.Select[*tuple[Any, ...]]:
    good = (
        sa.select(sa.func.max(BackupRun.reported_at))
        .where(BackupRun.backup_id == BackupPlan.id, BackupRun.outcome == "done")
        .scalar_subquery()
    )
    return sa.select(
        BackupPlan,
        TenantDatabase.name.label("database"),
        shown_name(BackupPlan.runner_id, BackupPlan.tenant_id).label("runner"),
        good.label("last_good"),
    ).join(TenantDatabase, TenantDatabase.id == BackupPlan.database_id)


def _backup(tx: Tx, found: sa.Row[Any]) -> BackupView:
    plan: BackupPlan = found.BackupPlan
    state = "on" if ledger.is_live(tx, runs.consent_to(plan)) else "waiting"
    return BackupView(
        **plan.document(),
        tenant_id=plan.tenant_id,
        database=found.database,
        runner=found.runner,
        declared_at=plan.declared_at,
        ended_at=plan.ended_at,
        state=state if plan.ended_at is None else "ended",
        last_good=found.last_good,
    )


def list_runs(tx: Tx, backup_id: str) -> list[RunView]:
    """The youngest first."""
    plan = backup_plans.get(tx, backup_id)
    people.check(tx, "backup:read", TenantId(plan.tenant_id))
    query = _runs().where(BackupRun.backup_id == backup_id)
    order = (BackupRun.asked_at.desc(), BackupRun.id)
    return [_run(tx, row) for row in tx.session.execute(query.order_by(*order).limit(_SHOWN))]


def get_run(tx: Tx, run_id: str) -> RunView:
    """Raises NotFound, the same for none and for another tenant's (G12)."""
    people.check(tx, "backup:read", TenantId(runs.get(tx, run_id).tenant_id))
    return _run(tx, tx.session.execute(_runs().where(BackupRun.id == run_id)).one())


def _runs() -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(BackupRun, TenantDatabase)
        .join(BackupPlan, BackupPlan.id == BackupRun.backup_id)
        .join(TenantDatabase, TenantDatabase.id == BackupPlan.database_id)
    )


def _run(tx: Tx, found: sa.Row[Any]) -> RunView:
    row: BackupRun = found.BackupRun
    at: TenantDatabase = found.TenantDatabase
    return RunView(
        id=row.id,
        backup_id=row.backup_id,
        tenant_id=row.tenant_id,
        state=row.state,
        state_at=row.state_at,
        asked_at=row.asked_at,
        ends_at=row.ends_at,
        role=row.role_name,
        host=at.host,
        port=at.port,
        dbname=at.dbname,
        reported_at=row.reported_at,
        outcome=row.outcome,
        bytes=row.bytes,
        digest=row.digest,
        place=row.place,
        expires_at=row.expires_at,
        gone_at=row.gone_at,
        unusual=tuple(row.unusual),
        end_reason=row.end_reason,
        stuck_reason=row.stuck_reason,
        report=_stands(row, tx.at),
    )


def _stands(row: BackupRun, at: datetime) -> str:
    if row.outcome != "done":
        return row.outcome or "none"
    if row.gone_at is not None:
        return "gone"
    return "overdue" if row.expires_at is not None and at >= row.expires_at else "kept"


def list_restores(tx: Tx, tenant_id: TenantId) -> list[RestoreView]:
    """The youngest first."""
    people.check(tx, "backup:read", tenant_id)
    query = _restores().where(Restore.tenant_id == tenant_id)
    order = (Restore.asked_at.desc(), Restore.id)
    return [_restore(row) for row in tx.session.execute(query.order_by(*order).limit(_SHOWN))]


def get_restore(tx: Tx, restore_id: str) -> RestoreView:
    found = tx.session.execute(_restores().where(Restore.id == restore_id)).one()
    people.check(tx, "backup:read", TenantId(found.Restore.tenant_id))
    return _restore(found)


def _restores() -> sa.Select[*tuple[Any, ...]]:
    name = shown_name(Restore.asked_by, Restore.tenant_id).label("name")
    return sa.select(Restore, BackupRun.digest, name).join(
        BackupRun, BackupRun.id == Restore.run_id
    )


def _restore(found: sa.Row[Any]) -> RestoreView:
    row: Restore = found.Restore
    named = ("id", "tenant_id", "run_id", "ticket_id", "state", "state_at", "asked_by", "reason")
    more = ("target", "hours", "asked_at", "ends_at")
    return RestoreView(
        **{name: getattr(row, name) for name in (*named, *more)},
        asked_by_name=found.name,
        digest=found.digest,
    )
