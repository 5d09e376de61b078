"""SCIM 2.0 for people (RFC 7643, RFC 7644): an organisation's directory makes and ends their roles.

    GET POST /scim/v2/Users · GET PUT PATCH DELETE /scim/v2/Users/{id}
    GET /scim/v2/ServiceProviderConfig · /ResourceTypes · /Schemas

What must stay true: the token is a directory's and opens nothing else, as no other token opens
this; no cookie is read; a directory sees its own tenant alone (G12).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify, request

from broker.api.operations import RATES, the_broker
from broker.api.problems import find_status
from broker.api.rates import Rates, check
from broker.api.scim import described, filters, resources
from broker.api.scim.resources import ScimError
from broker.directories import provisioning
from broker.directories.model import Directory
from broker.directories.registering import find_authenticated
from broker.errors import BrokerError, Conflict, Invalid, NotAuthenticated
from broker.ids import TenantId
from broker.secret import Secret
from broker.tx import Actor, Tx, system

PREFIX = "/scim/v2"
MEDIA_TYPE = "application/scim+json"
_MOST = 200
View = Callable[..., Response]


def register_scim(app: Flask) -> Blueprint:
    blueprint = Blueprint("scim", __name__, url_prefix=PREFIX)
    for path, view, method in (
        ("/Users", list_users, "GET"),
        ("/Users", create_user, "POST"),
        ("/Users/<id:person_id>", get_user, "GET"),
        ("/Users/<id:person_id>", replace_user, "PUT"),
        ("/Users/<id:person_id>", patch_user, "PATCH"),
        ("/Users/<id:person_id>", delete_user, "DELETE"),
        ("/ServiceProviderConfig", show_config, "GET"),
        ("/ResourceTypes", show_types, "GET"),
        ("/Schemas", show_schemas, "GET"),
    ):
        blueprint.add_url_rule(path, view.__name__, view, methods=[method])
    blueprint.register_error_handler(BrokerError, _error)
    app.register_blueprint(blueprint)
    return blueprint


@contextlib.contextmanager
def _directory() -> Iterator[tuple[Tx, Directory]]:
    """A transaction as the directory whose token was sent. Raises NotAuthenticated, TooMany."""
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not sent:
        raise NotAuthenticated("send the directory's token: Authorization: Bearer brd_…")
    rates: Rates = current_app.extensions[RATES]
    left = rates.take(sent, time.monotonic())
    if left is not None:
        check(left)
    with the_broker().database.begin(system("directory")) as tx:
        found = find_authenticated(tx, Secret(sent.strip()))
        if found is None:
            raise NotAuthenticated("this token is unknown, or was replaced or removed")
        tenant_id = TenantId(found.tenant_id)
        actor = Actor("tenant", "directory", tenants=frozenset({tenant_id}))
        yield Tx(tx.session, tx.at, actor), found


def list_users() -> Response:
    """RFC 7644, section 3.4.2: by `filter`, a page at a time, from `startIndex` (1) on."""
    wanted = filters.parse(request.args.get("filter", ""))
    start = max(1, _number("startIndex", 1))
    count = min(_MOST, max(0, _number("count", _MOST)))
    with _directory() as (tx, directory):
        found = [one for one in provisioning.list_entries(tx, directory) if wanted(one)]
        page = found[start - 1 : start - 1 + count]
        shown = [resources.show(one, _base()) for one in page]
    return _answer(
        {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "totalResults": len(found),
            "startIndex": start,
            "itemsPerPage": len(shown),
            "Resources": shown,
        }
    )


def get_user(person_id: str) -> Response:
    with _directory() as (tx, directory):
        return _user(provisioning.get_entry(tx, directory, person_id))


def create_user() -> Response:
    email, wished = resources.read_new(_body())
    with _directory() as (tx, directory):
        settings = the_broker().settings
        made = _user(provisioning.create(tx, directory, email, wished, settings), 201)
    made.headers["Location"] = made.get_json()["meta"]["location"]
    return made


def replace_user(person_id: str) -> Response:
    body = _body()
    with _directory() as (tx, directory):
        entry = provisioning.get_entry(tx, directory, person_id)
        wished = resources.read_whole(body, entry)
        return _user(provisioning.change(tx, directory, person_id, wished))


def patch_user(person_id: str) -> Response:
    body = _body()
    with _directory() as (tx, directory):
        entry = provisioning.get_entry(tx, directory, person_id)
        wished = resources.read_patch(body, entry)
        return _user(provisioning.change(tx, directory, person_id, wished))


def delete_user(person_id: str) -> Response:
    with _directory() as (tx, directory):
        provisioning.forget(tx, directory, person_id)
    return Response(status=204)


def show_config() -> Response:
    return _answer(described.CONFIG)


def show_types() -> Response:
    return _answer(described.listed([described.USER_TYPE]))


def show_schemas() -> Response:
    return _answer(described.listed([described.USER_SCHEMA]))


def _user(entry: provisioning.Entry, status: int = 200) -> Response:
    return _answer(resources.show(entry, _base()), status)


def _base() -> str:
    return f"{the_broker().settings.web.public_url.rstrip('/')}{PREFIX}"


def _body() -> dict[str, Any]:
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        raise ScimError("the body is no JSON object", "invalidSyntax")
    return body


def _number(name: str, default: int) -> int:
    text = request.args.get(name, str(default))
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 9):
        raise ScimError(f"{name} is no number", "invalidValue")
    return int(text)


def _answer(document: object, status: int = 200) -> Response:
    answer = jsonify(document)
    answer.status_code, answer.mimetype = status, MEDIA_TYPE
    return answer


def _error(error: BrokerError) -> Response:
    """RFC 7644, section 3.12."""
    status = 400 if isinstance(error, ScimError | Invalid) else find_status(error)
    fields = error.facts.get("fields", {})
    said = "; ".join([error.message, *(f"{name}: {what}" for name, what in fields.items())])
    document: dict[str, Any] = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": str(status),
        "detail": said,
    }
    if isinstance(error, ScimError):
        document["scimType"] = error.scim_type
    elif isinstance(error, Conflict):
        document["scimType"] = "uniqueness"
    elif isinstance(error, Invalid):
        document["scimType"] = "invalidValue"
    answer = _answer(document, status)
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="broker"'
    if "retry_after_s" in error.facts:
        answer.headers["Retry-After"] = str(error.facts["retry_after_s"])
    return answer
