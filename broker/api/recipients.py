"""Recipients of the register, orders of authorities, and what was handed over."""

from __future__ import annotations

from flask import Response
from marshmallow import fields

from broker.api.operations import new_blueprint, operation
from broker.api.shapes import Answer, Sent, as_file, identity, list_of, text, whole
from broker.consents import recipients
from broker.consents.recipients import About, Recipient
from broker.db import Json
from broker.ids import TenantId
from broker.third_parties import handing, orders
from broker.third_parties.handing import Wanted
from broker.third_parties.orders import OrderView, Received
from broker.tx import Tx

blueprint = new_blueprint("recipients", "Third parties")
_DOCUMENT: Json = {"type": "string", "format": "binary"}


class RecipientBody(Sent):
    kind = text(20, metadata={"description": "`sub_processor` or `third_party`"})
    name = text(400)
    country = text(2, least=2, metadata={"description": "ISO 3166-1, two letters"})
    use = text(400)
    data = text(400)
    safeguard = text(400, least=0, required=False, load_default="")


class RecipientAnswer(Answer):
    id = fields.String()
    kind = fields.String()
    name = fields.String()
    country = fields.String()
    use = fields.String()
    data = fields.String()
    safeguard = fields.String()
    added_at = fields.AwareDateTime()
    starts_at = fields.AwareDateTime(
        metadata={"description": "a sub-processor starts 30 days after customers were told"}
    )
    ended_at = fields.AwareDateTime(allow_none=True)


class AuthorityOrderBody(Sent):
    authority = text(2000)
    reference = text(2000)
    legal_ground = text(2000)
    asked = text(2000)
    silent_until = fields.AwareDateTime(
        metadata={"description": "where the law forbids to tell the tenant; within a year"}
    )
    silent_why = text(2000, required=False)


class AuthorityOrderAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    authority = fields.String()
    reference = fields.String()
    legal_ground = fields.String()
    asked = fields.String()
    state = fields.String(metadata={"description": "`recorded`, `confirmed` or `contested`"})
    recorded_at = fields.AwareDateTime()
    confirmed_at = fields.AwareDateTime(allow_none=True)
    contested_at = fields.AwareDateTime(allow_none=True)
    contested_why = fields.String(allow_none=True)
    silent_until = fields.AwareDateTime(allow_none=True)
    silent_why = fields.String(allow_none=True)
    told_at = fields.AwareDateTime(allow_none=True)


class ContestBody(Sent):
    why = text(2000)


class HandoverBody(Sent):
    to = text(30, metadata={"description": "a recipient (`rcp_…`) or an order (`ord_…`)"})
    what = text(20, metadata={"description": "`certificate` or `log`"})
    certificate = identity("crt", required=False)
    reason = text(2000, metadata={"description": "the customer reads it"})


class HandoverAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    to = fields.String()
    to_name = fields.String()
    what = fields.String()
    about = fields.String(attribute="subject")
    reason = fields.String()
    digest = fields.String(metadata={"description": "SHA-256 of the document"})
    bytes = fields.Integer()
    at = fields.AwareDateTime()


_ORDERS = list_of(AuthorityOrderAnswer)


@operation(blueprint, "GET /recipients", answer=list_of(RecipientAnswer))
def list_recipients(tx: Tx) -> Json:
    """Whom anything of a customer may be handed to: sub-processors and third parties."""
    return whole(recipients.list_all(tx))


@operation(blueprint, "POST /recipients", takes=RecipientBody, answer=RecipientAnswer, status=201)
def add_recipient(tx: Tx, body: Json) -> Recipient:
    """Put one on the register; customers are told of a sub-processor 30 days before it starts."""
    kind = body.pop("kind")
    return recipients.get(tx, recipients.add(tx, kind, About(**body)))


@operation(blueprint, "POST /recipients/<id:recipient_id>/end", answer=RecipientAnswer)
def end_recipient(tx: Tx, recipient_id: str) -> Recipient:
    """It gets nothing any more."""
    recipients.end(tx, recipient_id)
    return recipients.get(tx, recipient_id)


@operation(blueprint, "GET /orders", answer=_ORDERS)
def list_orders(tx: Tx) -> Json:
    """Orders of authorities, the youngest first: the privacy officers' list."""
    return whole(orders.list_views(tx))


@operation(blueprint, "GET /tenants/<id:tenant_id>/orders", answer=_ORDERS)
def list_tenant_orders(tx: Tx, tenant_id: TenantId) -> Json:
    """Those about one tenant; the tenant sees them as soon as the law lets us tell."""
    return whole(orders.list_views(tx, tenant_id))


@operation(
    blueprint,
    "POST /tenants/<id:tenant_id>/orders",
    takes=AuthorityOrderBody,
    answer=AuthorityOrderAnswer,
    status=201,
)
def record_order(tx: Tx, body: Json, tenant_id: TenantId) -> OrderView:
    """Write down what an authority asked; another officer must confirm it."""
    return orders.get_view(tx, orders.record(tx, tenant_id, Received(**body)))


@operation(blueprint, "POST /orders/<id:order_id>/confirm", answer=AuthorityOrderAnswer)
def confirm_order(tx: Tx, order_id: str) -> OrderView:
    """Stand for it, as another officer: the tenant is told, unless the law forbids it for now."""
    orders.confirm(tx, order_id)
    return orders.get_view(tx, order_id)


@operation(
    blueprint, "POST /orders/<id:order_id>/contest", takes=ContestBody, answer=AuthorityOrderAnswer
)
def contest_order(tx: Tx, body: Json, order_id: str) -> OrderView:
    """Nothing is handed over on it."""
    orders.contest(tx, order_id, body["why"])
    return orders.get_view(tx, order_id)


@operation(blueprint, "GET /tenants/<id:tenant_id>/handovers", answer=list_of(HandoverAnswer))
def list_handovers(tx: Tx, tenant_id: TenantId) -> Json:
    """What was handed over of one tenant's, to whom and why, the youngest first."""
    return whole(handing.list_handovers(tx, tenant_id))


@operation(
    blueprint,
    "POST /tenants/<id:tenant_id>/handovers",
    takes=HandoverBody,
    answer=_DOCUMENT,
    secret=True,  # a document is not kept for a retry
    media={"application/json"},
)
def hand_over(tx: Tx, body: Json, tenant_id: TenantId) -> Response:
    """Make a document for a recipient to which the tenant consents, or on a confirmed order.

    The answer is the document; that it was made, for whom and why is in the tenant's log. The
    header `Handover` names the entry of the list of handovers.
    """
    wanted = Wanted(body["to"], body["what"], body["reason"], body.get("certificate"))
    handover_id, document = handing.hand_over(tx, tenant_id, wanted)
    answer = as_file(document, "application/json", f"{handover_id}.json")
    answer.headers["Handover"] = handover_id
    return answer
