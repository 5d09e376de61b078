"""Logins: asking for one, looking at it, ending it.

A login is made by a worker: who asks may wait for it, and holds no transaction meanwhile.
"""

from __future__ import annotations

from marshmallow import ValidationError, fields, validates_schema

from broker import lifecycle, people
from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.shapes import (
    Answer,
    PageQuery,
    Sent,
    WaitQuery,
    identity,
    list_of,
    page,
    read_page,
    sorting,
    states,
    text,
)
from broker.api.waiting import act_and_wait, wait_for
from broker.db import Json
from broker.grants import leases as lease_asking
from broker.grants import queries
from broker.grants.queries import LeaseView
from broker.snapshots import ordering
from broker.tx import Tx

blueprint = new_blueprint("leases", "Logins")


class LeaseQuery(PageQuery):
    sort = sorting("asked_at")
    grant = identity("grt", required=False)
    requester = identity("psn", required=False)
    state = states(["pending", "issued", "revoking", "revoked"])


class LeaseBody(Sent):
    """For the live database with `grant`, for a copy's sandbox with `snapshot`."""

    grant = identity("grt", required=False)
    snapshot = identity("snp", required=False)
    verifier = text(
        1000,
        metadata={"description": "SCRAM-SHA-256 verifier of a password that stays with the client"},
    )
    develop = fields.Boolean(
        load_default=False,
        metadata={"description": "on a snapshot: to change its definitions too, where given"},
    )

    @validates_schema
    def check_one(self, sent: Json, **_: object) -> None:
        if ("grant" in sent) == ("snapshot" in sent):
            raise ValidationError("name a grant or a snapshot, one of them", "grant")
        if sent["develop"] and "snapshot" not in sent:
            raise ValidationError("definitions are changed on a copy alone", "develop")


class PlaceAnswer(Answer):
    cluster = fields.String(metadata={"description": "PostgreSQL's system identifier"})
    timeline = fields.Integer(allow_none=True)
    standby = fields.Boolean()


class LeaseAnswer(Answer):
    id = fields.String()
    grant = fields.String(attribute="grant_id")
    tenant = fields.String(attribute="tenant_id")
    snapshot = fields.String(attribute="snapshot_id", allow_none=True)
    state = fields.String()
    state_at = fields.AwareDateTime()
    asked_at = fields.AwareDateTime()
    requester = fields.String(attribute="person_id")
    person_name = fields.String(attribute="person")
    kind = fields.String(
        metadata={
            "description": "login; platform: a token for `audience`; or storage: a session on "
            "objects of `bucket` under `prefix`"
        }
    )
    role = fields.String(
        allow_none=True, metadata={"description": "the name to log in with; null for a token"}
    )
    develop = fields.Boolean(metadata={"description": "may change the copy's definitions too"})
    host = fields.String(allow_none=True)
    port = fields.Integer(allow_none=True)
    dbname = fields.String(allow_none=True)
    platform = fields.String(attribute="platform_id", allow_none=True)
    storage = fields.String(attribute="storage_id", allow_none=True)
    bucket = fields.String(allow_none=True)
    prefix = fields.String(allow_none=True)
    audience = fields.String(allow_none=True)
    ends_at = fields.AwareDateTime()
    pause = fields.String(
        metadata={"description": "`open`, `asked`, `paused` (looked at afresh), or `resuming`"}
    )
    paused_side = fields.String(allow_none=True)
    held_at = fields.AwareDateTime(allow_none=True)
    login_refused_at = fields.AwareDateTime(allow_none=True)
    last_session_dead_at = fields.AwareDateTime(allow_none=True)
    role_gone_at = fields.AwareDateTime(allow_none=True)
    first_seen_at = fields.AwareDateTime(
        allow_none=True,
        metadata={"description": "When somebody was first seen in it, looked for once a minute"},
    )
    looked_at = fields.List(
        fields.Nested(PlaceAnswer),
        metadata={"description": "The servers where a fresh look found nothing of it"},
    )
    attempts = fields.Integer()
    stuck_since = fields.AwareDateTime(allow_none=True)
    stuck_reason = fields.String(allow_none=True)


@operation(blueprint, "GET /leases", query=LeaseQuery, answer=list_of(LeaseAnswer))
def list_leases(tx: Tx, query: Json) -> Json:
    """Logins that I may see."""
    found = queries.list_leases(
        tx,
        query.get("tenant"),
        grant_id=query.get("grant"),
        person_id=query.get("requester"),
        states=query["state"],
        page=read_page(query),
    )
    return page(found, query)


@operation(
    blueprint,
    "POST /leases",
    takes=LeaseBody,
    query=WaitQuery,
    answer=LeaseAnswer,
    status=202,
    transaction=False,
    scope="lease:issue",
)
def ask_lease(query: Json, body: Json) -> LeaseView:
    """Ask for a login; `wait` waits until it is issued, or stuck with a reason."""
    queue, verifier = the_broker().queue, body["verifier"]
    rates = the_broker().settings.rates

    def ask(tx: Tx) -> str:
        people.check(tx, "lease:issue")  # first: who may not learns nothing of the ids sent (G12)
        if "grant" in body:
            return lease_asking.ask_live(tx, body["grant"], verifier, queue, rates)
        develop: bool = body["develop"]
        return ordering.ask_sandbox_lease(
            tx, body["snapshot"], verifier, queue, rates, develop=develop
        )

    return act_and_wait(query["wait"], ask, queries.get_lease_view, _is_settled)


@operation(
    blueprint,
    "GET /leases/<id:lease_id>",
    query=WaitQuery,
    answer=LeaseAnswer,
    transaction=False,
)
def get_lease(query: Json, lease_id: str) -> LeaseView:
    """One login; `wait` waits until it is issued, revoked, or stuck with a reason."""
    return wait_for(
        query["wait"],
        lambda tx: queries.get_lease_view(tx, lease_id),
        _is_settled,
        identity=lease_id,
    )


@operation(
    blueprint,
    "POST /leases/<id:lease_id>/end",
    query=WaitQuery,
    answer=LeaseAnswer,
    transaction=False,
    scope="lease:issue",
)
def end_lease(query: Json, lease_id: str) -> LeaseView:
    """End a login now, its sessions too; `wait` waits until it is revoked, or stuck."""

    def end(tx: Tx) -> str:
        lifecycle.end_lease_by_click(tx, lease_id, the_broker().queue)
        return lease_id

    return act_and_wait(query["wait"], end, queries.get_lease_view, _is_settled)


def _is_settled(lease: LeaseView) -> bool:
    return lease.state in {"issued", "revoked"} or lease.stuck_reason is not None
