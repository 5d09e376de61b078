"""What is expected of backups and did not come: asked of the tables, every time.

A backup is *missed* when no good one was reported within its interval and its longest time, since
the last or since the customer consented; a run is *unreported* when its login has ended and nobody
said what came of it; a backup is *overdue* when its term is over and nobody said that it is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from broker.backups import rules
from broker.backups.model import BackupRun
from broker.consents import ledger
from broker.consents.backup_plans import BackupPlan
from broker.consents.model import ConsentAct
from broker.consents.purposes import REGULAR_BACKUPS
from broker.ids import TenantId
from broker.tx import Tx

_MOST = 500
_TO_DESTROY = timedelta(days=1)  # a nightly clean-up comes as late as that
MISSED = "no good backup was reported in its time"
UNREPORTED = "its login has ended, and nobody reported what came of it: broker backups report"
OVERDUE = "its term is over, and nobody reported that it is gone: broker backups gone"


@dataclass(frozen=True, slots=True)
class Expected:
    """`id` is a backup's or a run's; `since` is until when it was to be."""

    id: str
    tenant_id: TenantId
    since: datetime
    why: str


def list_late(tx: Tx) -> list[Expected]:
    return [*_list_missed(tx), *_list_unreported(tx), *_list_overdue(tx)]


def _list_missed(tx: Tx) -> list[Expected]:
    """Of backups to which a consent is live; without one nothing is expected."""
    last = (
        sa.select(sa.func.max(BackupRun.reported_at))
        .where(BackupRun.backup_id == BackupPlan.id, BackupRun.outcome == "done")
        .scalar_subquery()
    )
    since = (
        sa.select(sa.func.max(ConsentAct.at))
        .where(
            ConsentAct.tenant_id == BackupPlan.tenant_id,
            ConsentAct.purpose == REGULAR_BACKUPS,
            ConsentAct.about == BackupPlan.id,
            ConsentAct.act == "given",
        )
        .scalar_subquery()
    )
    query = sa.select(BackupPlan, sa.func.greatest(last, since)).where(
        BackupPlan.ended_at.is_(None),
        ledger.live(
            BackupPlan.tenant_id,
            sa.literal(REGULAR_BACKUPS),
            sa.literal(tx.at),
            about=BackupPlan.id,
        ),
    )
    due = [
        (plan, rules.due_at(begun, plan.every_s, plan.longest_s))
        for plan, begun in tx.session.execute(query)
    ]
    return [
        Expected(plan.id, TenantId(plan.tenant_id), at, MISSED) for plan, at in due if at <= tx.at
    ]


def _list_unreported(tx: Tx) -> list[Expected]:
    query = sa.select(BackupRun).where(
        BackupRun.state == "revoked",
        BackupRun.reported_at.is_(None),
        BackupRun.issued_at.is_not(None),
    )
    return [
        Expected(row.id, TenantId(row.tenant_id), row.state_at, UNREPORTED)
        for row in tx.session.scalars(query.order_by(BackupRun.state_at).limit(_MOST))
    ]


def _list_overdue(tx: Tx) -> list[Expected]:
    query = sa.select(BackupRun).where(
        BackupRun.gone_at.is_(None), BackupRun.expires_at <= tx.at - _TO_DESTROY
    )
    return [
        Expected(row.id, TenantId(row.tenant_id), row.expires_at + _TO_DESTROY, OVERDUE)
        for row in tx.session.scalars(query.order_by(BackupRun.expires_at).limit(_MOST))
        if row.expires_at is not None
    ]
