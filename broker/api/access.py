"""Requests and grants with their plans and decisions; logins are in `leases`."""

from __future__ import annotations

from marshmallow import fields, validate

from broker import lifecycle
from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.plan_shapes import PlanAnswer, PlanQuery
from broker.api.shapes import (
    Answer,
    PageQuery,
    Sent,
    WaitQuery,
    identity,
    list_of,
    page,
    read_page,
    seconds,
    sorting,
    states,
    text,
)
from broker.api.waiting import wait_for
from broker.db import Json
from broker.grants import deciding, queries, requests
from broker.grants.narrowing import Narrowing
from broker.grants.queries import GrantView, PlanView
from broker.grants.requests import Ask
from broker.grants.scope_kinds import KINDS, MASKED, MOST_RAW, Wanted
from broker.restricting import rows_only
from broker.tx import Tx

blueprint = new_blueprint("access", "Grants")


class GrantQuery(PageQuery):
    sort = sorting("requested_at")
    requester = identity("psn", required=False)
    state = states(["requested", "approved", "refused", "ended"])


class AskBody(Sent):
    ticket = identity("tkt")
    database = identity("dbs")
    category = text(50, metadata={"description": ", ".join(requests.CATEGORIES)})
    reason = text(4000)
    live_s = seconds(load_default=0)
    copy_s = seconds(load_default=0)
    platform = identity(
        "plt",
        required=False,
        load_default=None,
        allow_none=True,
        metadata={"description": "the platform for which tokens are asked, for `platform_s`"},
    )
    platform_s = seconds(load_default=0)
    storage = identity(
        "sto",
        required=False,
        load_default=None,
        allow_none=True,
        metadata={"description": "the objects for which sessions are asked, for `storage_s`"},
    )
    storage_s = seconds(load_default=0)
    kind = text(
        20,
        required=False,
        load_default=MASKED,
        metadata={"description": f"what is to be seen: {', '.join(KINDS)}; write is refused"},
    )
    dedicated = fields.Boolean(
        load_default=False,
        metadata={"description": "the copy on a server of its own, on an encrypted volume"},
    )
    develop = fields.Boolean(
        load_default=False,
        metadata={"description": "on the copy, logins that may change its definitions too"},
    )
    raw_columns = fields.List(
        text(200),
        load_default=[],
        validate=validate.Length(0, MOST_RAW),
        metadata={"description": "schema.table.column, to be seen in clear; for the kind raw"},
    )
    starts_at = fields.AwareDateTime(
        load_default=None, allow_none=True, metadata={"description": "not before; within 7 days"}
    )
    extends = identity(
        "grt",
        required=False,
        load_default=None,
        allow_none=True,
        metadata={"description": "the grant that this one goes on from"},
    )
    break_glass = fields.Boolean(
        load_default=False,
        metadata={"description": "decided by two leads of the vendor, where the policy allows it"},
    )


class GrantAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    tenant_name = fields.String()
    state = fields.String()
    state_at = fields.AwareDateTime()
    state_by = fields.String(allow_none=True)
    requester = fields.String(attribute="requester_id")
    requester_name = fields.String(attribute="requester")
    ticket = fields.String(attribute="ticket_id")
    ticket_external_id = fields.String()
    ticket_title = fields.String()
    ticket_url = fields.String(allow_none=True)
    ticket_open = fields.Boolean()
    database = fields.String(attribute="database_id")
    database_name = fields.String(attribute="database")
    category = fields.String()
    reason = fields.String()
    requested_at = fields.AwareDateTime()
    lapses_at = fields.AwareDateTime()
    asked_live_s = fields.Integer()
    asked_copy_s = fields.Integer()
    asked_platform_s = fields.Integer()
    asked_storage_s = fields.Integer()
    given_live_s = fields.Integer()
    given_copy_s = fields.Integer()
    given_platform_s = fields.Integer()
    given_storage_s = fields.Integer()
    live_until = fields.AwareDateTime(allow_none=True)
    copy_until = fields.AwareDateTime(allow_none=True)
    platform_until = fields.AwareDateTime(allow_none=True)
    storage_until = fields.AwareDateTime(allow_none=True)
    platform = fields.String(attribute="platform_id", allow_none=True)
    storage = fields.String(attribute="storage_id", allow_none=True)
    platform_name = fields.String(attribute="platform", allow_none=True)
    storage_name = fields.String(attribute="storage", allow_none=True)
    bucket = fields.String(allow_none=True)
    prefix = fields.String(allow_none=True)
    audience = fields.String(allow_none=True)
    ends_at = fields.AwareDateTime(allow_none=True)
    end_reason = fields.String(allow_none=True)
    asked_digest = fields.String(allow_none=True)
    given_digest = fields.String(allow_none=True)
    plan_problem = fields.String(allow_none=True)
    decided_by = fields.String(allow_none=True)
    decided_at = fields.AwareDateTime(allow_none=True)
    decision_note = fields.String(allow_none=True)
    extends = fields.String(allow_none=True)
    starts_at = fields.AwareDateTime(allow_none=True)
    paused_at = fields.AwareDateTime(allow_none=True)
    paused_side = fields.String(allow_none=True)
    given_starts_at = fields.AwareDateTime(
        allow_none=True, metadata={"description": "the agreed start: as asked, or later"}
    )
    standing = fields.String(
        attribute="standing_id",
        allow_none=True,
        metadata={"description": "the standing approval under which it was given, if one"},
    )
    break_glass = fields.Boolean(
        metadata={"description": "decided by two leads of the vendor; a review is owed"}
    )
    asked_on_ticket = fields.Boolean(
        metadata={"description": "by a comment on the ticket: always decided by people"}
    )
    policy_version = fields.Integer(
        metadata={"description": "of the customer's approval policy, as it was when this was asked"}
    )
    approvals_needed = fields.Integer()
    approvals_given = fields.Integer()
    asked_dedicated = fields.Boolean(
        metadata={"description": "a copy on a server of its own, as asked or as the policy says"}
    )
    asked_develop = fields.Boolean(
        metadata={"description": "logins that may change the copy's definitions; see the plan"}
    )
    asked_kind = fields.String(metadata={"description": f"one of {', '.join(KINDS)}"})
    raw_columns = fields.List(fields.String(), metadata={"description": "asked in clear"})
    given_kind = fields.String(
        allow_none=True, metadata={"description": "as asked, or masked where raw was asked"}
    )


class RowsOnlyBody(Sent):
    table = text(130)
    column = text(64)
    values = fields.List(text(200), load_default=[], validate=validate.Length(0, 100))
    days = fields.Integer(load_default=None, allow_none=True, validate=validate.Range(1, 3650))


class ApproveBody(Sent):
    shown_digest = text(64, least=64)
    tables_out = fields.List(text(130), load_default=[], validate=validate.Length(0, 10_000))
    columns_masked = fields.List(text(200), load_default=[], validate=validate.Length(0, 10_000))
    rows_only = fields.List(
        fields.Nested(RowsOnlyBody),
        load_default=[],
        validate=validate.Length(0, 1000),
        metadata={"description": "of a table only such rows: by values of a column, or by days"},
    )
    live_s = seconds(load_default=None, allow_none=True)
    copy_s = seconds(load_default=None, allow_none=True)
    platform_s = seconds(load_default=None, allow_none=True)
    storage_s = seconds(load_default=None, allow_none=True)
    no_develop = fields.Boolean(
        load_default=False,
        metadata={"description": "the copy's definitions stay as they are"},
    )
    starts_at = fields.AwareDateTime(
        load_default=None,
        allow_none=True,
        metadata={"description": "a later start, within 7 days of the request"},
    )
    note = text(2000, least=0, required=False, load_default="")


class RefuseBody(Sent):
    note = text(2000)


