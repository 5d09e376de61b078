"""Preflights: what was found on a tenant's database or a test server, and looking afresh."""

from __future__ import annotations

from marshmallow import fields

from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.shapes import Answer, WaitQuery, list_of, whole
from broker.api.waiting import wait_for
from broker.db import Json
from broker.grants import preflights
from broker.grants.preflights import PreflightView
from broker.tx import Tx

blueprint = new_blueprint("checks", "Preflights of databases and test servers")


class FindingAnswer(Answer):
    code = fields.String(metadata={"description": "stable; see docs/preflight.md"})
    severity = fields.String(metadata={"description": "`fatal`, `warning` or `note`"})
    what = fields.String()
    why = fields.String()
    sql = fields.String(
        allow_none=True, metadata={"description": "what a DBA may run; the broker never does"}
    )


class PreflightAnswer(Answer):
    target = fields.String(metadata={"description": "the database or test server"})
    name = fields.String()
    tenant_name = fields.String(allow_none=True)
    pending = fields.Boolean(metadata={"description": "a look was ordered and is not made yet"})
    asked_at = fields.AwareDateTime(allow_none=True)
    checked_at = fields.AwareDateTime(allow_none=True)
    fatal = fields.Integer(metadata={"description": "while not 0, nothing is issued there"})
    warnings = fields.Integer()
    findings = fields.List(fields.Nested(FindingAnswer))
    unexplained = fields.List(
        fields.String(),
        metadata={"description": "logins on the server that nobody registered, seen lately"},
    )
    attempts = fields.Integer()
    stuck_since = fields.AwareDateTime(allow_none=True)
    stuck_reason = fields.String(allow_none=True)


@operation(blueprint, "GET /preflights", answer=list_of(PreflightAnswer))
def list_preflights(tx: Tx) -> Json:
    """What the last look found on each database and test server that I may look at."""
    return whole(preflights.list_views(tx))


@operation(
    blueprint,
    "POST /databases/<id:database_id>/check",
    answer=PreflightAnswer,
    status=202,
    scope="database:check",
)
def check_database(tx: Tx, database_id: str) -> PreflightView:
    """Look at a tenant's database now; wait for it with `?wait=` on its preflight."""
    return _ask(tx, database_id)


@operation(
    blueprint,
    "POST /servers/<id:server_id>/check",
    answer=PreflightAnswer,
    status=202,
    scope="database:check",
)
def check_server(tx: Tx, server_id: str) -> PreflightView:
    """Look at a test server now; wait for it with `?wait=` on its preflight."""
    return _ask(tx, server_id)


@operation(
    blueprint,
    "GET /databases/<id:database_id>/preflight",
    query=WaitQuery,
    answer=PreflightAnswer,
    transaction=False,
)
def get_database_preflight(query: Json, database_id: str) -> PreflightView:
    """What the last look at a tenant's database found, the worst first."""
    return _wait(query, database_id)


@operation(
    blueprint,
    "GET /servers/<id:server_id>/preflight",
    query=WaitQuery,
    answer=PreflightAnswer,
    transaction=False,
)
def get_server_preflight(query: Json, server_id: str) -> PreflightView:
    """What the last look at a test server found, the worst first."""
    return _wait(query, server_id)


def _ask(tx: Tx, target: str) -> PreflightView:
    preflights.ask_by_click(tx, target, the_broker().queue)
    return preflights.get_view(tx, target)


def _wait(query: Json, target: str) -> PreflightView:
    return wait_for(
        query["wait"],
        lambda tx: preflights.get_view(tx, target),
        lambda view: not view.pending or view.stuck_since is not None,
    )
