"""Hints that a ticket changed, and the memory of webhooks, so that a replay changes nothing.

A hint stays until it was followed. One that can't be followed now is put off, later each time, and
given up after a day: the poll sees what it would have shown.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker.db import Base
from broker.tx import Tx

_KEPT = timedelta(days=1)  # of hints that can't be followed, and of ids of webhooks


class WebhookSeen(Base):
    """Message ids of webhooks that were taken."""

    __tablename__ = "webhook_seen"
    system: Mapped[str] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]


class TicketHint(Base):
    """A webhook said that this ticket changed; nothing is believed before it was fetched."""

    __tablename__ = "ticket_hint"
    system: Mapped[str] = mapped_column(primary_key=True)
    external_id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    tries: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class Hint:
    external_id: str
    at: datetime


def is_replay(tx: Tx, system: str, message_id: str | None) -> bool:
    """Remember a webhook's message id; true when it was seen before. Without one it can't be told,
    and looking once more does no harm.
    """
    if message_id is None:
        return False
    stored = tx.session.execute(
        sa.text(
            "INSERT INTO webhook_seen (system, message_id, at) VALUES (:s, :m, :at) "
            "ON CONFLICT DO NOTHING RETURNING 1"
        ),
        {"s": system, "m": message_id[:200], "at": tx.at},
    ).scalar()
    return stored is None


def keep_hint(tx: Tx, system: str, external_id: str) -> None:
    """One that comes again is followed at once, however long it was put off."""
    tx.session.execute(
        sa.text(
            "INSERT INTO ticket_hint (system, external_id, at) VALUES (:s, :e, :at) ON CONFLICT "
            "(system, external_id) DO UPDATE SET at = excluded.at, tries = 0, next_try_at = NULL"
        ),
        {"s": system, "e": external_id, "at": tx.at},
    )


def list_hints(tx: Tx, system: str, limit: int) -> list[Hint]:
    """Those that are due, the oldest first."""
    due = sa.or_(TicketHint.next_try_at.is_(None), TicketHint.next_try_at <= tx.at)
    query = sa.select(TicketHint.external_id, TicketHint.at).where(TicketHint.system == system, due)
    rows = tx.session.execute(query.order_by(TicketHint.at).limit(limit))
    return [Hint(row.external_id, row.at) for row in rows]


def drop_hints(tx: Tx, system: str, followed: Collection[Hint]) -> None:
    """Forget hints that were followed, but those of which a later one came meanwhile."""
    row = sa.tuple_(TicketHint.external_id, TicketHint.at)
    these = row.in_([(hint.external_id, hint.at) for hint in followed])
    tx.session.execute(sa.delete(TicketHint).where(TicketHint.system == system, these))


def put_off(tx: Tx, system: str, external_ids: Collection[str] | None = None) -> None:
    """Try these again later, or all of the system: 4 s at first, 5 minutes at most."""
    wait_s = sa.func.least(300, sa.func.power(2, sa.func.least(TicketHint.tries, 9) + 2))
    these = [] if external_ids is None else [TicketHint.external_id.in_(external_ids)]
    tx.session.execute(
        sa.update(TicketHint)
        .where(TicketHint.system == system, *these)
        .values(
            tries=TicketHint.tries + 1,
            next_try_at=tx.at + sa.func.make_interval(0, 0, 0, 0, 0, 0, wait_s),
        )
        .execution_options(synchronize_session=False)
    )


def forget_old(tx: Tx) -> None:
    tx.session.execute(sa.delete(TicketHint).where(TicketHint.at < tx.at - _KEPT))
    tx.session.execute(sa.delete(WebhookSeen).where(WebhookSeen.at < tx.at - _KEPT))
