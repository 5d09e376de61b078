"""A live database: our login there, making way for a migration, and drills of revocation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import people, removing, tenants
from broker.grants import contacts, drills, releasing, rotating
from broker.ids import TenantId
from broker.tenants import TenantDatabase
from broker.web import registered
from broker.web.forms import read_seconds
from broker.web.languages import gettext
from broker.web.session import begin, the_broker

pages = Blueprint("databases", __name__)


@pages.get("/databases")
def list_all() -> ResponseReturnValue:
    return registered.show_list()


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
        standbys, login = list(database.standbys), _read_login(database)
    return render_template(
        "console/database.html",
        standbys=standbys,
        name=database.name,
        tenant=tenant.name,
        identity=database_id,
        login=login,
        release=release,
        drills=drilled,
    )


@dataclass(frozen=True, slots=True)
class LoginShown:
    """The broker's own login there; `found_cluster` waits for a person's word."""

    login: str
    rotated_at: datetime | None
    refused_since: datetime | None
    cluster: str | None
    found_cluster: str | None


def _read_login(row: TenantDatabase) -> LoginShown:
    return LoginShown(row.login, row.rotated_at, row.refused_since, row.cluster, row.found_cluster)


@pages.post("/databases/<id:database_id>/rotate")
def rotate(database_id: str) -> ResponseReturnValue:
    with begin() as tx:
        rotating.rotate_by_click(tx, database_id, the_broker().queue)
    flash(gettext("The password is being changed; the old one is kept until the new one works."))
    return redirect(url_for(".show", database_id=database_id), 303)


@pages.post("/databases/<id:database_id>/confirm")
def confirm(database_id: str) -> ResponseReturnValue:
    """`cluster` is the one that the page showed: another that came since is not confirmed."""
    with begin() as tx:
        contacts.confirm(tx, database_id, request.form.get("cluster", ""))
    flash(gettext("Confirmed. What is there of ours is ended first; then logins are made again."))
    return redirect(url_for(".show", database_id=database_id), 303)


@pages.post("/databases/<id:database_id>/remove")
def remove(database_id: str) -> ResponseReturnValue:
    with begin() as tx:
        removing.remove_database(tx, database_id)
    flash(gettext("It is out of use, and its password forgotten here."))
    return redirect(url_for(".list_all"), 303)


@pages.post("/databases/<id:database_id>/drills")
def order_drill(database_id: str) -> ResponseReturnValue:
    with begin() as tx:
        drills.order(tx, database_id, the_broker().queue)
    flash(gettext("A drill was ordered. Load this page again in a moment to see how it came out."))
    return redirect(url_for(".show", database_id=database_id), 303)


@pages.post("/databases/<id:database_id>/drill-consent")
def allow_drills(database_id: str) -> ResponseReturnValue:
    """`every_s` is a number of seconds, 0 for on demand alone; without it they are forbidden."""
    every_s = read_seconds(request.form, "every_s")
    with begin() as tx:
        drills.allow(tx, database_id, allowed=every_s is not None, every_s=every_s or None)
    flash(
        gettext("Drills are allowed.")
        if every_s is not None
        else gettext("Drills are allowed no more.")
    )
    return redirect(url_for(".show", database_id=database_id), 303)


@pages.post("/databases/<id:database_id>/release")
def release(database_id: str) -> ResponseReturnValue:
    closed_s = read_seconds(request.form, "closed_s") or 0
    with begin() as tx:
        releasing.release(tx, database_id, closed_s, the_broker().queue)
    flash(
        gettext(
            "Released. Its logins are cut and the views dropped; this page says when it is clear."
        )
    )
    return redirect(url_for(".show", database_id=database_id), 303)


@pages.get("/fragments/databases/<id:database_id>/release")
def release_fragment(database_id: str) -> ResponseReturnValue:
    with begin() as tx:
        release = releasing.get_release_view(tx, database_id)
    return render_template("console/release.html", release=release)
