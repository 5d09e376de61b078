"""Your data: what is held of you, what you can ask; and the privacy officers' work list."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import people
from broker.api.shapes import as_file
from broker.consents import contacting
from broker.rights import acting, cases, exporting
from broker.web.languages import gettext
from broker.web.session import begin, the_broker, visitor

pages = Blueprint("rights", __name__)


@pages.get("/your-data")
def show() -> ResponseReturnValue:
    with begin() as tx:
        return render_template(
            "console/your_data.html",
            found=cases.list_cases(tx, own=True),
            kinds=cases.KINDS,
            shown=contacting.list_disclosures(tx),
        )


@pages.post("/your-data/export")
def export() -> ResponseReturnValue:
    """A form, not a link: it leaves an entry in the log."""
    with begin() as tx:
        made = exporting.export_person(tx, visitor().person_id)
    return as_file(made, "application/zip", "what-is-held-of-you.zip")


@pages.post("/your-data/ask")
def ask() -> ResponseReturnValue:
    form = request.form
    with begin() as tx:
        cases.ask(tx, form.get("kind", ""), form.get("said", ""))
    flash(gettext("Received. You get a mail, and an answer within a month."))
    return redirect(url_for(".show"), 303)


@pages.post("/your-data/object-to-marketing")
def object_to_marketing() -> ResponseReturnValue:
    with begin() as tx:
        acting.object_to_marketing(tx, the_broker().queue)
    flash(gettext("You get no marketing from now on."))
    return redirect(url_for(".show"), 303)


@pages.get("/rights")
def list_all() -> ResponseReturnValue:
    with begin() as tx:
        people.check(tx, "rights:handle")
        return render_template(
            "console/rights.html", found=cases.list_cases(tx), outcomes=cases.OUTCOMES
        )


@pages.post("/rights/<id:case_id>/extend")
def extend(case_id: str) -> ResponseReturnValue:
    with begin() as tx:
        cases.extend(tx, case_id, request.form.get("why", ""))
    flash(gettext("Two more months; the person was told why."))
    return redirect(url_for(".list_all"), 303)


@pages.post("/rights/<id:case_id>/answer")
def answer(case_id: str) -> ResponseReturnValue:
    form = request.form
    with begin() as tx:
        cases.answer(tx, case_id, form.get("outcome", ""), form.get("answer", ""))
    flash(gettext("Answered; the person was told."))
    return redirect(url_for(".list_all"), 303)
