"""The broker's quarantine: why it stands, what it holds, and lifting it."""

from __future__ import annotations

from dataclasses import dataclass

from marshmallow import fields, validate

from broker import finds, lifecycle, quarantine
from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.shapes import Answer, Sent
from broker.db import Json
from broker.finds import Find
from broker.quarantine import QuarantineView
from broker.tx import Tx

blueprint = new_blueprint("quarantine", "The broker's own quarantine")


class HeldAnswer(Answer):
    kind = fields.String(metadata={"description": "`lease`, `scope`, `sandbox`, `artifact`, `key`"})
    name = fields.String()
    subject = fields.String(metadata={"description": "the lease, copy or database that it is of"})
    tenant = fields.String(attribute="tenant_id", allow_none=True)
    found_at = fields.AwareDateTime()
    reason = fields.String(attribute="stuck_reason", allow_none=True)


class OpenAnswer(Answer):
    id = fields.String()
    began_at = fields.AwareDateTime()
    why = fields.List(fields.String(), metadata={"description": "stable words"})
    reasons = fields.List(fields.String(), metadata={"description": "the same as sentences"})
    last_seen_at = fields.AwareDateTime(
        allow_none=True,
        metadata={"description": "decisions made shortly before may be missing in the record"},
    )


class QuarantineAnswer(Answer):
    quarantine = fields.Nested(OpenAnswer, allow_none=True)
    held = fields.List(
        fields.Nested(HeldAnswer),
        metadata={"description": "ours by their label, without a record; ended when it is lifted"},
    )


class LiftBody(Sent):
    grants = fields.String(
        required=True,
        validate=validate.OneOf(["keep", "end"]),
        metadata={"description": "`keep` what the record says is open, or `end` all of it"},
    )


class LiftedAnswer(Answer):
    ended = fields.Integer(metadata={"description": "how many grants and requests"})


@dataclass(frozen=True, slots=True)
class _Shown:
    quarantine: QuarantineView | None
    held: list[Find]


@operation(blueprint, "GET /quarantine", answer=QuarantineAnswer)
def get_quarantine(tx: Tx) -> _Shown:
    """Whether the broker holds still after a restore or a jump of its clock, and what it holds."""
    view = quarantine.find_view(tx)
    return _Shown(view, finds.list_unended(tx) if view else [])


@operation(
    blueprint,
    "POST /quarantine/<id:quarantine_id>/lift",
    takes=LiftBody,
    answer=LiftedAnswer,
)
def lift_quarantine(tx: Tx, body: Json, quarantine_id: str) -> Json:
    """Say that the record may be acted on again. What is held is ended, and tenants are told."""
    queue = the_broker().queue
    return {"ended": lifecycle.lift_quarantine(tx, quarantine_id, body["grants"], queue)}
