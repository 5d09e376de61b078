"""The glass: what is open now, with its sessions and statements, looked at for who asks."""

from __future__ import annotations

from marshmallow import fields, validate

from broker.api.leases import LeaseAnswer
from broker.api.operations import new_blueprint, operation, signed_in, the_broker
from broker.api.shapes import Answer, Sent, identity, whole
from broker.db import Json
from broker.grants import glass

blueprint = new_blueprint("glass", "What is open now")


class GlassQuery(Sent):
    tenant = identity("tnt", required=False)
    wait = fields.Integer(
        load_default=5,
        validate=validate.Range(0, 5),
        metadata={"description": "seconds for a worker to look; what it did not has a `problem`"},
    )


class SessionAnswer(Answer):
    since = fields.AwareDateTime(allow_none=True)
    origin = fields.String(allow_none=True, metadata={"description": "an address, or `local`"})
    state = fields.String(allow_none=True)
    state_since = fields.AwareDateTime(allow_none=True)
    statement_since = fields.AwareDateTime(allow_none=True)
    statement = fields.String(
        allow_none=True,
        metadata={"description": "running, or the last; for the tenant's people alone"},
    )


class PaneAnswer(Answer):
    id = fields.String()
    lease = fields.Nested(LeaseAnswer)
    sessions = fields.List(fields.Nested(SessionAnswer))
    problem = fields.String(
        allow_none=True, metadata={"description": "why nothing is known of its sessions"}
    )
    with_statements = fields.Boolean()


class PaneList(Answer):
    items = fields.List(fields.Nested(PaneAnswer))
    next = fields.String(allow_none=True)


@operation(blueprint, "GET /glass", query=GlassQuery, answer=PaneList, transaction=False)
def watch_leases(query: Json) -> Json:
    """Open logins, their sessions and, for the tenant's people, what they run. It is written down.

    Nothing of it is kept. An engineer sees the own logins, without statements.
    """
    broker = the_broker()
    panes = glass.look(
        broker.database,
        signed_in().actor,
        broker.queue,
        query.get("tenant"),
        wait_s=query["wait"],
    )
    return whole(panes)
