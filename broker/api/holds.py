"""Legal holds of copies: asked by the vendor, agreed by the customer or ordered by an authority."""

from __future__ import annotations

from marshmallow import fields

from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.shapes import Answer, Sent, list_of, text
from broker.db import Json
from broker.snapshots import holds
from broker.snapshots.holds import Ask, HoldView
from broker.tx import Tx

blueprint = new_blueprint("holds", "Legal holds")


class HoldBody(Sent):
    reason = text(2000)
    days = fields.Integer(required=True, strict=True, metadata={"description": "1 to 90"})
    authority_order = text(
        200, required=False, metadata={"description": "the authority and its reference, if any"}
    )


class HoldAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    snapshot = fields.String(attribute="snapshot_id")
    state = fields.String(metadata={"description": "`asked`, `in_force`, `refused`, `over`"})
    state_at = fields.AwareDateTime()
    basis = fields.String(metadata={"description": "`customer` or `authority`"})
    authority_order = fields.String(allow_none=True)
    reason = fields.String()
    days = fields.Integer()
    asked_at = fields.AwareDateTime()
    begun_at = fields.AwareDateTime(allow_none=True)
    ends_at = fields.AwareDateTime(allow_none=True)
    closed_at = fields.AwareDateTime(
        allow_none=True,
        metadata={"description": "since when logins and sandbox are gone and the key is refused"},
    )


@operation(blueprint, "GET /snapshots/<id:snapshot_id>/holds", answer=list_of(HoldAnswer))
def list_holds(tx: Tx, snapshot_id: str) -> Json:
    """Holds of one copy, oldest first."""
    return {"items": holds.list_views(tx, snapshot_id), "next": None}


@operation(
    blueprint,
    "POST /snapshots/<id:snapshot_id>/holds",
    takes=HoldBody,
    answer=HoldAnswer,
    status=201,
)
def ask_hold(tx: Tx, body: Json, snapshot_id: str) -> HoldView:
    """Ask that a copy's sealed form be kept. It gives nobody access to it."""
    wanted = Ask(body["reason"], body["days"], body.get("authority_order"))
    return holds.get_view(tx, holds.ask(tx, snapshot_id, wanted, the_broker().queue))


@operation(blueprint, "POST /holds/<id:hold_id>/agree", answer=HoldAnswer)
def agree_hold(tx: Tx, hold_id: str) -> HoldView:
    """The customer agrees: from now on the copy is kept sealed when it ends."""
    holds.decide(tx, hold_id, agree=True, queue=the_broker().queue)
    return holds.get_view(tx, hold_id)


@operation(blueprint, "POST /holds/<id:hold_id>/refuse", answer=HoldAnswer)
def refuse_hold(tx: Tx, hold_id: str) -> HoldView:
    """The customer refuses: the copy is destroyed as ever."""
    holds.decide(tx, hold_id, agree=False, queue=the_broker().queue)
    return holds.get_view(tx, hold_id)


@operation(blueprint, "POST /holds/<id:hold_id>/lift", answer=HoldAnswer, status=202)
def lift_hold(tx: Tx, hold_id: str) -> HoldView:
    """End a hold; a condemned copy is destroyed now."""
    holds.lift(tx, hold_id, the_broker().queue)
    return holds.get_view(tx, hold_id)
