"""Webhooks: what happens in a tenant's log, told to the tenant's own systems."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.shapes import Answer, Sent, identity, list_of, text, whole
from broker.db import Json
from broker.ids import TenantId
from broker.outgoing import Outgoing
from broker.secret import Secret
from broker.tx import Tx
from broker.webhooks import registering
from broker.webhooks.model import FORMS, STANDARD, Webhook
from broker.webhooks.registering import NewWebhook

blueprint = new_blueprint("webhooks", "Webhooks for every event")


class WebhookQuery(Sent):
    tenant = identity("tnt")


class WebhookBody(Sent):
    tenant = identity("tnt")
    name = text(200)
    url = text(900, metadata={"description": "https://…; kept sealed, its host alone is shown"})
    form = fields.String(load_default=STANDARD, validate=validate.OneOf(FORMS))
    kinds = fields.List(
        text(80),
        load_default=list,
        validate=validate.Length(max=200),
        metadata={"description": "kinds or nouns of entries (`grant.ended`, `grant`); none: all"},
    )


class WebhookAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    name = fields.String()
    form = fields.String()
    host = fields.String()
    kinds = fields.List(fields.String())
    registered_at = fields.AwareDateTime()


class NewWebhookAnswer(WebhookAnswer):
    secret = fields.String(
        allow_none=True, metadata={"description": "`whsec_…`, shown once; none for a chat"}
    )


class WebhookSecretAnswer(Answer):
    id = fields.String()
    secret = fields.String(
        metadata={"description": "shown once; the one before signs beside it for 24 hours"}
    )


class DeliveryAnswer(Answer):
    id = fields.String()
    position = fields.Integer(metadata={"description": "of the entry in the tenant's log"})
    kind = fields.String()
    state = fields.String(metadata={"description": "waiting, taken or given up"})
    attempts = fields.Integer()
    created_at = fields.AwareDateTime()
    tried_at = fields.AwareDateTime(allow_none=True)
    next_try_at = fields.AwareDateTime(allow_none=True)
    taken_at = fields.AwareDateTime(allow_none=True)
    answered = fields.Integer(allow_none=True)
    problem = fields.String(allow_none=True)


@operation(blueprint, "GET /webhooks", query=WebhookQuery, answer=list_of(WebhookAnswer))
def list_webhooks(tx: Tx, query: Json) -> Json:
    """The webhooks of a tenant."""
    return whole(registering.list_webhooks(tx, TenantId(query["tenant"])))


@operation(
    blueprint,
    "POST /webhooks",
    takes=WebhookBody,
    answer=NewWebhookAnswer,
    status=201,
    secret=True,
)
def register_webhook(tx: Tx, body: Json) -> dict[str, Any]:
    """Be told of what happens from now on; the signing secret is in this answer alone."""
    new = NewWebhook(body["name"], Secret(body["url"]), body["form"], body["kinds"])
    local = Outgoing(the_broker().settings.outgoing.networks).allows_local
    row, secret = registering.register(tx, TenantId(body["tenant"]), new, local=local)
    shown = {name: getattr(row, name) for name in ("id", "tenant_id", "name", "form", "host")}
    shown |= {"kinds": row.kinds, "registered_at": row.registered_at}
    return {**shown, "secret": secret.reveal() if secret is not None else None}


@operation(blueprint, "GET /webhooks/<id:webhook_id>", answer=WebhookAnswer)
def get_webhook(tx: Tx, webhook_id: str) -> Webhook:
    """One webhook."""
    return registering.get(tx, webhook_id)


@operation(
    blueprint, "POST /webhooks/<id:webhook_id>/secret", answer=WebhookSecretAnswer, secret=True
)
def replace_webhook_secret(tx: Tx, webhook_id: str) -> Json:
    """Another secret; for 24 hours both sign, so that nothing is refused meanwhile."""
    return {"id": webhook_id, "secret": registering.replace_secret(tx, webhook_id).reveal()}


@operation(blueprint, "DELETE /webhooks/<id:webhook_id>", status=204)
def remove_webhook(tx: Tx, webhook_id: str) -> None:
    """Take it out of use; what was not delivered is not sent any more."""
    registering.remove(tx, webhook_id)


@operation(blueprint, "GET /webhooks/<id:webhook_id>/deliveries", answer=list_of(DeliveryAnswer))
def list_deliveries(tx: Tx, webhook_id: str) -> Json:
    """The last 200 deliveries, the newest first."""
    return whole(registering.list_deliveries(tx, webhook_id))


@operation(
    blueprint,
    "POST /webhooks/<id:webhook_id>/deliveries/<id:delivery_id>/replay",
    status=204,
)
def replay_delivery(tx: Tx, webhook_id: str, delivery_id: str) -> None:
    """Send it again, with the id that it had."""
    registering.replay(tx, webhook_id, delivery_id)
