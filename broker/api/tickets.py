"""Tickets, as the last look at their system found them."""

from __future__ import annotations

from marshmallow import fields

from broker import people, ticketing
from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.shapes import (
    Answer,
    PageQuery,
    Sent,
    list_of,
    page,
    read_page,
    sorting,
    states,
    text,
)
from broker.db import Json
from broker.errors import Conflict, Invalid
from broker.tickets import client, queries
from broker.tx import Tx

blueprint = new_blueprint("tickets", "Tickets")


class TicketQuery(PageQuery):
    sort = sorting("mirrored_at")
    state = states(queries.STATES, ["open"])
    external_id = text(128, required=False)
    search = text(
        200,
        required=False,
        load_default="",
        metadata={"description": "part of its id there, its title, or its tenant's name"},
    )


class TicketAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    tenant_name = fields.String()
    external_id = fields.String()
    title = fields.String()
    url = fields.String(allow_none=True)
    severity = fields.String(allow_none=True)
    category = fields.String(allow_none=True)
    open = fields.Boolean()
    mirrored_at = fields.AwareDateTime(metadata={"description": "when it was first seen"})
    seen_at = fields.AwareDateTime()


class LookBody(Sent):
    external_id = text(128)


class LookAnswer(Answer):
    external_id = fields.String()


@operation(blueprint, "GET /tickets", query=TicketQuery, answer=list_of(TicketAnswer))
def list_tickets(tx: Tx, query: Json) -> Json:
    """Tickets that I may see, open ones unless `state` says more; with `external_id` that one."""
    found = queries.list_tickets(
        tx,
        query.get("tenant"),
        external_id=query.get("external_id"),
        text=query["search"],
        states=query["state"] or queries.STATES,
        page=read_page(query),
    )
    return page(found, query)


@operation(
    blueprint,
    "POST /tickets/look",
    takes=LookBody,
    answer=LookAnswer,
    status=202,
    scope="grant:request",
)
def look_at_ticket(tx: Tx, body: Json) -> Json:
    """Fetch a ticket from its system soon, so that access can be asked on it."""
    people.check(tx, "ticket:read")
    tickets = the_broker().settings.tickets
    if tickets.url is None:
        raise Conflict("no ticket system is set up; see BROKER_TICKETS__URL")
    if not client.ID.match(body["external_id"]):
        raise Invalid("this can't be the id of a ticket", fields={"external_id": "not an id"})
    ticketing.take_hint(tx, the_broker().queue, tickets.kind, body["external_id"])
    return body
