"""Tables of runs and restores."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from broker.db import Retried
from broker.states import StatefulRow


class BackupRun(StatefulRow, Retried):
    """One run, and the login that was made for it. The password is the program's alone; `verifier`
    is cleared at the end. What was reported stands from `reported_at` on and is never changed:
    `outcome` is `done` or `failed`, `digest` the SHA-256 of its `bytes`, which lie in `place` until
    `expires_at`, and were said to be gone at `gone_at`. `unusual` are words of `rules.UNUSUAL`.
    """

    __tablename__ = "backup_run"
    backup_id: Mapped[str] = mapped_column(sa.ForeignKey("backup_plan.id"))
    runner_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    role_name: Mapped[str] = mapped_column(unique=True)
    verifier: Mapped[str | None]
    asked_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    issued_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]
    login_refused_at: Mapped[datetime | None]
    last_session_dead_at: Mapped[datetime | None]
    role_gone_at: Mapped[datetime | None]
    reported_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    bytes: Mapped[int | None]
    digest: Mapped[str | None]
    place: Mapped[str | None]
    expires_at: Mapped[datetime | None]
    gone_at: Mapped[datetime | None]
    unusual: Mapped[list[str]] = mapped_column(ARRAY(sa.Text), default=list)


class Restore(StatefulRow):
    """A restore of one backup onto `target`, allowed for `hours` by an admin of the customer's.
    `ends_at` is when it lapses: unanswered, or unused.
    """

    __tablename__ = "backup_restore"
    run_id: Mapped[str] = mapped_column(sa.ForeignKey("backup_run.id"))
    ticket_id: Mapped[str] = mapped_column(sa.ForeignKey("ticket.id"))
    asked_by: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    reason: Mapped[str]
    target: Mapped[str]
    hours: Mapped[int]
    asked_at: Mapped[datetime]
    ends_at: Mapped[datetime]
