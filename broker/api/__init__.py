"""The REST API, `/api/v1`: thin operations over the domain's functions.

    POST /sign-in · POST /invitations/accept · GET /me · GET POST /tokens
    POST /tokens/{id}/rotate · DELETE /tokens/{id} · POST /services
    GET POST /services/{id}/tokens · DELETE /services/{id}/tokens/{id}
    GET POST /people · DELETE /people/{id}/roles?tenant= · POST /people/{id}/disable · …/end-access
    GET POST /tenants · GET /tenants/{id} · …/keys · …/log · …/log/entries · …/log/events
    POST /tenants/{id}/end-everything · GET /preflights
    GET /tenants/{id}/log/checkpoint · …/tile/{tile} · …/proof?index= · …/consistency?old=
    POST /tenants/{id}/log/checkpoint/mail
    GET POST /tenants/{id}/approval-policy · POST …/confirm
    GET /purposes · GET POST /tenants/{id}/consents · …/consents/acts · POST …/consents/withdraw
    GET /tenants/{id}/why?about=
    GET /tickets/{id}/contacts · POST …/show …/write · GET /me/disclosures
    GET /me/export · GET POST /me/rights · POST /me/object-to-marketing
    GET POST /backups · GET /backups/{id}/setup · POST …/end · GET POST …/runs
    GET /backup-runs/{id} · POST …/report …/gone …/restores
    GET /tenants/{id}/restores · POST /restores/{id}/allow …/refuse …/use
    GET POST /recipients · POST /recipients/{id}/end
    GET /orders · POST /orders/{id}/confirm …/contest
    GET POST /tenants/{id}/orders · GET POST /tenants/{id}/handovers
    GET /retention · POST /retention/confirm · GET /retention/runs
    GET /notice · GET /registers/processing · GET POST /breaches · POST /breaches/{id}/notify …/tell
    GET /improvement · GET /improvement/reports
    GET POST /rights · POST /rights/{id}/extend …/answer
    GET /people/{id}/export …/erasure · POST …/restrict
    GET POST /databases · GET POST /servers · GET /keys/intake · GET /health/late
    GET POST /databases/{id}/release?wait= · …/drills?wait= · POST …/drill-consent
    GET /databases/{id} · GET /servers/{id} · POST …/rotate · …/password
    POST /databases/{id}/confirm · POST /servers/{id}/confirm
    POST /databases/{id}/known-logins · POST /databases/{id}/standbys
    POST /databases/{id}/check · POST /servers/{id}/check
    GET /databases/{id}/preflight?wait= · GET /servers/{id}/preflight?wait=
    GET /quarantine · POST /quarantine/{id}/lift
    GET POST /tenants/{id}/departure · POST …/departure/cancel · …/close · GET /tenants/{id}/export
    DELETE /databases/{id} · DELETE /servers/{id}
    GET POST /platforms · POST /platforms/{id}/secret · DELETE /platforms/{id}
    POST /token-keys/withdraw
    GET POST /identity-providers · GET POST DELETE /identity-providers/{id} · POST …/check
    GET /identity-providers/{id}/links · DELETE …/links/{person}
    GET POST /directories · POST /directories/{id}/token · DELETE /directories/{id}
    GET POST /webhooks · GET DELETE /webhooks/{id} · POST …/secret
    GET /webhooks/{id}/deliveries · POST …/deliveries/{id}/replay
    GET POST /storages · DELETE /storages/{id} · POST /grants/{id}/sessions
    POST /leases/{id}/session
    GET /tickets · POST /tickets/look
    GET POST /grants · GET /grants/{id}?wait= · …/plan?which= · POST …/approve …/refuse …/end
    GET /grants/{id}/decisions · GET /decisions/{id}/envelope
    GET POST /standing-approvals · GET /standing-approvals/{id} · …/plan · POST …/agree …/end
    GET POST /leases · GET /leases/{id}?wait= · POST …/end · GET …/statement
    POST /leases/{id}/pause …/resume · POST /grants/{id}/pause …/resume
    GET /glass?tenant=&wait=
    GET POST /snapshots · GET /snapshots/{id}?wait= · POST …/destroy
    GET /reviews · GET /reviews/{id} · POST …/close
    GET POST /snapshots/{id}/holds · POST /holds/{id}/agree …/refuse …/lift
    GET /certificates · GET /certificates/{id} · …/envelope

Bearer tokens only; no cookie is read. Lists answer `{items, next}`. Errors are problem+json. Ids
of other things stand under their noun (`tenant`, `grant`), names under `<noun>_name`.
`docs/openapi.json` is made from this code; `/api/docs` shows it.
"""

from __future__ import annotations

from copy import deepcopy
from http import HTTPStatus

from flask import Blueprint, Flask
from flask_smorest import Api
from marshmallow import INCLUDE, Schema, fields
from werkzeug.routing import BaseConverter

