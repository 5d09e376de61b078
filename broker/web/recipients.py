"""Third parties: the register, what was handed over of a tenant's, and orders of authorities."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import people, tenants
from broker.api.shapes import as_file
from broker.consents import recipients
from broker.consents.recipients import About
from broker.errors import Invalid
from broker.ids import TenantId
from broker.snapshots import certificates
from broker.third_parties import handing, orders
from broker.third_parties.handing import Wanted
from broker.third_parties.orders import OrderView, Received
from broker.tx import Tx
from broker.web.languages import gettext
from broker.web.session import begin

pages = Blueprint("recipients", __name__)


@pages.get("/recipients")
def list_all() -> ResponseReturnValue:
    with begin() as tx:
        return render_template(
            "console/recipients.html",
            found=recipients.list_all(tx),
            kinds=recipients.KINDS,
            readable=[
                (tenant.id, tenant.name)
                for tenant in tenants.list_tenants(tx)
                if people.may(tx, "handover:read", TenantId(tenant.id))
            ],
            waiting=_list_waiting(tx),
        )


def _list_waiting(tx: Tx) -> list[OrderView]:
    """For privacy officers, what another of them must look at."""
    found = orders.list_views(tx) if people.may(tx, "order:record") else []
    return [order for order in found if order.state == "recorded"]


@pages.post("/recipients")
def add() -> ResponseReturnValue:
    form = request.form
    about = About(*(form.get(name, "") for name in ("name", "country", "use", "data", "safeguard")))
    with begin() as tx:
        recipients.add(tx, form.get("kind", ""), about)
    flash(gettext("On the register. Customers are told of a sub-processor 30 days ahead."))
    return redirect(url_for(".list_all"), 303)


@pages.post("/recipients/<id:recipient_id>/end")
def end(recipient_id: str) -> ResponseReturnValue:
    with begin() as tx:
        recipients.end(tx, recipient_id)
    flash(gettext("It gets nothing any more."))
    return redirect(url_for(".list_all"), 303)


@pages.get("/tenants/<id:tenant_id>/handovers")
def show(tenant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        tenant = TenantId(tenant_id)
        may_make = people.may(tx, "handover:make", tenant)
        return render_template(
            "console/handovers.html",
            tenant=tenants.get_tenant(tx, tenant_id).name,
            tenant_id=tenant_id,
            handovers=handing.list_handovers(tx, tenant),
            orders=orders.list_views(tx, tenant),
            may_make=may_make,
            may_record=people.may(tx, "order:record"),
            third_parties=recipients.list_all(tx, "third_party", open_only=True),
            issued=certificates.list_of_tenant(tx, tenant) if may_make else [],
        )


@pages.post("/tenants/<id:tenant_id>/handovers")
def hand_over(tenant_id: str) -> ResponseReturnValue:
    form = request.form
    certificate = form.get("certificate") or None
    what = "certificate" if certificate else "log"
    wanted = Wanted(form.get("to", ""), what, form.get("reason", ""), certificate)
    with begin() as tx:
        handover_id, document = handing.hand_over(tx, TenantId(tenant_id), wanted)
    return as_file(document, "application/json", f"{handover_id}.json")


@pages.post("/tenants/<id:tenant_id>/orders")
def record(tenant_id: str) -> ResponseReturnValue:
    form = request.form
    received = Received(
        authority=form.get("authority", ""),
        reference=form.get("reference", ""),
        legal_ground=form.get("legal_ground", ""),
        asked=form.get("asked", ""),
        silent_until=_read_day(form.get("silent_until", "")),
        silent_why=form.get("silent_why", "").strip() or None,
    )
    with begin() as tx:
        orders.record(tx, TenantId(tenant_id), received)
    flash(gettext("Recorded. Another privacy officer confirms or contests it."))
    return _back(tenant_id)


def _read_day(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
    except ValueError:
        raise Invalid("that is no day", fields={"silent_until": "a day, as 2027-01-31"}) from None


@pages.post("/orders/<id:order_id>/confirm")
def confirm(order_id: str) -> ResponseReturnValue:
    with begin() as tx:
        orders.confirm(tx, order_id)
        tenant_id = orders.get_view(tx, order_id).tenant_id
    flash(gettext("Confirmed. The customer is told now, or when the law's silence is over."))
    return _back(tenant_id)


@pages.post("/orders/<id:order_id>/contest")
def contest(order_id: str) -> ResponseReturnValue:
    with begin() as tx:
        orders.contest(tx, order_id, request.form.get("why", ""))
        tenant_id = orders.get_view(tx, order_id).tenant_id
    flash(gettext("Contested: nothing is handed over on it."))
    return _back(tenant_id)


def _back(tenant_id: str) -> ResponseReturnValue:
    return redirect(url_for(".show", tenant_id=tenant_id), 303)
