"""Standing approvals: what a tenant's admins approve in advance."""

from __future__ import annotations

from marshmallow import fields, validate

from broker import lifecycle
from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.plan_shapes import PlanTables
from broker.api.shapes import (
    Answer,
    PageQuery,
    Sent,
    identity,
    list_of,
    page,
    read_page,
    seconds,
    sorting,
    states,
    text,
)
from broker.db import Json
from broker.grants import standing, standing_queries
from broker.grants.narrowing import Narrowing
from broker.grants.standing import Draft
from broker.grants.standing_queries import StandingView
from broker.tx import Tx

blueprint = new_blueprint("standing", "Standing approvals")
_STATES = ("proposed", "given", "ended")
_WORDS = {"description": "of the ticket system, in any capitals; none: not asked"}


class StandingQuery(PageQuery):
    sort = sorting("proposed_at")
    state = states(_STATES)


class StandingBody(Sent):
    """Name severities, categories, or both; a ticket must meet all that is named."""

    grant = identity("grt", metadata={"description": "the request whose plan you were shown"})
    shown_digest = text(64, least=64)
    tables_out = fields.List(text(130), load_default=[], validate=validate.Length(0, 10_000))
    columns_masked = fields.List(text(200), load_default=[], validate=validate.Length(0, 10_000))
    severities = fields.List(
        text(40), load_default=[], validate=validate.Length(0, 20), metadata=_WORDS
    )
    categories = fields.List(
        text(40), load_default=[], validate=validate.Length(0, 20), metadata=_WORDS
    )
    live_max_s = seconds(load_default=0)
    copy_max_s = seconds(load_default=0)
    per_ticket = fields.Integer(
        strict=True,
        load_default=1,
        validate=validate.Range(1, 20),
        metadata={"description": "how often on one ticket"},
    )
    ends_at = fields.AwareDateTime(
        required=True, metadata={"description": "nothing given under it lasts longer"}
    )
    note = text(2000, least=0, required=False, load_default="")


class VoiceAnswer(Answer):
    person = fields.String(attribute="person_id")
    person_name = fields.String(attribute="person")
    via = fields.String()
    at = fields.AwareDateTime()


class StandingAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    tenant_name = fields.String()
    state = fields.String(metadata={"description": "`proposed`, `given` or `ended`"})
    state_at = fields.AwareDateTime()
    database = fields.String(attribute="database_id")
    database_name = fields.String(attribute="database")
    like = fields.String(attribute="like_grant")
    severities = fields.List(fields.String())
    categories = fields.List(fields.String())
    live_max_s = fields.Integer()
    copy_max_s = fields.Integer()
    per_ticket = fields.Integer()
    ends_at = fields.AwareDateTime()
    proposed_at = fields.AwareDateTime()
    lapses_at = fields.AwareDateTime(metadata={"description": "while proposed"})
    approvals_needed = fields.Integer()
    voices = fields.List(fields.Nested(VoiceAnswer))
    digest = fields.String(metadata={"description": "send it as `shown_digest` to agree"})
    note = fields.String(allow_none=True)
    uses = fields.Integer()
    open_uses = fields.Integer()


class StandingPlanAnswer(PlanTables):
    standing = fields.String(attribute="id")
    digest = fields.String(attribute="plan_digest")


class AgreeBody(Sent):
    shown_digest = text(64, least=64)


class EndBody(Sent):
    keep_grants = fields.Boolean(
        load_default=False,
        metadata={"description": "what was approved under it goes on to its own end"},
    )


@operation(
    blueprint, "GET /standing-approvals", query=StandingQuery, answer=list_of(StandingAnswer)
)
def list_standing(tx: Tx, query: Json) -> Json:
    """Standing approvals that I may see."""
    found = standing_queries.list_standing(
        tx,
        query.get("tenant"),
        states=query["state"],
        page=read_page(query),
    )
    return page(found, query)


@operation(
    blueprint,
    "POST /standing-approvals",
    takes=StandingBody,
    answer=StandingAnswer,
    status=201,
)
def give_standing(tx: Tx, body: Json) -> StandingView:
    """Approve in advance what fits; or propose it, where the policy asks for several admins."""
    draft = Draft(
        grant_id=body["grant"],
        shown_digest=body["shown_digest"],
        narrowing=Narrowing(
            tables_out=frozenset(body["tables_out"]),
            columns_masked=frozenset(body["columns_masked"]),
            live_s=body["live_max_s"],
            copy_s=body["copy_max_s"],
        ),
        ends_at=body["ends_at"],
        severities=tuple(body["severities"]),
        categories=tuple(body["categories"]),
        per_ticket=body["per_ticket"],
        note=body["note"],
    )
    standing_id = standing.propose(tx, draft, the_broker().settings.times)
    return standing_queries.get_view(tx, standing_id)


@operation(blueprint, "GET /standing-approvals/<id:standing_id>", answer=StandingAnswer)
def get_standing(tx: Tx, standing_id: str) -> StandingView:
    """One standing approval: its conditions, who agreed, how often it was used."""
    return standing_queries.get_view(tx, standing_id)


@operation(blueprint, "GET /standing-approvals/<id:standing_id>/plan", answer=StandingPlanAnswer)
def get_standing_plan(tx: Tx, standing_id: str) -> Json:
    """The most that is ever seen under it: each table and each column's fate."""
    view = standing_queries.get_view(tx, standing_id)
    return {"id": view.id, "plan": view.plan, "plan_digest": view.plan.digest()}


@operation(
    blueprint,
    "POST /standing-approvals/<id:standing_id>/agree",
    takes=AgreeBody,
    answer=StandingAnswer,
)
def agree_to_standing(tx: Tx, body: Json, standing_id: str) -> StandingView:
    """Agree, as another admin, to what was proposed; it is given once as many do as are needed."""
    standing.agree(tx, standing_id, body["shown_digest"])
    return standing_queries.get_view(tx, standing_id)


@operation(
    blueprint,
    "POST /standing-approvals/<id:standing_id>/end",
    takes=EndBody,
    answer=StandingAnswer,
)
def end_standing(tx: Tx, body: Json, standing_id: str) -> StandingView:
    """End it now; what was approved under it ends too, unless `keep_grants`."""
    lifecycle.end_standing_by_click(tx, standing_id, the_broker().queue, keep=body["keep_grants"])
    return standing_queries.get_view(tx, standing_id)
