"""How long records are kept, what a night took, and what is kept to improve the product."""

from __future__ import annotations

from marshmallow import fields

from broker.api.operations import new_blueprint, operation
from broker.api.shapes import Answer, Sent, list_of, text, whole
from broker.db import Json
from broker.errors import NOT_THERE, NotFound
from broker.retention import improving, running, schedule
from broker.retention.running import ScheduleView
from broker.tx import Tx

blueprint = new_blueprint("retention", "Retention, and what is kept to improve")


class TermAnswer(Answer):
    name = fields.String()
    tables = fields.List(fields.String())
    days = fields.Integer(metadata={"description": "0: as long as `fate` says"})
    fate = fields.String(
        metadata={"description": "`erase`, `anonymise`, `after_contract`, `keep` or `elsewhere`"}
    )
    what = fields.Dict(metadata={"description": "by language"})
    basis = fields.Dict(metadata={"description": "by language"})
    past = fields.Integer(
        allow_none=True, metadata={"description": "rows that are past their term now"}
    )


class ScheduleAnswer(Answer):
    digest = fields.String(metadata={"description": "send it to confirm this schedule"})
    loaded_at = fields.AwareDateTime()
    confirmed_at = fields.AwareDateTime(
        allow_none=True, metadata={"description": "null: nothing is taken yet"}
    )
    terms = fields.List(fields.Nested(TermAnswer))


class ConfirmScheduleBody(Sent):
    digest = text(64, least=64)


class RunAnswer(Answer):
    at = fields.AwareDateTime()
    digest = fields.String()
    tried = fields.Boolean(metadata={"description": "counted only: nobody had confirmed"})
    counts = fields.Dict()


class ImprovementAnswer(Answer):
    month = fields.Date()
    about = fields.String(metadata={"description": "the ticket system's category, or `any`"})
    severity = fields.String()
    kind = fields.String()
    records = fields.Integer()
    median_hours = fields.Integer()


class ImprovementReportAnswer(Answer):
    month = fields.Date()
    made_at = fields.AwareDateTime()
    records = fields.Integer()
    grouped = fields.Integer(metadata={"description": "records that lost a value to stay"})
    left_out = fields.Integer(metadata={"description": "records too rare to be kept at all"})


@operation(blueprint, "GET /retention", answer=ScheduleAnswer)
def get_retention(tx: Tx) -> ScheduleView:
    """The schedule that stands, and what it would take now."""
    return _read(tx)


def _read(tx: Tx) -> ScheduleView:
    found = running.read(tx)
    if found is None:
        raise NotFound(NOT_THERE)
    return found


@operation(blueprint, "POST /retention/confirm", takes=ConfirmScheduleBody, answer=ScheduleAnswer)
def confirm_retention(tx: Tx, body: Json) -> ScheduleView:
    """From tonight on that schedule is carried out."""
    schedule.confirm(tx, body["digest"])
    return _read(tx)


@operation(blueprint, "GET /retention/runs", answer=list_of(RunAnswer))
def list_retention_runs(tx: Tx) -> Json:
    """What each night took, or would have taken, the youngest first."""
    return whole(running.list_runs(tx))


@operation(blueprint, "GET /improvement", answer=list_of(ImprovementAnswer))
def list_improvement(tx: Tx) -> Json:
    """What went wrong, by month, matter, severity and kind; of five customers at least each."""
    return whole(improving.list_rows(tx))


@operation(blueprint, "GET /improvement/reports", answer=list_of(ImprovementReportAnswer))
def list_improvement_reports(tx: Tx) -> Json:
    """How much of each month was kept, and how much was too rare."""
    return whole(improving.list_reports(tx))
