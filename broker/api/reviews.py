"""Reviews that are owed after break-glass: reading them, and the customer's closing of one."""

from __future__ import annotations

from marshmallow import fields

from broker.api.operations import new_blueprint, operation
from broker.api.shapes import (
    Answer,
    PageQuery,
    Sent,
    list_of,
    page,
    read_page,
    sorting,
    states,
    text,
)
from broker.db import Json
from broker.grants import reviews
from broker.grants.reviews import ReviewView
from broker.tx import Tx

blueprint = new_blueprint("reviews", "Reviews of break-glass")


class ReviewQuery(PageQuery):
    sort = sorting("owed_at")
    state = states(["open", "closed"])


class ReviewAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    tenant_name = fields.String()
    state = fields.String()
    state_at = fields.AwareDateTime()
    grant = fields.String(attribute="grant_id")
    ticket_title = fields.String()
    owed_at = fields.AwareDateTime()
    due_at = fields.AwareDateTime()
    late = fields.Boolean(
        attribute="is_late",
        metadata={"description": "open and past due: no other glass is broken for this customer"},
    )
    closed_by_name = fields.String(attribute="closed_by", allow_none=True)
    note = fields.String(allow_none=True)


class CloseBody(Sent):
    note = text(2000)


@operation(blueprint, "GET /reviews", query=ReviewQuery, answer=list_of(ReviewAnswer))
def list_reviews(tx: Tx, query: Json) -> Json:
    """Reviews that I may see."""
    found = reviews.list_reviews(
        tx,
        query.get("tenant"),
        states=query["state"],
        page=read_page(query),
    )
    return page(found, query)


@operation(blueprint, "GET /reviews/<id:review_id>", answer=ReviewAnswer)
def get_review(tx: Tx, review_id: str) -> ReviewView:
    """One review: of which grant, due when, closed by whom and with what words."""
    return reviews.get_view(tx, review_id)


@operation(blueprint, "POST /reviews/<id:review_id>/close", takes=CloseBody, answer=ReviewAnswer)
def close_review(tx: Tx, body: Json, review_id: str) -> ReviewView:
    """As an admin of the customer: it was reviewed. Nothing else closes one."""
    reviews.close(tx, review_id, body["note"])
    return reviews.get_view(tx, review_id)
