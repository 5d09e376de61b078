"""Sign-in services of organisations, and who is linked with them."""

from __future__ import annotations

from marshmallow import fields, validate

from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.shapes import Answer, Base64, Sent, identity, list_of, text, whole
from broker.db import Json
from broker.errors import Invalid
from broker.ids import TenantId
from broker.oidc import links, providers
from broker.oidc.model import IdentityProvider
from broker.oidc.providers import Client, Rules
from broker.outgoing import Outgoing
from broker.tx import Tx

blueprint = new_blueprint("identity", "Signing in through an organisation's own service")
_SEALED_MOST = 4096
_SEALED = {"description": "the client secret as `broker identity-providers` seals it, in base64"}


class ProviderQuery(Sent):
    tenant = identity("tnt", required=False, load_default=None)


class RulesBody(Sent):
    name = text(200)
    groups_claim = text(256, required=False, load_default="groups")
    roles = fields.Dict(
        fields.String(validate=validate.Length(1, 256)),
        fields.String(validate=validate.Length(1, 40)),
        load_default=dict,
        metadata={"description": "from a group's name to a role; none: roles stay as given here"},
    )
    acr = fields.List(text(256), load_default=list, validate=validate.Length(max=20))
    amr = fields.List(text(256), load_default=list, validate=validate.Length(max=20))
    sealed_secret = Base64(load_default=None, metadata=_SEALED)


class ProviderBody(RulesBody):
    tenant = identity("tnt", required=False, load_default=None)
    issuer = text(900)
    client_id = text(256)


class ProviderAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id", allow_none=True)
    name = fields.String()
    issuer = fields.String()
    client_id = fields.String()
    groups_claim = fields.String()
    roles = fields.Dict(fields.String(), fields.String())
    acr = fields.List(fields.String(), attribute="step_up_acr")
    amr = fields.List(fields.String(), attribute="step_up_amr")
    ready = fields.Boolean(attribute="is_ready", metadata={"description": "people can sign in"})
    problem = fields.String(allow_none=True, metadata={"description": "why it can't be read"})
    read_at = fields.AwareDateTime(allow_none=True)
    registered_at = fields.AwareDateTime()


class LinkAnswer(Answer):
    person = fields.String()


@operation(
    blueprint, "GET /identity-providers", query=ProviderQuery, answer=list_of(ProviderAnswer)
)
def list_identity_providers(tx: Tx, query: Json) -> Json:
    """The sign-in services of a tenant, or the vendor's own where none is named."""
    return whole(providers.list_providers(tx, query["tenant"]))


@operation(
    blueprint, "POST /identity-providers", takes=ProviderBody, answer=ProviderAnswer, status=201
)
def register_identity_provider(tx: Tx, body: Json) -> IdentityProvider:
    """Let people of an organisation sign in through its own service (OpenID Connect)."""
    sealed = _check_sealed(body["sealed_secret"])
    tenant_id = TenantId(body["tenant"]) if body["tenant"] else None
    client = Client(body["issuer"], body["client_id"], sealed)
    local = Outgoing(the_broker().settings.outgoing.networks).allows_local
    identity_ = providers.register(
        tx, tenant_id, client, _rules(body), the_broker().queue, local=local
    )
    return providers.get(tx, identity_)


@operation(blueprint, "GET /identity-providers/<id:provider_id>", answer=ProviderAnswer)
def get_identity_provider(tx: Tx, provider_id: str) -> IdentityProvider:
    """One sign-in service."""
    return providers.get(tx, provider_id)


@operation(
    blueprint,
    "POST /identity-providers/<id:provider_id>",
    takes=RulesBody,
    answer=ProviderAnswer,
)
def change_identity_provider(tx: Tx, body: Json, provider_id: str) -> IdentityProvider:
    """Replace its rules, and its secret where one is sent; issuer and client id stay."""
    providers.change(tx, provider_id, _rules(body), _check_sealed(body["sealed_secret"]))
    return providers.get(tx, provider_id)


@operation(blueprint, "POST /identity-providers/<id:provider_id>/check", status=204)
def check_identity_provider(tx: Tx, provider_id: str) -> None:
    """Have a worker read what the service says of itself."""
    providers.check(tx, provider_id, the_broker().queue)


@operation(blueprint, "DELETE /identity-providers/<id:provider_id>", status=204)
def remove_identity_provider(tx: Tx, provider_id: str) -> None:
    """Take it out of use; its sessions and links end at once."""
    providers.remove(tx, provider_id)


@operation(blueprint, "GET /identity-providers/<id:provider_id>/links", answer=list_of(LinkAnswer))
def list_identity_links(tx: Tx, provider_id: str) -> Json:
    """Whose accounts are linked with it."""
    return whole([{"person": one} for one in links.list_linked(tx, provider_id)])


@operation(
    blueprint, "DELETE /identity-providers/<id:provider_id>/links/<id:person_id>", status=204
)
def end_identity_link(tx: Tx, provider_id: str, person_id: str) -> None:
    """Unlink an account; sessions that were opened so end at once."""
    links.end(tx, provider_id, person_id)


def _rules(body: Json) -> Rules:
    return Rules(body["name"], body["groups_claim"], body["roles"], body["acr"], body["amr"])


def _check_sealed(sealed: bytes | None) -> bytes | None:
    if sealed is not None and not 1 <= len(sealed) <= _SEALED_MOST:
        raise Invalid("this is no sealed secret", fields={"sealed_secret": "1 to 4096 bytes"})
    return sealed
