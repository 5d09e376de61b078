"""Platforms that trust the broker's tokens, and the keys that sign these."""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from broker import lifecycle, people, platforms
from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.shapes import Answer, Sent, TenantQuery, identity, list_of, text, whole
from broker.db import Json
from broker.grants import token_keys
from broker.ids import TenantId
from broker.platforms import Platform
from broker.tx import Tx

blueprint = new_blueprint("platforms", "Platforms that trust the broker's tokens")


class PlatformBody(Sent):
    tenant = identity("tnt")
    name = text(200)
    audience = text(400, metadata={"description": "an https:// address that no other platform has"})


class PlatformAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    name = fields.String()
    audience = fields.String()
    registered_at = fields.AwareDateTime()


class NewPlatformAnswer(PlatformAnswer):
    secret = fields.String(
        metadata={"description": "with it the platform asks about tokens; shown once"}
    )


class SecretAnswer(Answer):
    id = fields.String()
    secret = fields.String(metadata={"description": "shown once; the one before it is void"})


@operation(blueprint, "GET /platforms", query=TenantQuery, answer=list_of(PlatformAnswer))
def list_platforms(tx: Tx, query: Json) -> Json:
    """The platforms of a tenant that trust the broker's tokens."""
    return whole(platforms.list_platforms(tx, query["tenant"]))


@operation(
    blueprint,
    "POST /platforms",
    takes=PlatformBody,
    answer=NewPlatformAnswer,
    status=201,
    secret=True,
)
def register_platform(tx: Tx, body: Json) -> dict[str, Any]:
    """Register a platform of a tenant; its secret is shown in this answer alone."""
    tenant_id = TenantId(body["tenant"])
    platform_id, secret = platforms.register(tx, tenant_id, body["name"], body["audience"])
    row = platforms.get_platform(tx, platform_id)
    return {
        "id": row.id,
        "tenant_id": row.tenant_id,
        "name": row.name,
        "audience": row.audience,
        "registered_at": row.registered_at,
        "secret": secret.reveal(),
    }


@operation(blueprint, "GET /platforms/<id:platform_id>", answer=PlatformAnswer)
def get_platform(tx: Tx, platform_id: str) -> Platform:
    """One platform."""
    row = platforms.get_platform(tx, platform_id)
    people.check(tx, "platform:read", TenantId(row.tenant_id))
    return row


@operation(blueprint, "POST /platforms/<id:platform_id>/secret", answer=SecretAnswer, secret=True)
def replace_platform_secret(tx: Tx, platform_id: str) -> Json:
    """Another secret in place of the one before, which is void at once."""
    return {"id": platform_id, "secret": platforms.replace_secret(tx, platform_id).reveal()}


@operation(blueprint, "DELETE /platforms/<id:platform_id>", status=204)
def remove_platform(tx: Tx, platform_id: str) -> None:
    """Take a platform out of use; requests and grants on it end, with all that rests on them."""
    lifecycle.remove_platform(tx, platform_id, the_broker().queue)


@operation(blueprint, "POST /token-keys/withdraw", status=204)
def withdraw_token_keys(tx: Tx) -> None:
    """Take every key that signs tokens out of use at once, for one may have leaked."""
    token_keys.withdraw_all(tx, the_broker().queue)
