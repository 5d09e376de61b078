"""Drills of revocation: allowing them, ordering one, and what they took."""

from __future__ import annotations

from marshmallow import fields, validate

from broker.api.operations import acting, new_blueprint, operation, the_broker
from broker.api.shapes import Answer, Sent, WaitQuery
from broker.api.waiting import wait_for
from broker.db import Json
from broker.grants import drills
from broker.grants.drills import DrillsView
from broker.tx import Tx

blueprint = new_blueprint("drills", "Drills of revocation")


class ConsentBody(Sent):
    allowed = fields.Boolean(required=True)
    every_s = fields.Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=validate.Range(drills.SHORTEST_S, drills.LONGEST_S),
        metadata={"description": "how often by itself; null: on demand alone"},
    )


class DrillAnswer(Answer):
    id = fields.String()
    state = fields.String(metadata={"description": "`ordered`, `passed` or `failed`"})
    ordered_at = fields.AwareDateTime()
    state_at = fields.AwareDateTime()
    refused_s = fields.Float(allow_none=True)
    dead_s = fields.Float(
        allow_none=True, metadata={"description": "from asking to the last session dead"}
    )
    gone_s = fields.Float(allow_none=True)
    problem = fields.String(allow_none=True)
    stuck_reason = fields.String(allow_none=True)


class DrillsAnswer(Answer):
    database = fields.String(attribute="database_id")
    allowed_since = fields.AwareDateTime(
        allow_none=True, metadata={"description": "null: the customer does not allow drills"}
    )
    every_s = fields.Integer(allow_none=True)
    p95_dead_s = fields.Float(allow_none=True)
    drills = fields.List(fields.Nested(DrillAnswer), metadata={"description": "newest first"})


@operation(
    blueprint,
    "POST /databases/<id:database_id>/drill-consent",
    takes=ConsentBody,
    answer=DrillsAnswer,
)
def allow_drills(tx: Tx, body: Json, database_id: str) -> DrillsView:
    """Allow drills on a database, or forbid them: for the tenant's admins."""
    drills.allow(tx, database_id, allowed=body["allowed"], every_s=body["every_s"])
    return drills.get_views(tx, database_id)


@operation(
    blueprint,
    "POST /databases/<id:database_id>/drills",
    query=WaitQuery,
    answer=DrillsAnswer,
    status=202,
    transaction=False,
    scope="drill:order",
)
def order_drill(query: Json, database_id: str) -> DrillsView:
    """Attack and revoke a lease that reads nothing, and time it; `wait` waits until it is over."""
    with acting() as tx:
        drills.order(tx, database_id, the_broker().queue)
    return _wait(query, database_id)


@operation(
    blueprint,
    "GET /databases/<id:database_id>/drills",
    query=WaitQuery,
    answer=DrillsAnswer,
    transaction=False,
)
def list_drills(query: Json, database_id: str) -> DrillsView:
    """What drills took there; `wait` waits until none is under way."""
    return _wait(query, database_id)


def _wait(query: Json, database_id: str) -> DrillsView:
    return wait_for(
        query["wait"],
        lambda tx: drills.get_views(tx, database_id),
        lambda view: all(drill.state != "ordered" for drill in view.drills),
        identity=database_id,
    )