from broker import __version__
from broker.api import (
    access,
    accounts,
    backups,
    checks,
    consents,
    contacts,
    copies,
    decisions,
    delegates,
    directories,
    drills,
    estate,
    glass,
    health,
    holds,
    identity,
    leases,
    leaving,
    logs,
    pauses,
    platforms,
    policies,
    proofs,
    quarantines,
    recipients,
    registered,
    registers,
    retention,
    reviews,
    rights,
    standing,
    storages,
    tickets,
    tokens,
    webhooks,
)
from broker.api.manual import register_manual
from broker.api.operations import EDITS, MEDIA, RATES
from broker.api.problems import MEDIA_TYPE
from broker.api.rates import Rates
from broker.api.retried import HEADER
from broker.bootstrap import Broker
from broker.db import Json

BLUEPRINTS: tuple[Blueprint, ...] = (
    accounts.blueprint,
    tokens.blueprint,
    estate.blueprint,
    registered.blueprint,
    health.blueprint,
    logs.blueprint,
    proofs.blueprint,
    checks.blueprint,
    tickets.blueprint,
    access.blueprint,
    leases.blueprint,
    decisions.blueprint,
    copies.blueprint,
    policies.blueprint,
    delegates.blueprint,
    quarantines.blueprint,
    glass.blueprint,
    holds.blueprint,
    pauses.blueprint,
    leaving.blueprint,
    platforms.blueprint,
    storages.blueprint,
    drills.blueprint,
    standing.blueprint,
    reviews.blueprint,
    consents.blueprint,
    rights.blueprint,
    backups.blueprint,
    recipients.blueprint,
    retention.blueprint,
    registers.blueprint,
    contacts.blueprint,
    identity.blueprint,
    directories.blueprint,
    webhooks.blueprint,
)


IDEMPOTENCY_KEY: Json = {
    "in": "header",
    "name": HEADER,
    "schema": {"type": "string", "minLength": 1, "maxLength": 257},
    "description": "of this request alone, such as a UUID: sent again with it, it is done once",
}
IF_MATCH: Json = {
    "in": "header",
    "name": "If-Match",
    "schema": {"type": "string"},
    "description": "the `ETag` of what you read: 412 when it was changed since",
}


class IdConverter(BaseConverter):
    """An id in a path; anything else is no path of ours, and no text for a database."""

    regex = r"[a-z]{3}_[a-z2-7]{26}"


class ProblemSchema(Schema):
    """Others may stand beside these: facts for machines (RFC 9457, section 3.2)."""

    class Meta:
        unknown = INCLUDE

    type = fields.Url()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    fields_ = fields.Dict(
        data_key="fields", metadata={"description": "what is wrong with each field"}
    )


class _Api(Api):  # type: ignore[misc]  # flask-smorest has no types
    """Errors are ours (see `broker.http`), here only described."""

    def _register_error_handlers(self) -> None:
        pass

    def _register_responses(self) -> None:
        content = {MEDIA_TYPE: {"schema": ProblemSchema}}
        for status in HTTPStatus:
            described: Json = {"description": status.phrase}
            if status >= 400:
                described["content"] = deepcopy(content)
            self.spec.components.response(status.name, described, lazy=True)
        described = {"description": "an error, as RFC 9457 has it", "content": content}
        self.spec.components.response("DEFAULT_ERROR", described, lazy=True)


def register_api(app: Flask, broker: Broker) -> tuple[Blueprint, ...]:
    """Put the API on the application, and return its blueprints."""
    app.extensions["broker"] = broker
    app.extensions[RATES] = Rates(broker.settings.web.requests_per_minute)
    register_manual(app, describe(app))
    return BLUEPRINTS


def describe(app: Flask) -> Json:
    """Register the operations and return their OpenAPI document."""
    app.url_map.converters["id"] = IdConverter
    app.config.update(
        API_TITLE="Support-access broker", API_VERSION=__version__, OPENAPI_VERSION="3.1.0"
    )
    api = _Api(app)
    api.register_converter(
        IdConverter, lambda _: {"type": "string", "pattern": f"^{IdConverter.regex}$"}
    )
    api.spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
    for blueprint in BLUEPRINTS:
        api.register_blueprint(blueprint)
    document: Json = api.spec.to_dict()
    _describe_headers(document)
    return document


def _describe_headers(document: Json) -> None:
    """What `operations` reads beside what each operation names."""
    document["components"]["parameters"] = {"IdempotencyKey": IDEMPOTENCY_KEY, "IfMatch": IF_MATCH}
    for methods in document["paths"].values():
        for method, described in methods.items():
            if media := method != "parameters" and described.pop(MEDIA, None):
                content = described["responses"]["200"].pop("content")
                found = content["application/json"]
                described["responses"]["200"]["content"] = dict.fromkeys(media, found)
            named = []
            if method == "post" and described["security"]:
                named.append({"$ref": "#/components/parameters/IdempotencyKey"})
            if method != "parameters" and described.pop(EDITS, False):
                named.append({"$ref": "#/components/parameters/IfMatch"})
            if named:
                described["parameters"] = [*described.get("parameters", []), *named]
