"""What we say on a ticket: written in the transaction of the act, sent by a job until it is there.

At least once: a crash between sending and noting it sends a comment again, under the same key,
which some systems know and the others show twice. A comment holds ids, instants and the address of
a page behind a sign-in: no person's name, nothing out of a tenant's database, no reason that
somebody typed; to who asked by a comment, what is wrong with what they wrote. A ticket that takes
no comment, or not for a week, gets none; mails say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from broker import retries
from broker.db import Base, Retried
from broker.tickets.mirror import Ticket
from broker.tx import Tx

_CLAIM = timedelta(seconds=60)  # who took it to send it; after that somebody else does
_KEPT = timedelta(days=7)
_BATCH = 50


class TicketComment(Base, Retried):
    """Without `sent_at` and `next_try_at` it was given up. `path` is of a page of the console."""

    __tablename__ = "ticket_comment"
    id: Mapped[int] = mapped_column(sa.Identity(always=True), primary_key=True)
    ticket_id: Mapped[str] = mapped_column(sa.ForeignKey("ticket.id"))
    key: Mapped[str] = mapped_column(unique=True)
    text: Mapped[str]
    path: Mapped[str]
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class Due:
    id: int
    external_id: str
    key: str
    text: str
    path: str


def write(tx: Tx, ticket_id: str, key: str, text: str, path: str) -> None:
    """Once for each key."""
    said = {"ticket_id": ticket_id, "key": key, "text": text, "path": path}
    row = insert(TicketComment).values(**said, created_at=tx.at, next_try_at=tx.at, attempts=0)
    tx.session.execute(row.on_conflict_do_nothing())


def take_due(tx: Tx, system: str) -> Sequence[Due]:
    """Those that the caller sends now, the oldest first; nobody else does for a minute."""
    tx.session.execute(
        sa.update(TicketComment)
        .where(TicketComment.next_try_at.is_not(None), TicketComment.created_at < tx.at - _KEPT)
        .values(next_try_at=None, stuck_reason="it was not taken for a week")
    )
    rows = tx.session.execute(
        sa.select(TicketComment, Ticket.external_id)
        .join(Ticket, Ticket.id == TicketComment.ticket_id)
        .where(Ticket.system == system, TicketComment.next_try_at <= tx.at)
        .order_by(TicketComment.id)
        .limit(_BATCH)
        .with_for_update(of=TicketComment, skip_locked=True)
    ).all()
    for row, _ in rows:
        row.next_try_at = tx.at + _CLAIM
    return [Due(row.id, external_id, row.key, row.text, row.path) for row, external_id in rows]


def note_sent(tx: Tx, comment_id: int) -> None:
    row = tx.session.get_one(TicketComment, comment_id)
    retries.note_success(row)
    row.sent_at = tx.at


def note_failure(tx: Tx, comment_id: int, reason: str, *, for_good: bool) -> None:
    row = tx.session.get_one(TicketComment, comment_id)
    retries.note_failure(row, tx.at, reason)
    if for_good:
        row.next_try_at = None
