"""The privacy notice for everybody; the registers for privacy officers."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import tenants
from broker.errors import Invalid
from broker.registers import breaches, processing
from broker.registers.breaches import Known
from broker.web.languages import current, gettext
from broker.web.session import begin, the_broker

pages = Blueprint("registers", __name__)


@pages.get("/privacy")
def show_notice() -> ResponseReturnValue:
    with begin() as tx:
        notice = processing.make_notice(tx, the_broker().settings.vendor.name, current())
    return render_template("console/notice.html", notice=notice)


@pages.get("/registers")
def show_processing() -> ResponseReturnValue:
    with begin() as tx:
        found = processing.list_processing(tx, current())
    return render_template("console/processing.html", found=found)


@pages.get("/breaches")
def list_breaches() -> ResponseReturnValue:
    with begin() as tx:
        found = breaches.list_views(tx)
        names = {tenant.id: tenant.name for tenant in tenants.list_tenants(tx)}
        return render_template("console/breaches.html", found=found, names=names)


@pages.post("/breaches")
def record() -> ResponseReturnValue:
    form = request.form
    known = Known(
        said=form.get("said", ""),
        things=tuple(form.get("things", "").replace(",", " ").split()),
        since=_read_at(form.get("since", ""), "since"),
        until=_read_at(form.get("until", ""), "until"),
        known_at=_read_at(form.get("known_at", ""), "known_at"),
    )
    with begin() as tx:
        breaches.record(tx, known)
    flash(gettext("Recorded. 72 hours run from when it was known."))
    return redirect(url_for(".list_breaches"), 303)


def _read_at(text: str, name: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise Invalid("that is no instant", fields={name: "as 2027-01-31T14:05, in UTC"}) from None


@pages.post("/breaches/<id:breach_id>/notify")
def notify(breach_id: str) -> ResponseReturnValue:
    form = request.form
    said = {name: form.get(name, "") for name in ("reference", "why_not")}
    with begin() as tx:
        breaches.notify(tx, breach_id, **said)
    flash(gettext("Written down."))
    return redirect(url_for(".list_breaches"), 303)


@pages.post("/breaches/<id:breach_id>/tell")
def tell(breach_id: str) -> ResponseReturnValue:
    with begin() as tx:
        told = breaches.tell(tx, breach_id, request.form.get("text", ""))
    flash(gettext("%(count)s customers were told, by mail and in their log.") % {"count": told})
    return redirect(url_for(".list_breaches"), 303)
