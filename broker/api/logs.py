"""A tenant's log: its entries for reading, and the whole of it for verifying."""

from __future__ import annotations

import json

from flask import Response
from marshmallow import fields, validate

from broker import enrolling, people
from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.shapes import MAX_LIMIT, Answer, Sent, as_file, identity
from broker.audit.export import begin_export, stream
from broker.audit.formats import FORMATS, media_type, write_entries
from broker.audit.queries import get_log_view
from broker.audit.selecting import Wanted, select_entries
from broker.db import Json
from broker.ids import TenantId
from broker.kind_schemas import write_schemas
from broker.snapshots import certificates
from broker.tx import Tx

blueprint = new_blueprint("logs", "Logs of tenants")


class EntriesQuery(Sent):
    limit = fields.Integer(load_default=50, validate=validate.Range(1, MAX_LIMIT))
    cursor = fields.String(
        validate=validate.Regexp(r"\A[0-9]{1,18}\Z"),
        metadata={"description": "`next` of the page before: a position"},
    )


class EntryAnswer(Answer):
    position = fields.Integer(allow_none=True, metadata={"description": "null until it has one"})
    kind = fields.String(metadata={"description": "see docs/audit-events.md"})
    at = fields.AwareDateTime()
    actor_name = fields.String(attribute="actor")
    side = fields.String()
    subject = fields.String()
    facts = fields.Dict()
    personal = fields.Dict(metadata={"description": "by field; null where it was erased"})
    erased_on = fields.String(allow_none=True, metadata={"description": "the day, if known"})


class EntriesAnswer(Answer):
    origin = fields.String()
    signed_size = fields.Integer(metadata={"description": "entries that the last signature covers"})
    signed_at = fields.AwareDateTime(allow_none=True)
    items = fields.List(fields.Nested(EntryAnswer))
    next = fields.String(
        allow_none=True, metadata={"description": "send it as `cursor` to go on; null at the end"}
    )


@operation(
    blueprint, "GET /tenants/<id:tenant_id>/log/entries", query=EntriesQuery, answer=EntriesAnswer
)
def list_entries(tx: Tx, query: Json, tenant_id: TenantId) -> Json:
    """What the log says, the youngest first; to prove it, export the log and verify it.

    Entries of the last seconds have no position yet; they stand on the first page alone.
    """
    before = int(query["cursor"]) if "cursor" in query else None
    log = get_log_view(tx, tenant_id, before=before, limit=query["limit"])
    return {
        "origin": log.origin,
        "signed_size": log.signed_size,
        "signed_at": log.signed_at,
        "items": log.entries,
        "next": None if log.older is None else str(log.older),
    }


class EventsQuery(Sent):
    format = fields.String(load_default="jsonl", validate=validate.OneOf(FORMATS))
    kind = fields.String(validate=validate.Regexp(r"\A[a-z_]{1,40}(\.[a-z_]{1,40})?\Z"))
    person = identity("psn", required=False)
    ticket = identity("tkt", required=False)
    since = fields.AwareDateTime()
    until = fields.AwareDateTime()
    after = fields.Integer(load_default=0, validate=validate.Range(0, 2**53 - 1))
    limit = fields.Integer(load_default=1000, validate=validate.Range(1, 10_000))


@operation(
    blueprint,
    "GET /tenants/<id:tenant_id>/log/events",
    query=EventsQuery,
    answer={"type": "string"},
    media={media_type(form) for form in FORMATS},
)
def list_events(tx: Tx, query: Json, tenant_id: TenantId) -> Response:
    """Signed entries for other systems: JSON Lines, CSV or OCSF, the oldest first.

    The header `Log-Position` says how far was looked; send it as `after` to go on. Once it stays
    the same, all was sent.
    """
    form, after, limit = (query.pop(name) for name in ("format", "after", "limit"))
    found = select_entries(tx, tenant_id, Wanted(**query), after=after, most=limit)
    content = write_entries(form, found.origin, found.chosen)
    answer = as_file(content, media_type(form), f"{tenant_id}.{form}")
    answer.headers["Log-Position"] = str(found.looked)
    return answer


@operation(blueprint, "GET /log/schemas", answer={"type": "object"})
def get_schemas(_: Tx) -> Response:
    """A JSON Schema of each kind of entry, for programs that read logs."""
    return Response(json.dumps(write_schemas()), mimetype="application/json")


@operation(blueprint, "GET /tenants/<id:tenant_id>/log", answer={"type": "object"})
def export_log(tx: Tx, tenant_id: TenantId) -> Response:
    """The tenant's log with its certificates, as one file that verifies offline."""
    people.check(tx, "log:read", tenant_id)
    people.check(tx, "certificate:read", tenant_id)
    keys = [key.format() for key in enrolling.list_keys(tx, tenant_id)]
    export = begin_export(tx, tenant_id, keys, certificates.list_envelopes)
    database, actor = the_broker().database, tx.actor
    content = stream(lambda: database.begin(actor), export)
    return as_file(content, "application/json", f"{tenant_id}.log.json")