@operation(blueprint, "GET /grants", query=GrantQuery, answer=list_of(GrantAnswer))
def list_grants(tx: Tx, query: Json) -> Json:
    """Requests and grants that I may see."""
    found = queries.list_grants(
        tx,
        query.get("tenant"),
        requester_id=query.get("requester"),
        states=query["state"],
        page=read_page(query),
    )
    return page(found, query)


@operation(
    blueprint, "POST /grants", takes=AskBody, answer=GrantAnswer, status=201, scope="grant:request"
)
def request_grant(tx: Tx, body: Json) -> GrantView:
    """Ask for access; its plan is made soon (wait for it with `?wait=`)."""
    ask = Ask(
        ticket_id=body["ticket"],
        database_id=body["database"],
        category=body["category"],
        reason=body["reason"],
        live_s=body["live_s"],
        copy_s=body["copy_s"],
        starts_at=body["starts_at"],
        extends=body["extends"],
        platform_s=body["platform_s"],
        storage_s=body["storage_s"],
        platform_id=body["platform"],
        storage_id=body["storage"],
        wanted=Wanted(
            body["kind"],
            tuple(sorted(set(body["raw_columns"]))),
            body["develop"],
            body["dedicated"],
        ),
        break_glass=body["break_glass"],
    )
    grant_id = requests.request(tx, ask, the_broker().settings.times, the_broker().queue)
    return queries.get_grant_view(tx, grant_id)


@operation(
    blueprint,
    "GET /grants/<id:grant_id>",
    query=WaitQuery,
    answer=GrantAnswer,
    transaction=False,
)
def get_grant(query: Json, grant_id: str) -> GrantView:
    """One request or grant; `wait` waits until its plan is there or it is decided."""
    return wait_for(query["wait"], lambda tx: queries.get_grant_view(tx, grant_id), _is_planned)


def _is_planned(grant: GrantView) -> bool:
    return grant.state != "requested" or bool(grant.asked_digest or grant.plan_problem)


@operation(blueprint, "GET /grants/<id:grant_id>/plan", query=PlanQuery, answer=PlanAnswer)
def get_plan(tx: Tx, query: Json, grant_id: str) -> PlanView:
    """What would be seen, or what was given: each table and each column's fate."""
    return queries.get_plan_view(tx, grant_id, query["which"])


@operation(blueprint, "POST /grants/<id:grant_id>/approve", takes=ApproveBody, answer=GrantAnswer)
def approve_grant(tx: Tx, body: Json, grant_id: str) -> GrantView:
    """Say yes to the plan that was shown, or to less; given once as many say so as are needed."""
    narrowing = Narrowing(
        tables_out=frozenset(body["tables_out"]),
        columns_masked=frozenset(body["columns_masked"]),
        rows_only=frozenset(
            rows_only(one["table"], one["column"], one["values"], days=one["days"])
            for one in body["rows_only"]
        ),
        live_s=body["live_s"],
        copy_s=body["copy_s"],
        platform_s=body["platform_s"],
        storage_s=body["storage_s"],
        starts_at=body["starts_at"],
        no_develop=body["no_develop"],
    )
    deciding.approve(tx, grant_id, body["shown_digest"], narrowing, body["note"])
    return queries.get_grant_view(tx, grant_id)


@operation(blueprint, "POST /grants/<id:grant_id>/refuse", takes=RefuseBody, answer=GrantAnswer)
def refuse_grant(tx: Tx, body: Json, grant_id: str) -> GrantView:
    """Say no, with a reason for the engineer."""
    deciding.refuse(tx, grant_id, body["note"])
    return queries.get_grant_view(tx, grant_id)


@operation(blueprint, "POST /grants/<id:grant_id>/end", answer=GrantAnswer, scope="grant:request")
def end_grant(tx: Tx, grant_id: str) -> GrantView:
    """End a request or grant now, with its logins and copies."""
    lifecycle.end_grant_by_click(tx, grant_id, the_broker().queue)
    return queries.get_grant_view(tx, grant_id)
