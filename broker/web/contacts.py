"""Reaching a customer's people about a ticket: a field that they consent to show, or a message."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker.consents import contacting
from broker.consents.contacting import Shown
from broker.tickets.queries import get_ticket_view
from broker.web.languages import gettext, mark
from broker.web.session import begin

pages = Blueprint("contacts", __name__)
_FIELDS = {"name": mark("name"), "email": mark("email")}


@pages.get("/tickets/<id:ticket_id>/contacts")
def list_all(ticket_id: str) -> ResponseReturnValue:
    return _page(ticket_id, None)


@pages.post("/tickets/<id:ticket_id>/contacts/show")
def show(ticket_id: str) -> ResponseReturnValue:
    """Shown once, on the page that answers: it is kept nowhere but in the trace that it was."""
    form = request.form
    with begin() as tx:
        shown = contacting.show(tx, ticket_id, form.get("person", ""), form.get("field", ""))
    return _page(ticket_id, shown)


@pages.post("/tickets/<id:ticket_id>/contacts/write")
def write(ticket_id: str) -> ResponseReturnValue:
    form = request.form
    with begin() as tx:
        contacting.write(tx, ticket_id, form.get("person", ""), form.get("text", ""))
    flash(gettext("Sent by mail; the answer comes on the ticket."))
    return redirect(url_for(".list_all", ticket_id=ticket_id), 303)


def _page(ticket_id: str, shown: Shown | None) -> str:
    with begin() as tx:
        return render_template(
            "console/contacts.html",
            ticket=get_ticket_view(tx, ticket_id),
            contacts=contacting.list_contacts(tx, ticket_id),
            shown=shown,
            field_words=_FIELDS,
        )
