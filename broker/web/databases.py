"""A live database: making way for a migration, and drills of revocation."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import people, tenants
from broker.grants import drills, releasing
from broker.ids import TenantId
from broker.web.forms import read_seconds
from broker.web.session import begin, the_broker

pages = Blueprint("databases", __name__)


@pages.get("/databases")
def list_all() -> ResponseReturnValue:
    with begin() as tx:
        rows = [
            (tenant.name, database.id, database.name)
            for tenant in tenants.list_tenants(tx)
            for database in tenants.list_databases(tx, TenantId(tenant.id))
        ]
    return render_template("console/databases.html", rows=rows)


@pages.get("/databases/<id:database_id>")
def show(database_id: str) -> ResponseReturnValue:
    with begin() as tx:
        database = tenants.get_database(tx, database_id)
        tenant_id = TenantId(database.tenant_id)
        people.check(tx, "database:read", tenant_id)
        tenant = tenants.get_tenant(tx, tenant_id)
        may_release = people.may(tx, "database:release", tenant_id)
        release = releasing.get_release_view(tx, database_id) if may_release else None
        may_drill = people.may(tx, "drill:read", tenant_id)
        drilled = drills.get_views(tx, database_id) if may_drill else None
        standbys = list(database.standbys)
    return render_template(
        "console/database.html",
        standbys=standbys,
        name=database.name,
        tenant=tenant.name,
        identity=database_id,
        release=release,
        drills=drilled,
    )


@pages.post("/databases/<id:database_id>/drills")
def order_drill(database_id: str) -> ResponseReturnValue:
    with begin() as tx:
        drills.order(tx, database_id, the_broker().queue)
    flash("A drill was ordered. Load this page again in a moment to see how it came out.")
    return redirect(url_for(".show", database_id=database_id), 303)


@pages.post("/databases/<id:database_id>/drill-consent")
def allow_drills(database_id: str) -> ResponseReturnValue:
    """`every_s` is a number of seconds, 0 for on demand alone; without it they are forbidden."""
    every_s = read_seconds(request.form, "every_s")
    with begin() as tx:
        drills.allow(tx, database_id, allowed=every_s is not None, every_s=every_s or None)
    flash("Drills are allowed." if every_s is not None else "Drills are allowed no more.")
    return redirect(url_for(".show", database_id=database_id), 303)


@pages.post("/databases/<id:database_id>/release")
def release(database_id: str) -> ResponseReturnValue:
    closed_s = read_seconds(request.form, "closed_s") or 0
    with begin() as tx:
        releasing.release(tx, database_id, closed_s, the_broker().queue)
    flash(
        "Released. Its logins are being cut and the views dropped; this page says when it is clear."
    )
    return redirect(url_for(".show", database_id=database_id), 303)


@pages.get("/fragments/databases/<id:database_id>/release")
def release_fragment(database_id: str) -> ResponseReturnValue:
    with begin() as tx:
        release = releasing.get_release_view(tx, database_id)
    return render_template("console/release.html", release=release)
