"""A tenant's checkpoint by mail, each week and when it is asked for: kept outside the broker, it
catches a log that is cut or rewritten later, by whoever holds the broker's database and keys.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from broker import mail, people
from broker.audit.proofs import get_checkpoint
from broker.db import Database
from broker.errors import Denied
from broker.ids import PersonId, TenantId
from broker.letters import Letter, own, phrase
from broker.tenants import Tenant
from broker.trail import AuditCheckpoint, AuditLog
from broker.tx import Tx, system

WEEK = timedelta(days=7)
_BATCH = 100
_READERS = ["admin", "auditor"]


def mail_checkpoint(tx: Tx, tenant_id: TenantId) -> None:
    """Send it to who asks. Raises NotFound before the first checkpoint."""
    note = get_checkpoint(tx, tenant_id)
    if tx.actor.person_id is None:
        raise Denied("a checkpoint is mailed to a person")
    _write(tx, tx.actor.person_id, tenant_id, note)


def mail_due(database: Database) -> int:
    """Send each tenant's to its admins and auditors, a week after the last; of how many tenants."""
    with database.begin(system("checkpoints")) as tx:
        since = sa.func.coalesce(AuditLog.mailed_at, Tenant.created_at)
        logs = tx.session.scalars(
            sa.select(AuditLog)
            .join(Tenant, Tenant.id == AuditLog.tenant_id)
            .where(since <= tx.at - WEEK)
            .order_by(AuditLog.id)
            .limit(_BATCH)
            .with_for_update(of=AuditLog, skip_locked=True)
        ).all()
        return sum(_mail(tx, log) for log in logs)


def _mail(tx: Tx, log: AuditLog) -> bool:
    tenant_id = TenantId(log.tenant_id or "")
    note = tx.session.scalar(
        sa.select(AuditCheckpoint.note)
        .where(AuditCheckpoint.log_id == log.id)
        .order_by(AuditCheckpoint.size.desc())
        .limit(1)
    )
    if note is None:
        return False
    log.mailed_at = tx.at
    for person_id in people.list_recipients(tx, tenant_id, _READERS):
        _write(tx, person_id, tenant_id, note)
    return True


def _write(tx: Tx, person_id: PersonId, tenant_id: TenantId, note: str) -> None:
    letter = Letter(
        phrase("Checkpoint of your log: %(size)s entries", size=note.split("\n")[1]),
        [
            phrase(
                "This is the last signed checkpoint of your log. Keep this mail, or save what "
                "stands between the lines as a file, without the lines and to its last character:"
            ),
            own(f"-----\n{note}-----"),
            phrase(
                "Whatever your log says later must still contain it:\n  %(command)s\n"
                "KEYFILE holds the vendor's keys that you pinned when you were enrolled.",
                command="broker log verify BUNDLE --key KEYFILE --checkpoint FILE",
            ),
        ],
        kind="summary",
        page="/log",
    )
    mail.write(tx, person_id, tenant_id, letter)
