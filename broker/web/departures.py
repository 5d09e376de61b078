"""A customer leaves: when, how far it is, what it takes home."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import people, tenants
from broker.api.shapes import as_file
from broker.departures import announcing, closing, exporting
from broker.departures.model import DepartureView
from broker.errors import Invalid, NotFound
from broker.ids import TenantId
from broker.tx import Tx
from broker.web.languages import gettext
from broker.web.session import begin

pages = Blueprint("departures", __name__)


@pages.get("/tenants/<id:tenant_id>/departure")
def show(tenant_id: str) -> ResponseReturnValue:
    identity = TenantId(tenant_id)
    with begin() as tx:
        people.check(tx, "tenant:leave", identity)
        return render_template(
            "console/departure.html",
            tenant_id=tenant_id,
            name=tenants.get_tenant(tx, tenant_id).name,
            departure=_find(tx, identity),
            may_export=people.may(tx, "tenant:export", identity),
        )


def _find(tx: Tx, tenant_id: TenantId) -> DepartureView | None:
    try:
        return announcing.read(tx, tenant_id)
    except NotFound:
        return None


@pages.post("/tenants/<id:tenant_id>/departure")
def announce(tenant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        people.check(tx, "tenant:leave", TenantId(tenant_id))  # before any word on the form (G12)
        announcing.announce(tx, TenantId(tenant_id), _read_day(request.form.get("day", "")))
    flash(gettext("It was announced, and the admins were told."))
    return redirect(url_for(".show", tenant_id=tenant_id), 303)


@pages.post("/tenants/<id:tenant_id>/departure/cancel")
def cancel(tenant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        announcing.cancel(tx, TenantId(tenant_id))
    flash(gettext("It was taken back."))
    return redirect(url_for(".show", tenant_id=tenant_id), 303)


@pages.post("/tenants/<id:tenant_id>/departure/close")
def close(tenant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        closing.close_by_click(tx, TenantId(tenant_id))
    flash(gettext("Closed: nothing is alive any more."))
    return redirect(url_for(".show", tenant_id=tenant_id), 303)


@pages.post("/tenants/<id:tenant_id>/export")
def export(tenant_id: str) -> ResponseReturnValue:
    """By a button, for it leaves its entry in the log."""
    with begin() as tx:
        made = exporting.export(tx, TenantId(tenant_id))
    return as_file(made, "application/zip", f"{tenant_id}.zip")


def _read_day(text: str) -> datetime | None:
    """A day begins at midnight UTC; today is now."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise Invalid("that is no day", fields={"day": "YYYY-MM-DD"}) from None
    return None if day.date() == datetime.now(UTC).date() else day
