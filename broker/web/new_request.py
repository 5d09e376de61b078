"""Asking for access: from an open ticket, in two steps that need no script."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import people, platforms, storages, tenants
from broker.errors import Invalid
from broker.grants import approval_policy, requests
from broker.grants.scope_kinds import MASKED, RAW, STRUCTURE
from broker.ids import TenantId
from broker.tickets.queries import get_ticket_view, list_tickets
from broker.tx import Tx
from broker.web.forms import choices, read_ask, read_seconds
from broker.web.languages import gettext, mark
from broker.web.session import begin, the_broker
from broker.web.words import KINDS

pages = Blueprint("new_request", __name__)
_FIELDS = {
    "reason": mark("Why"),
    "live_s": mark("Live access"),
    "copy_s": mark("A copy"),
    "platform": mark("Platform"),
    "platform_s": mark("Tokens for it"),
    "storage": mark("Objects"),
    "storage_s": mark("Sessions on them"),
    "category": mark("Category"),
    "starts_at": mark("Not before"),
    "extends": mark("More time"),
    "kind": mark("What is seen"),
    "raw_columns": mark("Columns in clear"),
    "develop": mark("Definitions of the copy"),
    "dedicated": mark("Server of the copy"),
}


@pages.get("/grants/new")
def choose_ticket() -> ResponseReturnValue:
    text = request.args.get("q", "").strip()
    with begin() as tx:
        people.check(tx, "grant:request")
        tickets = list_tickets(tx, text=text)
    return render_template("console/choose_ticket.html", tickets=tickets, text=text)


@pages.get("/grants/new/<id:ticket_id>")
def show_form(ticket_id: str) -> ResponseReturnValue:
    with begin() as tx:
        people.check(tx, "grant:request")
        return _form(tx, ticket_id, {})


@pages.post("/grants/new/<id:ticket_id>")
def ask(ticket_id: str) -> ResponseReturnValue:
    broker = the_broker()
    try:
        with begin() as tx:
            asked = read_ask(request.form, ticket_id)
            grant_id = requests.request(tx, asked, broker.settings.times, broker.queue)
    except Invalid as error:
        with begin() as tx:
            return _form(tx, ticket_id, error.facts.get("fields", {})), 422
    flash(
        gettext(
            "Your request is made and the customer's admins are told. Its plan is next; then two "
            "leads."
        )
        if asked.break_glass
        else gettext(
            "Your request is made. Its plan comes next; then the customer's admins are told."
        )
    )
    return redirect(url_for("console.grants.show", grant_id=grant_id), 303)


def _form(tx: Tx, ticket_id: str, problems: Mapping[str, str]) -> str:
    """Live access for its usual length, and no copy, unless the person had chosen otherwise."""
    ticket = get_ticket_view(tx, ticket_id)
    databases = tenants.list_databases(tx, ticket.tenant_id)
    times, sent = the_broker().settings.times, request.form
    live = times.access_default_s if "live_s" in problems else read_seconds(sent, "live_s")
    copy = 0 if "copy_s" in problems else read_seconds(sent, "copy_s")
    _, policy = approval_policy.find_in_force(tx, TenantId(ticket.tenant_id))
    platform = 0 if "platform_s" in problems else read_seconds(sent, "platform_s")
    storage = 0 if "storage_s" in problems else read_seconds(sent, "storage_s")
    return render_template(
        "console/new_request.html",
        ticket=ticket,
        databases=[(database.id, database.name) for database in databases],
        live_choices=choices(
            times.access_max_s, times.access_default_s if live is None else live, none=True
        ),
        platforms=[(one.id, one.name) for one in platforms.list_platforms(tx, ticket.tenant_id)],
        platform_choices=choices(times.access_max_s, platform or 0, none=True),
        storages=[
            (one.id, f"{one.name}: {one.bucket}/{one.prefix}")
            for one in storages.list_storages(tx, TenantId(ticket.tenant_id))
        ],
        storage_choices=choices(times.access_max_s, storage or 0, none=True),
        copy_choices=choices(times.copy_max_s, copy or 0, none=True),
        categories_offered=requests.CATEGORIES,
        kinds_offered=[(kind, KINDS[kind]) for kind in (MASKED, STRUCTURE, RAW)],
        extends=request.values.get("extends", ""),
        glass_s=policy.break_glass_max_s if policy.break_glass else 0,
        problems=problems,
        field_names=_FIELDS,
        sent=sent,
    )
