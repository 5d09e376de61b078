"""Whether a ticket system can be reached, and when it is polled next.

A system that is down, that asks us to wait, or that refuses everything changes no ticket: it is
shown with its reason, an alarm tells of it, and it is asked again, later each time and never on the
same second as everybody else. What rests on tickets still ends by its own time.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import retries
from broker.db import Base, Retried
from broker.tx import Tx

_CLAIM_S = 900  # a poll that takes longer has died, or another beside it does no harm


class TicketSystemReach(Base, Retried):
    """`next_try_at` is the next poll, after one that went well too."""

    __tablename__ = "ticket_system"
    name: Mapped[str] = mapped_column(primary_key=True)
    reached_at: Mapped[datetime | None]


def claim_poll(tx: Tx, name: str) -> bool:
    """Whether a poll is due; who is told so does it, and nobody else beside."""
    claimed = tx.session.scalar(
        sa.text(
            "INSERT INTO ticket_system (name, attempts, next_try_at) VALUES (:n, 0, :until) "
            "ON CONFLICT (name) DO UPDATE SET next_try_at = excluded.next_try_at "
            "WHERE ticket_system.next_try_at IS NULL OR ticket_system.next_try_at <= :at "
            "RETURNING 1"
        ),
        {"n": name, "at": tx.at, "until": tx.at + timedelta(seconds=_CLAIM_S)},
    )
    return claimed is not None


def note_reached(tx: Tx, name: str, poll_s: int) -> None:
    row = _lock(tx, name)
    retries.note_success(row)
    row.attempts, row.reached_at = 0, tx.at
    row.next_try_at = tx.at + _spread(poll_s)


def note_unreached(tx: Tx, name: str, reason: str, retry_after_s: int = 0) -> None:
    """`retry_after_s` is what the system asked for."""
    row = _lock(tx, name)
    retries.note_failure(row, tx.at, reason)
    wait = _spread(retries.wait_s(row.attempts))
    row.next_try_at = tx.at + max(wait, timedelta(seconds=retry_after_s))


def list_unreached(tx: Tx) -> list[TicketSystemReach]:
    query = sa.select(TicketSystemReach).where(TicketSystemReach.stuck_since.is_not(None))
    return list(tx.session.scalars(query))


def _lock(tx: Tx, name: str) -> TicketSystemReach:
    tx.session.execute(
        sa.text("INSERT INTO ticket_system (name, attempts) VALUES (:n, 0) ON CONFLICT DO NOTHING"),
        {"n": name},
    )
    return tx.session.get_one(TicketSystemReach, name, with_for_update=True)


def _spread(wait_s: int) -> timedelta:
    """Between 80 and 100 % of it."""
    return timedelta(seconds=wait_s * (1 - secrets.randbelow(2001) / 10000))
