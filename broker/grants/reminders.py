"""Reminders of a request that nobody has answered: by mail, at the shares of its time that the
tenant's policy says, to the admins and delegates who have not approved it yet.

Level-triggered: a sweep asks which share of the time is over and was not told of. Each is told at
most once; one that comes late tells once for all that passed. A reminder decides nothing: silence
only ever lapses.

Who asked is told an hour before what was given ends, where it was given for long enough: that is
kept as the share `ENDS_SOON`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Mapped, mapped_column

from broker import mail
from broker.db import Base
from broker.due import plain
from broker.grants import approvals, delegates
from broker.grants.approval_policy import REMINDERS, PolicyRow, get_version
from broker.grants.model import Decision, Grant
from broker.grants.telling import page_of, say_lapse
from broker.ids import PersonId, TenantId
from broker.letters import Letter, phrase
from broker.tx import Tx

_BATCH = 200
ENDS_SOON = 100
AHEAD = timedelta(hours=1)
_LONG = timedelta(hours=3)  # what is given for less ends soon from its beginning


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
    said = sa.func.coalesce(PolicyRow.document["reminders"], sa.literal(list(REMINDERS), JSONB))
    share = sa.cast(sa.func.jsonb_array_elements_text(said).column_valued("percent"), sa.Integer)
    told = sa.exists().where(Reminder.grant_id == Grant.id, Reminder.share == share)
    told = told.correlate_except(Reminder)
    due = sa.select(sa.literal(1)).where(waited >= whole * share, ~told)
    frozen = (PolicyRow.tenant_id == Grant.tenant_id) & (PolicyRow.version == Grant.policy_version)
    open_ones = (
        sa.select(Grant)
        .outerjoin(PolicyRow, frozen)
        .where(
            plain(Grant.state == "requested"),
            Grant.lapses_at > tx.at,
            Grant.asked_digest.is_not(None),
            ~Grant.break_glass,  # it does not wait for them
            due.correlate(Grant, PolicyRow).exists(),
        )
    )
    return tx.session.scalars(open_ones.limit(_BATCH)).all()


def _remind(tx: Tx, grant: Grant) -> bool:
    waited = (tx.at - grant.requested_at) * 100
    shares = get_version(tx, TenantId(grant.tenant_id), grant.policy_version).reminders
    passed = [s for s in shares if waited >= (grant.lapses_at - grant.requested_at) * s]
    rows = [{"grant_id": grant.id, "share": share, "at": tx.at} for share in passed]
    fresh = tx.session.scalars(
        insert(Reminder).values(rows).on_conflict_do_nothing().returning(Reminder.share)
    ).all()
    if not fresh:
        return False
    letter = Letter(
        phrase("A request still waits: %(grant)s", grant=grant.id),
        [
            phrase(
                "%(grant)s still waits for your answer. Read exactly what would be seen, and "
                "decide, on your console.",
                grant=grant.id,
            ),
            say_lapse(grant),
        ],
        kind="reminder",
        page=page_of(grant),
        thread=grant.ticket_id,
    )
    tenant_id = TenantId(grant.tenant_id)
    approved = set(tx.session.scalars(_approvers(tx, grant)))
    for person_id in delegates.list_deciders(tx, tenant_id):
        if person_id not in approved:
            mail.write(tx, person_id, tenant_id, letter)
    return True


def warn_ending(tx: Tx) -> int:
    """Tell who asked that what they were given ends within the hour; returns of how many grants."""
    told = sa.exists().where(Reminder.grant_id == Grant.id, Reminder.share == ENDS_SOON)
    ending = sa.select(Grant).where(
        plain(Grant.state == "approved"),
        Grant.ends_at > tx.at,
        Grant.ends_at <= tx.at + AHEAD,
        Grant.ends_at - Grant.state_at >= _LONG,
        ~told,
    )
    return sum(_warn(tx, grant) for grant in tx.session.scalars(ending.limit(_BATCH)).all())


def _warn(tx: Tx, grant: Grant) -> bool:
    row = {"grant_id": grant.id, "share": ENDS_SOON, "at": tx.at}
    fresh = insert(Reminder).values(row).on_conflict_do_nothing().returning(Reminder.share)
    if tx.session.scalar(fresh) is None or grant.ends_at is None:
        return False
    letter = Letter(
        phrase("Ends soon: %(grant)s", grant=grant.id),
        [
            phrase(
                "What you were given under %(grant)s ends at %(at)s: logins are cut and copies "
                "destroyed. If the work needs longer, ask for an extension before that.",
                grant=grant.id,
                at=grant.ends_at,
            )
        ],
        kind="expiry",
        page=page_of(grant),
        thread=grant.ticket_id,
    )
    mail.write(tx, PersonId(grant.requester_id), None, letter)
    return True


def _approvers(tx: Tx, grant: Grant) -> sa.Select[str]:
    return sa.select(Decision.person_id).where(
        Decision.grant_id == grant.id,
        Decision.verdict == "approved",
        approvals.stands_on(grant, tx.at),
    )
