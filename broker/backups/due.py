"""What of backups is due: runs and restores whose time is over, runs to which nobody consents."""

from __future__ import annotations

import sqlalchemy as sa

from broker.backups.model import BackupRun, Restore
from broker.backups.states import RUN_ALIVE, RUN_OPEN
from broker.consents import ledger
from broker.consents.purposes import REGULAR_BACKUPS
from broker.due import AT, Due

_ALIVE = BackupRun.state.in_(RUN_ALIVE)
RUNS_OVER = Due(BackupRun, sa.and_(_ALIVE, BackupRun.ends_at <= AT), BackupRun.ends_at)
RUNS_UNCONSENTED = Due(
    BackupRun,
    sa.and_(
        _ALIVE,
        ~ledger.live(
            BackupRun.tenant_id, sa.literal(REGULAR_BACKUPS), AT, about=BackupRun.backup_id
        ),
    ),
    BackupRun.ends_at,
)
RUN_TRIES = Due(
    BackupRun,
    sa.and_(BackupRun.state.in_(RUN_OPEN), BackupRun.next_try_at <= AT),
    BackupRun.next_try_at,
)
RESTORES_OVER = Due(
    Restore,
    sa.and_(Restore.state.in_(("asked", "allowed")), Restore.ends_at <= AT),
    Restore.ends_at,
)
