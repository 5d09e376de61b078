"""API tokens: one's own, and those of programs."""

from __future__ import annotations

from dataclasses import replace

from flask import request
from marshmallow import fields, validate

from broker import enrolling, signin
from broker.api.operations import ANY_TOKEN, new_blueprint, operation, signed_in, the_broker
from broker.api.shapes import Answer, Sent, identity, list_of, seconds, text, whole
from broker.api_tokens import SCOPES, Limits
from broker.db import Json
from broker.errors import Denied
from broker.ids import PersonId, TenantId, TokenId
from broker.secret import Secret
from broker.signin import ApiToken
from broker.tx import Tx

blueprint = new_blueprint("tokens", "API tokens, and accounts of programs")
_SCOPES = {
    "description": "what it may do beside reading; null: all that you may. "
    + "; ".join(f"`{name}`: {says}" for name, says in SCOPES.items())
}
_TENANTS = {"description": "of which it reads and does; null: all of yours"}
_PASSWORD = {"description": "yours: without it none outlives the token that you send"}
_DAY_S = 86400


class NewTokenAnswer(Answer):
    id = fields.String()
    token = fields.String(metadata={"description": "shown this once"})
    expires_at = fields.AwareDateTime()


class TokenBody(Sent):
    name = text(100)
    days = fields.Integer(strict=True, required=True, validate=validate.Range(1, 365))
    scopes = fields.List(
        fields.String(validate=validate.OneOf(list(SCOPES))),
        load_default=None,
        allow_none=True,
        metadata=_SCOPES,
    )
    tenants = fields.List(
        identity("tnt"),
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 100),
        metadata=_TENANTS,
    )
    password = text(200, required=False, metadata=_PASSWORD)


class RotateBody(Sent):
    keep_s = seconds(
        load_default=0,
        metadata={"description": "how long the one before still holds; a day at most"},
    )
    password = text(200, required=False, metadata=_PASSWORD)


class TokenAnswer(Answer):
    id = fields.String()
    name = fields.String()
    scopes = fields.List(fields.String(), allow_none=True, metadata=_SCOPES)
    tenants = fields.List(fields.String(), allow_none=True, metadata=_TENANTS)
    created_at = fields.AwareDateTime()
    expires_at = fields.AwareDateTime()
    used_at = fields.AwareDateTime(allow_none=True)


_TokenList = list_of(TokenAnswer)


class ServiceBody(Sent):
    name = text(150)
    tenant = identity("tnt", required=False)


class ServiceAnswer(Answer):
    id = fields.String()


@operation(blueprint, "GET /tokens", answer=_TokenList)
def list_tokens(tx: Tx) -> Json:
    """My tokens, without what is secret of them."""
    return whole(signin.list_tokens(tx))


@operation(
    blueprint, "POST /tokens", takes=TokenBody, answer=NewTokenAnswer, status=201, secret=True
)
def create_token(tx: Tx, body: Json) -> Json:
    """Make a token for me; it is shown this once."""
    limits = _read_limits(tx, body, service=False)
    acting = _confirmed(tx, body)
    return show_new(tx, *signin.create_token(acting, body["name"], body["days"], limits))


@operation(
    blueprint,
    "POST /tokens/<id:token_id>/rotate",
    takes=RotateBody,
    answer=NewTokenAnswer,
    status=201,
    secret=True,
    scope=ANY_TOKEN,
)
def rotate_token(tx: Tx, body: Json, token_id: str) -> Json:
    """Another in place of one of mine, with its limits; a limited token rotates itself alone."""
    if signed_in().scopes is not None and token_id != signed_in().token_id:
        raise Denied("a limited token rotates itself, and no other")
    row = signin.get_token(tx, token_id)
    return show_new(tx, *signin.rotate_token(_confirmed(tx, body), row, _kept_s(body)))


@operation(blueprint, "DELETE /tokens/<id:token_id>", status=204)
def end_token(tx: Tx, token_id: str) -> None:
    """End one of my tokens, at once."""
    signin.end_token(tx, token_id)


@operation(blueprint, "POST /services", takes=ServiceBody, answer=ServiceAnswer, status=201)
def add_service(tx: Tx, body: Json) -> Json:
    """Make a program's account: in a tenant it reads, in the vendor it may ask; it decides nothing.

    It is shown among the people, and ended as they are.
    """
    tenant = body.get("tenant")
    return {"id": enrolling.add_service(tx, TenantId(tenant) if tenant else None, body["name"])}


@operation(blueprint, "GET /services/<id:person_id>/tokens", answer=_TokenList)
def list_service_tokens(tx: Tx, person_id: str) -> Json:
    """The tokens of a program, without what is secret of them."""
    return whole(signin.list_tokens(tx, enrolling.get_service(tx, person_id)))


@operation(
    blueprint,
    "POST /services/<id:person_id>/tokens",
    takes=TokenBody,
    answer=NewTokenAnswer,
    status=201,
    secret=True,
)
def create_service_token(tx: Tx, body: Json, person_id: str) -> Json:
    """Make a token for a program; it is always limited, and shown this once."""
    service = enrolling.get_service(tx, person_id)
    limits = _read_limits(tx, body, service=True)
    made = signin.create_token(
        _confirmed(tx, body), body["name"], body["days"], limits, service_id=service
    )
    return show_new(tx, *made)


@operation(blueprint, "DELETE /services/<id:person_id>/tokens/<id:token_id>", status=204)
def end_service_token(tx: Tx, person_id: str, token_id: str) -> None:
    """End a token of a program, at once."""
    signin.end_token(tx, token_id, enrolling.get_service(tx, person_id))


def _read_limits(tx: Tx, body: Json, *, service: bool) -> Limits:
    named = {name: body[name] for name in ("scopes", "tenants")}
    sets = {name: None if value is None else frozenset(value) for name, value in named.items()}
    limits = Limits(**sets)
    enrolling.check_limits(tx, limits, service=service)
    return limits


def _kept_s(body: Json) -> int:
    return min(int(body["keep_s"]), _DAY_S)


def _confirmed(tx: Tx, body: Json) -> Tx:
    """Who gave the password makes tokens as from a session, whose end bounds none."""
    if "password" not in body:
        return tx
    confirm(tx, body["password"])
    return replace(tx, actor=replace(tx.actor, until=None))


def confirm(tx: Tx, password: str) -> None:
    """Raises NotAuthenticated or TooMany: it counts as a try to sign in."""
    person_id = PersonId(tx.actor.person_id or "")
    address = request.remote_addr or ""
    signin.check_password(the_broker().database, person_id, Secret(password), address=address)


def show_new(tx: Tx, token_id: TokenId, token: Secret[str]) -> Json:
    stored = tx.session.get_one(ApiToken, token_id)
    return {"id": token_id, "token": token.reveal(), "expires_at": stored.expires_at}
