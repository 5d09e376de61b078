"""The rights of persons: export, what they ask and its clock, restriction, objection."""

from __future__ import annotations

from flask import Response
from marshmallow import fields, validate

from broker import erasing
from broker.api.operations import (
    check_scope,
    new_blueprint,
    operation,
    signed_in,
    the_broker,
)
from broker.api.shapes import Answer, Sent, as_file, identity, list_of, text, whole
from broker.db import Json
from broker.rights import acting, cases, exporting
from broker.rights.cases import CaseView
from broker.tx import Tx

blueprint = new_blueprint("rights", "Rights of persons")
_ZIP = {"type": "string", "format": "binary"}
_AS_ZIP = ["application/zip"]


class RightsQuery(Sent):
    open = fields.Boolean(load_default=False, metadata={"description": "not answered yet"})


class RightBody(Sent):
    kind = fields.String(required=True, validate=validate.OneOf(cases.KINDS))
    said = text(4000, least=0, required=False, load_default="")


class TakeInBody(RightBody):
    person = identity("psn")
    proof = text(200, least=3, metadata={"description": "how you know that it is them"})


class ExtendBody(Sent):
    why = text(2000, least=10)


class AnswerBody(Sent):
    outcome = fields.String(required=True, validate=validate.OneOf(cases.OUTCOMES))
    answer = text(4000, least=3)


class RestrictBody(Sent):
    restricted = fields.Boolean(required=True)


class RightsCaseAnswer(Answer):
    id = fields.String()
    person = fields.String(attribute="person_id")
    person_name = fields.String(attribute="person")
    kind = fields.String()
    said = fields.String()
    proof = fields.String()
    received_at = fields.AwareDateTime()
    due_at = fields.AwareDateTime(metadata={"description": "a month later; three if extended"})
    extended_at = fields.AwareDateTime(allow_none=True)
    extended_why = fields.String(allow_none=True)
    answered_at = fields.AwareDateTime(allow_none=True)
    outcome = fields.String(allow_none=True)
    answer = fields.String(allow_none=True)


class KeptAnswer(Answer):
    table = fields.String()
    key = fields.String()
    columns = fields.List(fields.String())
    why = fields.String()


class ErasureReportAnswer(Answer):
    id = fields.String(attribute="person_id")
    at = fields.AwareDateTime()
    openings = fields.Integer()
    kept = fields.List(fields.Nested(KeptAnswer))


_CASES = list_of(RightsCaseAnswer)


@operation(blueprint, "GET /me/export", answer=_ZIP, media=_AS_ZIP)
def export_me(tx: Tx) -> Response:
    """All that is held of you: a zip of JSON with its schema, and a page to read."""
    check_scope(signed_in(), None)  # not by a limited token, though it reads
    made = exporting.export_person(tx, signed_in().actor.person_id or "")
    return as_file(made, "application/zip", "what-is-held-of-you.zip")


@operation(blueprint, "GET /me/rights", answer=_CASES)
def list_my_rights(tx: Tx) -> Json:
    """What you asked of us about your data, and until when we answer."""
    return whole(cases.list_cases(tx, own=True))


@operation(blueprint, "POST /me/rights", takes=RightBody, answer=RightsCaseAnswer, status=201)
def ask_for_right(tx: Tx, body: Json) -> CaseView:
    """Ask for access, a copy, rectification, erasure, restriction, or object; within a month."""
    return cases.get_case(tx, cases.ask(tx, body["kind"], body["said"]))


@operation(blueprint, "POST /me/object-to-marketing", answer=RightsCaseAnswer)
def object_to_marketing(tx: Tx) -> CaseView:
    """No marketing from now on: it takes effect at once, and needs nobody's answer."""
    return cases.get_case(tx, acting.object_to_marketing(tx, the_broker().queue))


@operation(blueprint, "GET /rights", query=RightsQuery, answer=_CASES)
def list_rights(tx: Tx, query: Json) -> Json:
    """The privacy officers' work list, soonest due first."""
    return whole(cases.list_cases(tx, open_only=query["open"]))


@operation(blueprint, "POST /rights", takes=TakeInBody, answer=RightsCaseAnswer, status=201)
def take_in_right(tx: Tx, body: Json) -> CaseView:
    """Write down what a person asked by mail or by word; its month begins now."""
    case_id = cases.take_in(
        tx, body["person"], body["kind"], said=body["said"], proof=body["proof"]
    )
    return cases.get_case(tx, case_id)


@operation(blueprint, "POST /rights/<id:case_id>/extend", takes=ExtendBody, answer=RightsCaseAnswer)
def extend_right(tx: Tx, body: Json, case_id: str) -> CaseView:
    """Two more months, once, with a reason that the person is told."""
    cases.extend(tx, case_id, body["why"])
    return cases.get_case(tx, case_id)


@operation(blueprint, "POST /rights/<id:case_id>/answer", takes=AnswerBody, answer=RightsCaseAnswer)
def answer_right(tx: Tx, body: Json, case_id: str) -> CaseView:
    """Say what was done, or why not; the person is told."""
    cases.answer(tx, case_id, body["outcome"], body["answer"])
    return cases.get_case(tx, case_id)


@operation(blueprint, "GET /people/<id:person_id>/export", answer=_ZIP, media=_AS_ZIP)
def export_person(tx: Tx, person_id: str) -> Response:
    """All that is held of a person, for the privacy officer who answers them."""
    check_scope(signed_in(), None)
    made = exporting.export_person(tx, person_id)
    return as_file(made, "application/zip", f"{person_id}.zip")


@operation(blueprint, "POST /people/<id:person_id>/restrict", takes=RestrictBody, status=204)
def restrict_person(tx: Tx, body: Json, person_id: str) -> None:
    """What is held of them is stored and put to no other use; or lift that."""
    acting.restrict(tx, person_id, restricted=body["restricted"])


@operation(blueprint, "GET /people/<id:person_id>/erasure", answer=ErasureReportAnswer)
def get_erasure(tx: Tx, person_id: str) -> Json:
    """What an erasure left, row by row, each with its ground."""
    return erasing.get_report(tx, person_id)
