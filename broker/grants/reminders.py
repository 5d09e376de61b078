"""Reminders of a request that nobody has answered: by mail, at a quarter and at three quarters of
the time it waits, to the admins who have not approved it yet.

Level-triggered: a sweep asks which share of the time is over and was not told of. Each is told at
most once; one that comes late tells once for all that passed. A reminder decides nothing: silence
only ever lapses.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from broker import mail
from broker.db import Base
from broker.grants import approvals, delegates
from broker.grants.model import Decision, Grant
from broker.ids import TenantId
from broker.tx import Tx

SHARES = (25, 75)  # percent of the time between the request and its lapse
_BATCH = 200


class Reminder(Base):
    """A share of a request's time at which its admins were reminded."""

    __tablename__ = "reminder"
    grant_id: Mapped[str] = mapped_column(sa.ForeignKey("access_grant.id"), primary_key=True)
    share: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]


def remind_due(tx: Tx) -> int:
    """Write the reminders that are due; returns of how many requests."""
    return sum(_remind(tx, grant) for grant in _list_due(tx))


def _list_due(tx: Tx) -> Sequence[Grant]:
    """Requests with a plan to read, past a share that was not told of."""
    waited = sa.extract("epoch", tx.at - Grant.requested_at) * 100
    whole = sa.extract("epoch", Grant.lapses_at - Grant.requested_at)
    due = [sa.and_(waited >= whole * share, ~_told(share)) for share in SHARES]
    open_ones = sa.select(Grant).where(
        Grant.state == "requested", Grant.lapses_at > tx.at, Grant.asked_digest.is_not(None)
    )
    return tx.session.scalars(open_ones.where(sa.or_(*due)).limit(_BATCH)).all()


def _told(share: int) -> sa.Exists:
    return sa.exists().where(Reminder.grant_id == Grant.id, Reminder.share == share)


def _remind(tx: Tx, grant: Grant) -> bool:
    waited = (tx.at - grant.requested_at) * 100
    passed = [s for s in SHARES if waited >= (grant.lapses_at - grant.requested_at) * s]
    rows = [{"grant_id": grant.id, "share": share, "at": tx.at} for share in passed]
    fresh = tx.session.scalars(
        insert(Reminder).values(rows).on_conflict_do_nothing().returning(Reminder.share)
    ).all()
    if not fresh:
        return False
    text = (
        f"{grant.id} still waits for your answer. Read exactly what would be seen, and decide, on "
        f"your console.\n\nWithout an answer it lapses at {grant.lapses_at:%Y-%m-%d %H:%M} UTC, "
        "and nothing is seen."
    )
    tenant_id = TenantId(grant.tenant_id)
    approved = set(tx.session.scalars(_approvers(tx, grant)))
    for person_id in delegates.list_deciders(tx, tenant_id):
        if person_id not in approved:
            mail.write(tx, person_id, tenant_id, f"A request still waits: {grant.id}", text)
    return True


def _approvers(tx: Tx, grant: Grant) -> sa.Select[str]:
    return sa.select(Decision.person_id).where(
        Decision.grant_id == grant.id,
        Decision.verdict == "approved",
        approvals.stands(grant.tenant_id, tx.at),
    )
