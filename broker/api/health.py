"""Whether the machinery keeps what it promised: what is late, and its figures."""

from __future__ import annotations

from flask import Response
from marshmallow import fields

from broker import lateness, people
from broker.api.operations import new_blueprint, operation
from broker.api.shapes import Answer, list_of, whole
from broker.db import Json
from broker.figures import Figures, read_figures
from broker.metrics import MEDIA_TYPE, write_metrics
from broker.tx import Tx

blueprint = new_blueprint("health", "What is late, and figures")


class LateAnswer(Answer):
    what = fields.String()
    id = fields.String()
    since_s = fields.Float()
    reason = fields.String()


class StateFigureAnswer(Answer):
    state = fields.String()
    count = fields.Integer()
    stuck = fields.Integer(metadata={"description": "tried again after a failure"})
    oldest_s = fields.Float()


class RanAnswer(Answer):
    kind = fields.String()
    age_s = fields.Float(metadata={"description": "since it ran last"})
    found = fields.Integer()


class OpenFindAnswer(Answer):
    noun = fields.String(metadata={"description": "`orphan`, `remnant` or `stranger`"})
    kind = fields.String()
    count = fields.Integer()


class LateOfAnswer(Answer):
    what = fields.String()
    over_s = fields.Integer()
    count = fields.Integer()


class FiguresAnswer(Answer):
    copies = fields.List(fields.Nested(StateFigureAnswer))
    held = fields.Integer(metadata={"description": "copies under a legal hold"})
    logins = fields.List(fields.Nested(StateFigureAnswer))
    closed = fields.Integer(metadata={"description": "copies destroyed within 30 days"})
    closed_p50_s = fields.Float(
        allow_none=True, metadata={"description": "from condemned to destroyed"}
    )
    closed_p99_s = fields.Float(allow_none=True)
    sweeps = fields.List(fields.Nested(RanAnswer))
    finds = fields.List(fields.Nested(OpenFindAnswer))
    late = fields.List(fields.Nested(LateOfAnswer))
    unlogged = fields.Integer(
        metadata={"description": "entries of logs without position or signature"}
    )
    unlogged_oldest_s = fields.Float(allow_none=True)


@operation(blueprint, "GET /health/late", answer=list_of(LateAnswer))
def list_late(tx: Tx) -> Json:
    """Promises that are late: what should be gone or signed for 15 minutes and is not, and why."""
    people.check(tx, "health:read")
    return whole(lateness.list_late(tx))


@operation(blueprint, "GET /health/figures", answer=FiguresAnswer)
def get_figures(tx: Tx) -> Figures:
    """How many copies and logins there are, how long ends take, when sweeps ran, what was found."""
    return read_figures(tx)


@operation(blueprint, "GET /health/metrics", answer={"type": "string"}, media=[MEDIA_TYPE])
def get_metrics(tx: Tx) -> Response:
    """The same figures for Prometheus: a program's token scrapes them. They name no tenant."""
    return Response(write_metrics(read_figures(tx)), mimetype=MEDIA_TYPE)
