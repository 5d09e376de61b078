"""Reviews of break-glass: owed within 72 hours, open until the customer closes them.

    open ─▶ closed

What must stay true: only an admin of the customer closes one, with a word; nothing else ends it,
neither time nor the vendor. One that is late is told as any broken promise (`lateness.list_late`),
and no other glass is broken for that customer meanwhile (`break_glass`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from broker import mail, people
from broker.errors import NOT_THERE, Denied, Invalid, NotFound
from broker.grants.model import Grant, Review
from broker.grants.states import REVIEW_CLOSED
from broker.grants.telling import page_of
from broker.ids import PersonId, TenantId
from broker.letters import Letter, phrase
from broker.paging import NEWEST, Page, paged
from broker.people import shown_name
from broker.states import advance
from broker.tenants import Tenant
from broker.tickets.mirror import Ticket
from broker.trail import Personal
from broker.tx import Tx


@dataclass(frozen=True, slots=True)
class ReviewView:
    """`closed_by` and `note` are the customer's, once it is closed."""

    id: str
    tenant_id: str
    tenant_name: str
    state: str
    state_at: datetime
    grant_id: str
    ticket_title: str
    owed_at: datetime
    due_at: datetime
    is_late: bool
    closed_by: str | None
    note: str | None


def close(tx: Tx, review_id: str, note: str) -> None:
    """An admin of the customer is content. Raises Denied, Invalid, NotFound, StateConflict."""
    review = tx.session.get(Review, review_id)
    if review is None:
        raise NotFound(NOT_THERE)
    people.check(tx, "review:close", TenantId(review.tenant_id))
    if tx.actor.person_id is None or tx.actor.side != "tenant":
        raise Denied("only an admin of the customer closes a review")
    said = note.strip()
    if not 3 <= len(said) <= 2000:
        raise Invalid(
            "say in a few words what came of it", fields={"note": "3 to 2,000 characters"}
        )
    facts = {"grant": review.grant_id}
    advance(
        tx,
        review,
        REVIEW_CLOSED,
        values={"note": said},
        facts=facts,
        personal=[Personal("note", said)],
    )
    _tell_vendor(tx, review)


def _tell_vendor(tx: Tx, review: Review) -> None:
    grant = tx.session.get_one(Grant, review.grant_id)
    leads = people.list_recipients(tx, None, ["lead"])
    letter = Letter(
        phrase("Review closed: %(grant)s", grant=grant.id),
        [
            phrase(
                "The customer closed %(review)s, of %(grant)s. Their words stand on its page.",
                review=review.id,
                grant=grant.id,
            )
        ],
        page=page_of(grant),
        thread=grant.ticket_id,
    )
    for person_id in {*leads, PersonId(grant.requester_id)}:
        mail.write(tx, person_id, None, letter)


def get_view(tx: Tx, review_id: str) -> ReviewView:
    """Raises NotFound, the same for none and for another tenant's (G12)."""
    row = tx.session.execute(_rows(tx).where(Review.id == review_id)).first()
    if row is None:
        raise NotFound(NOT_THERE)
    people.check(tx, "review:read", TenantId(row.Review.tenant_id))
    return _view(row)


def list_reviews(
    tx: Tx,
    tenant_id: TenantId | None = None,
    *,
    grant_id: str | None = None,
    states: Sequence[str] = (),
    page: Page = NEWEST,
) -> list[ReviewView]:
    query = paged(_rows(tx), Review.owed_at, Review.id, page)
    query = query.where(Review.tenant_id.in_(people.list_readable(tx, "review:read", tenant_id)))
    if grant_id is not None:
        query = query.where(Review.grant_id == grant_id)
    if states:
        query = query.where(Review.state.in_(states))
    return [_view(row) for row in tx.session.execute(query)]


def _rows(tx: Tx) -> sa.Select[*tuple[Any, ...]]:
    late = sa.and_(Review.state == "open", Review.due_at <= tx.at)
    return (
        sa.select(
            Review,
            Tenant.name.label("tenant"),
            Ticket.title.label("title"),
            late.label("is_late"),
            shown_name(Review.state_by, Review.tenant_id).label("by"),
        )
        .join(Tenant, Tenant.id == Review.tenant_id)
        .join(Grant, Grant.id == Review.grant_id)
        .join(Ticket, Ticket.id == Grant.ticket_id)
    )


def _view(row: sa.Row[Any]) -> ReviewView:
    review: Review = row.Review
    return ReviewView(
        id=review.id,
        tenant_id=review.tenant_id,
        tenant_name=row.tenant,
        state=review.state,
        state_at=review.state_at,
        grant_id=review.grant_id,
        ticket_title=row.title,
        owed_at=review.owed_at,
        due_at=review.due_at,
        is_late=row.is_late,
        closed_by=row.by if review.state == "closed" else None,
        note=review.note,
    )
