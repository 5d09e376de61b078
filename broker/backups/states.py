"""The state machines of runs of backups, and of restores.

    run      pending ─▶ issued ─▶ revoking ─▶ revoked      pending ─▶ revoking
    restore  asked ─▶ allowed ─▶ used                      asked | allowed ─▶ ended

A run once revoking ends revoked, however long that takes.
"""

from __future__ import annotations

from broker.states import Move

RUN_ISSUED = Move(("pending",), "issued", "backup_run.issued")
RUN_REVOKING = Move(("pending", "issued"), "revoking", "backup_run.revoking")
RUN_REVOKED = Move(("revoking",), "revoked", "backup_run.revoked")
RUN_OPEN = ("pending", "issued", "revoking")
RUN_ALIVE = ("pending", "issued")

RESTORE_ALLOWED = Move(("asked",), "allowed", "restore.allowed")
RESTORE_USED = Move(("allowed",), "used", "restore.used")
RESTORE_ENDED = Move(("asked", "allowed"), "ended", "restore.ended")
