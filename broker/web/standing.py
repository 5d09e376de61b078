"""Standing approvals: listing them, giving one on a plan that was shown, agreeing, ending."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import lifecycle, people
from broker.errors import Invalid
from broker.grants import standing, standing_queries
from broker.grants.narrowing import Narrowing
from broker.grants.queries import get_grant_view, get_plan_view
from broker.grants.standing import Draft
from broker.grants.standing_rules import MOST_PER_TICKET
from broker.ids import TenantId
from broker.paging import MAX_PAGE, Page
from broker.tx import Tx
from broker.web.forms import Form, choices, read_instant, read_narrowing, read_seconds
from broker.web.languages import gettext
from broker.web.plan_page import Filter, show_plan
from broker.web.session import begin, the_broker

pages = Blueprint("standing", __name__)
_HOUR_S = 3600
_EVERYTHING = Filter(whole=True)


@pages.get("/standing-approvals")
def list_all() -> ResponseReturnValue:
    with begin() as tx:
        found = standing_queries.list_standing(tx, page=Page(limit=MAX_PAGE))
    return render_template("console/standing_list.html", found=found)


@pages.get("/standing-approvals/<id:standing_id>")
def show(standing_id: str) -> ResponseReturnValue:
    with begin() as tx:
        view = standing_queries.get_view(tx, standing_id)
        may_give = people.may(tx, "standing:give", TenantId(view.tenant_id))
        agreed = any(voice.person_id == tx.actor.person_id for voice in view.voices)
    return render_template(
        "console/standing.html",
        view=view,
        plan=show_plan(view.plan, _EVERYTHING, Narrowing()),
        may_agree=may_give and view.state == "proposed" and not agreed,
        may_end=may_give and view.state != "ended",
    )


@pages.get("/grants/<id:grant_id>/standing")
def show_form(grant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        return _form(tx, grant_id, {})


@pages.post("/grants/<id:grant_id>/standing")
def give(grant_id: str) -> ResponseReturnValue:
    try:
        with begin() as tx:
            times = the_broker().settings.times
            standing_id = standing.propose(tx, _read(request.form, grant_id), times)
            waits = standing_queries.get_view(tx, standing_id).state == "proposed"
    except Invalid as error:
        with begin() as tx:
            return _form(tx, grant_id, error.facts.get("fields", {"": error.message})), 422
    flash(
        gettext("Proposed. Nothing is approved in advance until another admin agrees.")
        if waits
        else gettext("In force. You are told by mail of each use, and can end it here at any time.")
    )
    return redirect(url_for(".show", standing_id=standing_id), 303)


@pages.post("/standing-approvals/<id:standing_id>/agree")
def agree(standing_id: str) -> ResponseReturnValue:
    with begin() as tx:
        standing.agree(tx, standing_id, request.form.get("digest", ""))
    flash(gettext("You agreed to this standing approval."))
    return redirect(url_for(".show", standing_id=standing_id), 303)


@pages.post("/standing-approvals/<id:standing_id>/end")
def end(standing_id: str) -> ResponseReturnValue:
    keep = "keep_grants" in request.form
    with begin() as tx:
        lifecycle.end_standing_by_click(tx, standing_id, the_broker().queue, keep=keep)
    flash(gettext("Ended. Nothing more is approved in advance by it."))
    return redirect(url_for(".show", standing_id=standing_id), 303)


def _read(form: Form, grant_id: str) -> Draft:
    """Raises Invalid naming the field."""
    ends_at = read_instant(form, "ends_at")
    if ends_at is None:
        raise Invalid("it needs an end", fields={"ends_at": "a date and a time"})
    return Draft(
        grant_id=grant_id,
        shown_digest=form.get("digest", ""),
        narrowing=read_narrowing(form),
        ends_at=ends_at,
        severities=_words(form, "severities"),
        categories=_words(form, "categories"),
        per_ticket=read_seconds(form, "per_ticket") or 0,
        note=form.get("note", ""),
    )


def _words(form: Form, name: str) -> tuple[str, ...]:
    return tuple(word for word in form.get(name, "").split(",") if word.strip())


def _form(tx: Tx, grant_id: str, problems: Mapping[str, str]) -> str:
    grant = get_grant_view(tx, grant_id)
    people.check(tx, "standing:give", TenantId(grant.tenant_id))
    shown = get_plan_view(tx, grant_id, "asked")
    times, form = the_broker().settings.times, request.form
    ticked = read_narrowing(form) if "live_s" not in problems else Narrowing()
    return render_template(
        "console/standing_form.html",
        grant=grant,
        digest=shown.digest,
        plan=show_plan(shown.plan, _EVERYTHING, ticked),
        live_choices=choices(times.access_max_s, _chosen(ticked.live_s, _HOUR_S), none=True),
        copy_choices=choices(times.copy_max_s, _chosen(ticked.copy_s, 0), none=True),
        days=times.standing_max_s // 86400,
        most_per_ticket=MOST_PER_TICKET,
        problems=problems,
        sent=form,
    )


def _chosen(sent: int | None, usual: int) -> int:
    return usual if sent is None else sent
