"""What operators register besides databases: platforms, storages and test servers.

What must stay true: no password of a server is typed here, for this process may not read it (ADR
0002); what comes is sealed by `broker servers seal`. A platform's secret is on one page, once.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import lifecycle, people, platforms, removing, storages, tenants
from broker.errors import NOT_THERE, Invalid, NotFound
from broker.grants import contacts, preflights, rotating
from broker.ids import TenantId
from broker.secret import Secret
from broker.snapshots import placing
from broker.snapshots.model import Snapshot
from broker.tenants import TestServer
from broker.tx import Tx
from broker.web.forms import Form
from broker.web.languages import gettext
from broker.web.session import begin, the_broker

pages = Blueprint("registered", __name__)
_HOST, _LOGIN, _PATH, _SEALED = 255, 63, 1024, 8192  # characters
_PORTS = range(1, 65536)
_GIGABYTES = re.compile(r"\A[1-9][0-9]{0,8}\Z")


@dataclass(frozen=True, slots=True)
class Refused:
    """What could not be registered: `kind` of it, and what is wrong with each field."""

    kind: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


def show_list(refused: Refused | None = None) -> str:
    """All that is registered, as far as this person may see it."""
    with begin() as tx:
        known = tenants.list_tenants(tx)
        return render_template(
            "console/databases.html",
            tenants={one.id: one.name for one in known},
            databases=tenants.list_databases(tx),
            platforms=platforms.list_platforms(tx),
            storages=storages.list_storages(tx),
            servers=tenants.list_servers(tx) if people.may(tx, "server:read") else None,
            refused=refused or Refused(),
            sent=request.form,
        )


def _ask_again(kind: str, error: Invalid) -> ResponseReturnValue:
    return show_list(Refused(kind, error.facts.get("fields", {}))), 422


@pages.post("/platforms")
def register_platform() -> ResponseReturnValue:
    form = request.form
    try:
        with begin() as tx:
            tenant_id = TenantId(form.get("tenant", ""))
            platform_id, secret = platforms.register(
                tx, tenant_id, form.get("name", ""), form.get("audience", "")
            )
            return _secret_page(tx, platform_id, secret)
    except Invalid as error:
        return _ask_again("platform", error)


@pages.get("/platforms/<id:platform_id>")
def show_platform(platform_id: str) -> ResponseReturnValue:
    with begin() as tx:
        row = platforms.get_platform(tx, platform_id)
        people.check(tx, "platform:read", TenantId(row.tenant_id))
        tenant = tenants.get_tenant(tx, row.tenant_id)
        return render_template("console/platform.html", platform=row, tenant=tenant.name)


@pages.post("/platforms/<id:platform_id>/secret")
def replace_secret(platform_id: str) -> ResponseReturnValue:
    with begin() as tx:
        return _secret_page(tx, platform_id, platforms.replace_secret(tx, platform_id))


@pages.post("/platforms/<id:platform_id>/remove")
def remove_platform(platform_id: str) -> ResponseReturnValue:
    with begin() as tx:
        lifecycle.remove_platform(tx, platform_id, the_broker().queue)
    flash(gettext("Removed. Requests and grants on it end, with all that rests on them."))
    return redirect(url_for("console.databases.list_all"), 303)


def _secret_page(tx: Tx, platform_id: str, secret: Secret[str]) -> str:
    platform = platforms.get_platform(tx, platform_id)
    return render_template(
        "console/platform_secret.html", platform=platform, secret=secret.reveal()
    )


@pages.post("/storages")
def register_storage() -> ResponseReturnValue:
    form = request.form
    try:
        with begin() as tx:
            tenant_id = TenantId(form.get("tenant", ""))
            place = (form.get("bucket", ""), form.get("prefix", ""))
            storage_id = storages.register(tx, tenant_id, form.get("name", ""), *place)
    except Invalid as error:
        return _ask_again("storage", error)
    flash(gettext("Registered. Support may ask for it from now on."))
    return redirect(url_for(".show_storage", storage_id=storage_id), 303)


@pages.get("/storages/<id:storage_id>")
def show_storage(storage_id: str) -> ResponseReturnValue:
    with begin() as tx:
        row = storages.get_storage(tx, storage_id)
        people.check(tx, "storage:read", TenantId(row.tenant_id))
        tenant = tenants.get_tenant(tx, row.tenant_id)
        return render_template("console/storage.html", storage=row, tenant=tenant.name)


@pages.post("/storages/<id:storage_id>/remove")
def remove_storage(storage_id: str) -> ResponseReturnValue:
    with begin() as tx:
        lifecycle.remove_storage(tx, storage_id, the_broker().queue)
    flash(gettext("Removed. Requests and grants on it end, with all that rests on them."))
    return redirect(url_for("console.databases.list_all"), 303)


@pages.post("/servers")
def register_server() -> ResponseReturnValue:
    try:
        server = _read_server(request.form)
        with begin() as tx:
            server_id = tenants.register_server(tx, server)
            preflights.ask(tx, server_id, the_broker().queue)
    except Invalid as error:
        return _ask_again("server", error)
    flash(gettext("Registered. It is being looked at; the preflight says what it lacks."))
    return redirect(url_for(".show_server", server_id=server_id), 303)


@pages.get("/servers/<id:server_id>")
def show_server(server_id: str) -> ResponseReturnValue:
    return _show_server(server_id)


def _show_server(server_id: str, problem: str = "") -> ResponseReturnValue:
    with begin() as tx:
        page = render_template(
            "console/server.html",
            server=_get_server(tx, server_id),
            reserved=placing.reserved_bytes(tx, Snapshot.server_id == server_id),
            asked=request.form.get("gigabytes", ""),
            problem=problem,
        )
    return (page, 422) if problem else page


@pages.post("/servers/<id:server_id>/capacity")
def set_capacity(server_id: str) -> ResponseReturnValue:
    asked = request.form.get("gigabytes", "").strip()
    if asked and not _GIGABYTES.match(asked):
        return _show_server(server_id, gettext("a number of gigabytes, from 1 on"))
    with begin() as tx:
        _get_server(tx, server_id)
        tenants.set_capacity(tx, server_id, int(asked) * 10**9 if asked else None)
    flash(gettext("Set. Copies that are there stay; one that would not fit is refused."))
    return redirect(url_for(".show_server", server_id=server_id), 303)


@pages.post("/servers/<id:server_id>/rotate")
def rotate_server(server_id: str) -> ResponseReturnValue:
    with begin() as tx:
        _get_server(tx, server_id)
        rotating.rotate_by_click(tx, server_id, the_broker().queue)
    flash(gettext("The password is being changed; the old one is kept until the new one works."))
    return redirect(url_for(".show_server", server_id=server_id), 303)


@pages.post("/servers/<id:server_id>/password")
def replace_password(server_id: str) -> ResponseReturnValue:
    with begin() as tx:
        _get_server(tx, server_id)
        rotating.replace_password(tx, server_id, _read_sealed(request.form), the_broker().queue)
    flash(gettext("It is being tried there, and kept if it works."))
    return redirect(url_for(".show_server", server_id=server_id), 303)


@pages.post("/servers/<id:server_id>/confirm")
def confirm_server(server_id: str) -> ResponseReturnValue:
    """`cluster` is the one that the page showed: another that came since is not confirmed."""
    with begin() as tx:
        _get_server(tx, server_id)
        contacts.confirm(tx, server_id, request.form.get("cluster", ""))
    flash(gettext("Confirmed. What is there of ours is ended first; then logins are made again."))
    return redirect(url_for(".show_server", server_id=server_id), 303)


@pages.post("/servers/<id:server_id>/remove")
def remove_server(server_id: str) -> ResponseReturnValue:
    with begin() as tx:
        _get_server(tx, server_id)
        removing.remove_server(tx, server_id)
    flash(gettext("It is out of use, and its password forgotten here."))
    return redirect(url_for("console.databases.list_all"), 303)


def _get_server(tx: Tx, server_id: str) -> TestServer:
    """The vendor's own: for a tenant's person there is none (G12)."""
    if not people.may(tx, "server:read"):
        raise NotFound(NOT_THERE)
    return tenants.get_server(tx, server_id)


def _read_server(form: Form) -> TestServer:
    """Raises Invalid naming each field."""
    port = form.get("port", "")
    problems = {
        name: gettext("1 to %(most)s characters") % {"most": most}
        for name, most in (("host", _HOST), ("login", _LOGIN))
        if not 1 <= len(form.get(name, "").strip()) <= most
    }
    if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) in _PORTS):
        problems["port"] = gettext("a number from 1 to 65535")
    try:
        sealed = _read_sealed(form)
    except Invalid as error:
        problems |= error.facts["fields"]
    if problems:
        raise Invalid("this can't be a test server", fields=problems)
    return TestServer(
        name=form.get("name", ""),
        host=form["host"].strip(),
        port=int(port),
        login=form["login"].strip(),
        sealed_password=sealed,
        ca_file=form.get("ca_file", "").strip()[:_PATH] or None,
        kind="dedicated" if "dedicated" in form else "shared",
    )


def _read_sealed(form: Form) -> bytes:
    text = "".join(form.get("sealed_password", "")[:_SEALED].split())
    try:
        sealed = base64.b64decode(text, validate=True)
    except binascii.Error:
        sealed = b""
    if not sealed:
        problem = gettext("what `broker servers seal` prints, whole")
        raise Invalid("this is no sealed password", fields={"sealed_password": problem})
    return sealed
