"""What people decided, and the signed statements of decisions and of ends of access."""

from __future__ import annotations

from flask import Response
from marshmallow import fields

from broker.api.operations import new_blueprint, operation
from broker.api.shapes import Answer, as_file, list_of, whole
from broker.db import Json
from broker.grants import decisions
from broker.tx import Tx

blueprint = new_blueprint("decisions", "Decisions and signed statements")


class DecisionAnswer(Answer):
    """`live_s`, `copy_s`, `platform_s`, `storage_s`, `starts_at` and `given_digest`: what this
    person gives.
    """

    id = fields.String()
    grant = fields.String(attribute="grant_id")
    verdict = fields.String(metadata={"description": "`approved`, `refused` or `ended`"})
    settles = fields.Boolean(metadata={"description": "it answered the request"})
    person = fields.String(attribute="person_id")
    person_name = fields.String(attribute="person")
    side = fields.String()
    via = fields.String(metadata={"description": "how the person had authenticated"})
    stood_in_for = fields.String(
        attribute="for_id",
        allow_none=True,
        metadata={"description": "the admin whose delegate decided"},
    )
    stood_in_for_name = fields.String(attribute="for_person", allow_none=True)
    delegation = fields.String(attribute="delegation_id", allow_none=True)
    at = fields.AwareDateTime()
    shown_digest = fields.String(allow_none=True)
    given_digest = fields.String(allow_none=True)
    live_s = fields.Integer()
    copy_s = fields.Integer()
    platform_s = fields.Integer()
    kind = fields.String(allow_none=True, metadata={"description": "what this person shows"})
    tables_restricted = fields.Integer(
        metadata={"description": "of how many tables only some rows; which, the given plan says"}
    )
    storage_s = fields.Integer()
    starts_at = fields.AwareDateTime(allow_none=True)
    note = fields.String(allow_none=True)
    standing = fields.String(
        attribute="standing_id",
        allow_none=True,
        metadata={"description": "the standing approval by which it was given in advance"},
    )
    signed_at = fields.AwareDateTime(allow_none=True)
    passkey = fields.String(
        allow_none=True,
        metadata={
            "description": "SHA-256 of the public key of the person's passkey that signed the "
            "decision itself; null: the vendor attests it"
        },
    )


@operation(blueprint, "GET /grants/<id:grant_id>/decisions", answer=list_of(DecisionAnswer))
def list_decisions(tx: Tx, grant_id: str) -> Json:
    """What people decided on a request or grant, oldest first."""
    return whole(decisions.list_decisions(tx, grant_id))


@operation(blueprint, "GET /decisions/<id:decision_id>/envelope", answer={"type": "object"})
def get_decision_envelope(tx: Tx, decision_id: str) -> Response:
    """The signed statement (DSSE) of a decision; a conflict until a worker has signed it."""
    envelope = decisions.read_decision_envelope(tx, decision_id)
    return as_file(envelope, "application/json", f"{decision_id}.dsse.json")


@operation(blueprint, "GET /leases/<id:lease_id>/statement", answer={"type": "object"})
def get_end_envelope(tx: Tx, lease_id: str) -> Response:
    """The signed statement (DSSE) of a login's end: when refused, when dead, when gone."""
    envelope = decisions.read_end_envelope(tx, lease_id)
    return as_file(envelope, "application/json", f"{lease_id}.end.dsse.json")
