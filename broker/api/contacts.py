"""Reaching a tenant's people about a ticket: what they consented to show, or through the broker."""

from __future__ import annotations

from marshmallow import fields, validate

from broker.api.operations import new_blueprint, operation
from broker.api.shapes import Answer, Sent, identity, list_of, text, whole
from broker.consents import contacting
from broker.consents.contacting import Shown
from broker.db import Json
from broker.tx import Tx

blueprint = new_blueprint("contacts", "Contact details of tenants' people")


class ContactAnswer(Answer):
    person = fields.String(attribute="person_id")
    role = fields.String()
    may_be_shown = fields.List(
        fields.String(), metadata={"description": "fields to which the person consents now"}
    )


class ShowBody(Sent):
    person = identity("psn")
    field = fields.String(required=True, validate=validate.OneOf(contacting.FIELDS))


class ShownAnswer(Answer):
    person = fields.String(attribute="person_id")
    field = fields.String()
    value = fields.String()


class WriteBody(Sent):
    person = identity("psn")
    text = text(4000, least=3)


class DisclosureAnswer(Answer):
    field = fields.String()
    shown_to = fields.String()
    ticket = fields.String()
    at = fields.AwareDateTime()


@operation(blueprint, "GET /tickets/<id:ticket_id>/contacts", answer=list_of(ContactAnswer))
def list_contacts(tx: Tx, ticket_id: str) -> Json:
    """Who can be reached about an open ticket: opaque ids, and what may be shown of each."""
    return whole(contacting.list_contacts(tx, ticket_id))


@operation(
    blueprint, "POST /tickets/<id:ticket_id>/contacts/show", takes=ShowBody, answer=ShownAnswer
)
def show_contact(tx: Tx, body: Json, ticket_id: str) -> Shown:
    """Show me one field of one person, on their consent; they see that I looked."""
    return contacting.show(tx, ticket_id, body["person"], body["field"])


@operation(blueprint, "POST /tickets/<id:ticket_id>/contacts/write", takes=WriteBody, status=204)
def write_to_contact(tx: Tx, body: Json, ticket_id: str) -> None:
    """Write to a person through the broker, which shows nothing of them."""
    contacting.write(tx, ticket_id, body["person"], body["text"])


@operation(blueprint, "GET /me/disclosures", answer=list_of(DisclosureAnswer))
def list_my_disclosures(tx: Tx) -> Json:
    """What of me was shown, to whom, for which ticket; newest first."""
    return whole(contacting.list_disclosures(tx))
