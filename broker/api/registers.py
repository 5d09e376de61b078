"""The register of processing, breaches, and the privacy notice."""

from __future__ import annotations

from marshmallow import fields, validate

from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.shapes import Answer, Sent, list_of, text, whole
from broker.consents.purposes import LANGUAGES
from broker.db import Json
from broker.registers import breaches, processing
from broker.registers.breaches import BreachView, Known
from broker.registers.processing import Notice
from broker.tx import Tx

blueprint = new_blueprint("registers", "Registers, and the privacy notice")


class LanguageQuery(Sent):
    language = fields.String(load_default="en", validate=validate.OneOf(LANGUAGES))


class SectionAnswer(Answer):
    title = fields.String()
    lines = fields.List(fields.String())


class NoticeAnswer(Answer):
    language = fields.String()
    title = fields.String()
    sections = fields.List(fields.Nested(SectionAnswer))


class ActivityAnswer(Answer):
    name = fields.String()
    title = fields.String()
    purpose = fields.String()
    basis = fields.String()
    given_by = fields.String()
    max_days = fields.Integer()
    recipients = fields.List(fields.String())


class BreachBody(Sent):
    said = text(4000)
    things = fields.List(text(40), required=True, validate=validate.Length(1, 50))
    since = fields.AwareDateTime(required=True)
    until = fields.AwareDateTime(required=True)
    known_at = fields.AwareDateTime(required=True)


class NotifyBody(Sent):
    reference = text(400, least=0, required=False, load_default="")
    why_not = text(4000, least=0, required=False, load_default="")


class TellBody(Sent):
    text = text(4000)


class BreachAnswer(Answer):
    id = fields.String()
    said = fields.String()
    things = fields.List(fields.String())
    since = fields.AwareDateTime()
    until = fields.AwareDateTime()
    known_at = fields.AwareDateTime()
    due_at = fields.AwareDateTime(metadata={"description": "72 hours after it was known"})
    notified_at = fields.AwareDateTime(allow_none=True)
    authority_reference = fields.String(allow_none=True)
    unnotified_why = fields.String(allow_none=True)
    told_at = fields.AwareDateTime(allow_none=True)
    tenants = fields.List(fields.String(), metadata={"description": "those that the logs name"})


@operation(blueprint, "GET /notice", query=LanguageQuery, answer=NoticeAnswer)
def get_notice(tx: Tx, query: Json) -> Notice:
    """What is really done with data about people: made from what is configured now."""
    return processing.make_notice(tx, the_broker().settings.vendor.name, query["language"])


@operation(
    blueprint, "GET /registers/processing", query=LanguageQuery, answer=list_of(ActivityAnswer)
)
def list_processing(tx: Tx, query: Json) -> Json:
    """The register of processing (GDPR 30)."""
    return whole(processing.list_processing(tx, query["language"]))


@operation(blueprint, "GET /breaches", answer=list_of(BreachAnswer))
def list_breaches(tx: Tx) -> Json:
    """The register of breaches, the youngest first, with whom the logs say was hit."""
    return whole(breaches.list_views(tx))


@operation(blueprint, "POST /breaches", takes=BreachBody, answer=BreachAnswer, status=201)
def record_breach(tx: Tx, body: Json) -> BreachView:
    """Write down a breach: 72 hours run from when it was known."""
    things = tuple(body.pop("things"))
    return breaches.get_view(tx, breaches.record(tx, Known(things=things, **body)))


@operation(blueprint, "POST /breaches/<id:breach_id>/notify", takes=NotifyBody, answer=BreachAnswer)
def notify_breach(tx: Tx, body: Json, breach_id: str) -> BreachView:
    """The authority was notified, under its reference; or why it need not be."""
    breaches.notify(tx, breach_id, reference=body["reference"], why_not=body["why_not"])
    return breaches.get_view(tx, breach_id)


@operation(blueprint, "POST /breaches/<id:breach_id>/tell", takes=TellBody, answer=BreachAnswer)
def tell_breach(tx: Tx, body: Json, breach_id: str) -> BreachView:
    """Tell the admins of each customer that was hit, by mail and in their log."""
    breaches.tell(tx, breach_id, body["text"])
    return breaches.get_view(tx, breach_id)
