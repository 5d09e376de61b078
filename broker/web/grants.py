"""A request or grant: reading it, deciding on it, using it, ending it."""

from __future__ import annotations

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import lifecycle
from broker.errors import Invalid
from broker.grants import challenges, deciding, decisions, pausing
from broker.grants.queries import get_grant_view
from broker.passkeys import ending_clones
from broker.snapshots import ordering
from broker.web import fetched, grant_page
from broker.web.forms import read_narrowing
from broker.web.languages import gettext
from broker.web.passkeys import asking, read_answer
from broker.web.plan_page import Filter
from broker.web.session import begin, the_broker

pages = Blueprint("grants", __name__)
_NOTE_MAX = 2000


@pages.route("/grants/<id:grant_id>", methods=["GET", "POST"])
def show(grant_id: str) -> ResponseReturnValue:
    """POST shows it as well, filtered, with what was ticked so far; neither changes anything."""
    values = request.values
    wanted = Filter(values.get("q", ""), "only_kept" in values, "whole" in values)
    with begin() as tx:
        page = grant_page.read(tx, grant_id, wanted, read_narrowing(values))
    return render_template(
        "console/grant.html",
        page=page,
        note=values.get("note", ""),
        rows_only=values.get("rows_only", ""),
        no_develop="no_develop" in values,
        start=values.get("starts_at", ""),
    )


@pages.get("/fragments/grants/<id:grant_id>")
def fragment(grant_id: str) -> ResponseReturnValue:
    """Where it stands now: without its plan, for each reading of a plan is written down."""
    with begin() as tx:
        use = grant_page.read_use(tx, get_grant_view(tx, grant_id))
    return render_template("console/grant_use.html", use=use)


@pages.post("/grants/<id:grant_id>/approve")
def approve(grant_id: str) -> ResponseReturnValue:
    shown, note = request.form.get("digest", ""), request.form.get("note", "")
    if len(note) > _NOTE_MAX:
        raise Invalid("the note is too long", fields={"note": f"{_NOTE_MAX} characters at most"})
    answered = read_answer()
    with ending_clones(the_broker().database), begin() as tx:
        deciding.approve(tx, grant_id, shown, read_narrowing(request.form), note, answered=answered)
        waits = get_grant_view(tx, grant_id).state == "requested"
    flash(
        gettext("You approved this request. Nothing is given until another admin approves it too.")
        if waits
        else gettext("You approved this request. It ends by itself; you can end it at any time.")
    )
    return redirect(url_for(".show", grant_id=grant_id), 303)


@pages.post("/grants/<id:grant_id>/approve/options")
def ask_approval(grant_id: str) -> ResponseReturnValue:
    """Checks all that approving would, and gives what the person's passkey is to sign."""
    return fetched.options(
        lambda tx: challenges.ask_approval(
            tx,
            grant_id,
            request.form.get("digest", ""),
            read_narrowing(request.form),
            asking(),
        )
    )


@pages.post("/grants/<id:grant_id>/refuse/options")
def ask_refusal(grant_id: str) -> ResponseReturnValue:
    return fetched.options(lambda tx: challenges.ask_refusal(tx, grant_id, asking()))


@pages.get("/decisions/<id:decision_id>/statement")
def statement(decision_id: str) -> ResponseReturnValue:
    """The signed statement of a decision, byte for byte."""
    with begin() as tx:
        envelope = decisions.read_decision_envelope(tx, decision_id)
    answer = Response(envelope, mimetype="application/json")
    answer.headers.set("Content-Disposition", "attachment", filename=f"{decision_id}.dsse.json")
    return answer


@pages.post("/grants/<id:grant_id>/refuse")
def refuse(grant_id: str) -> ResponseReturnValue:
    answered = read_answer()
    with ending_clones(the_broker().database), begin() as tx:
        deciding.refuse(tx, grant_id, request.form.get("note", ""), answered=answered)
    flash(gettext("You refused this request. Nothing was or will be seen under it."))
    return redirect(url_for(".show", grant_id=grant_id), 303)


@pages.post("/grants/<id:grant_id>/end")
def end(grant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        lifecycle.end_grant_by_click(tx, grant_id, the_broker().queue)
    flash(gettext("Ended. Its logins are being cut and its copies destroyed."))
    return redirect(url_for(".show", grant_id=grant_id), 303)


@pages.post("/grants/<id:grant_id>/copies")
def order_copy(grant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        snapshot_id = ordering.order(tx, grant_id, None, the_broker().queue)
    flash(gettext("The copy is ordered."))
    return redirect(url_for("console.copies.show", snapshot_id=snapshot_id), 303)


@pages.post("/grants/<id:grant_id>/pause")
def pause(grant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        pausing.pause_grant(tx, grant_id, the_broker().queue)
    flash(
        gettext(
            "A pause was asked. This page says of each login when it is done; no end has moved."
        )
    )
    return redirect(url_for(".show", grant_id=grant_id), 303)


@pages.post("/grants/<id:grant_id>/resume")
def resume(grant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        pausing.resume_grant(tx, grant_id, the_broker().queue)
    flash(gettext("The pause was lifted. The access ends when it was to end."))
    return redirect(url_for(".show", grant_id=grant_id), 303)


@pages.post("/leases/<id:lease_id>/pause")
def pause_lease(lease_id: str) -> ResponseReturnValue:
    with begin() as tx:
        pausing.pause_lease(tx, lease_id, the_broker().queue)
    flash(gettext("A pause was asked: its sessions are being cut. This page says when it is done."))
    return redirect(url_for("console.glass.show"), 303)


@pages.post("/leases/<id:lease_id>/resume")
def resume_lease(lease_id: str) -> ResponseReturnValue:
    with begin() as tx:
        pausing.resume_lease(tx, lease_id, the_broker().queue)
    flash(gettext("The pause was lifted. The login ends when it was to end."))
    return redirect(url_for("console.glass.show"), 303)


@pages.post("/leases/<id:lease_id>/end")
def end_lease(lease_id: str) -> ResponseReturnValue:
    with begin() as tx:
        lifecycle.end_lease_by_click(tx, lease_id, the_broker().queue)
    flash(gettext("The login is being cut; its open sessions end with it."))
    return redirect(url_for("console.home.show"), 303)
