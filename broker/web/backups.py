"""Regular backups: what was declared, each run and when its backup dies; restores."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import lifecycle, people, tenants
from broker.backups import queries, restores, rules, runs
from broker.backups.restores import Ask
from broker.consents import backup_plans
from broker.consents.backup_plans import Draft
from broker.errors import Invalid
from broker.ids import TenantId
from broker.people import Member
from broker.tx import Tx
from broker.web.languages import gettext
from broker.web.session import begin, the_broker

pages = Blueprint("backups", __name__)


@pages.get("/tenants/<id:tenant_id>/backups")
def list_all(tenant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        tenant = TenantId(tenant_id)
        may_declare = people.may(tx, "backup:declare")
        return render_template(
            "console/backups.html",
            tenant=tenants.get_tenant(tx, tenant_id).name,
            tenant_id=tenant_id,
            backups=queries.list_backups(tx, tenant),
            restores=queries.list_restores(tx, tenant),
            may_decide=people.may(tx, "restore:decide", tenant),
            databases=tenants.list_databases(tx, tenant) if may_declare else [],
            programs=_list_programs(tx) if may_declare else [],
        )


def _list_programs(tx: Tx) -> list[Member]:
    return [one for one in people.list_members(tx, None) if one.service and not one.disabled]


@pages.post("/tenants/<id:tenant_id>/backups")
def declare(tenant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        people.check(tx, "backup:declare")  # first: who may not learns nothing of the form (G12)
        backup_plans.declare(tx, _read_draft())
    flash(gettext("Declared. Nothing is read before an admin of the customer consents to it."))
    return redirect(url_for(".list_all", tenant_id=tenant_id), 303)


def _read_draft() -> Draft:
    form = request.form
    words = ("database_id", "runner_id", "host", "opens", "closes", "place")
    texts = {name: form.get(name, "").strip() for name in words}
    return Draft(
        **texts,
        every_s=_read_number("every") * 3600,
        longest_s=_read_number("longest") * 60,
        keep_days=_read_number("keep_days"),
        connections=_read_number("connections"),
    )


def _read_number(name: str) -> int:
    text = request.form.get(name, "").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise Invalid("that is no number", fields={name: "a whole number"})
    return int(text)


@pages.get("/backups/<id:backup_id>")
def show(backup_id: str) -> ResponseReturnValue:
    with begin() as tx:
        backup = queries.get_backup(tx, backup_id)
        tenant = TenantId(backup.tenant_id)
        return render_template(
            "console/backup.html",
            backup=backup,
            runs=queries.list_runs(tx, backup_id),
            unusual=rules.UNUSUAL,
            may_end=people.may(tx, "backup:end", tenant) and backup.state != "ended",
            may_ask=people.may(tx, "restore:ask", tenant),
            setup=queries.get_setup(tx, backup_id) if backup.state != "ended" else "",
        )


@pages.post("/backups/<id:backup_id>/end")
def end(backup_id: str) -> ResponseReturnValue:
    with begin() as tx:
        lifecycle.end_backup_by_click(tx, backup_id, the_broker().queue)
    flash(gettext("Ended. A login of it that is open is ended now; what was reported stays."))
    return redirect(url_for(".show", backup_id=backup_id), 303)


@pages.post("/backup-runs/<id:run_id>/restores")
def ask_restore(run_id: str) -> ResponseReturnValue:
    form = request.form
    texts = {name: form.get(name, "") for name in ("ticket_id", "reason", "target")}
    with begin() as tx:
        people.check(tx, "restore:ask")
        restores.ask(tx, run_id, Ask(**texts, hours=_read_number("hours")))
        tenant_id = runs.get(tx, run_id).tenant_id
    flash(gettext("Asked. Nothing is restored before an admin of the customer allows it."))
    return redirect(url_for(".list_all", tenant_id=tenant_id), 303)


@pages.post("/restores/<id:restore_id>/allow")
def allow(restore_id: str) -> ResponseReturnValue:
    with begin() as tx:
        row = restores.allow(tx, restore_id)
        tenant_id = row.tenant_id
    flash(gettext("Allowed: it can be used once, in its time. Refuse it to take that back."))
    return redirect(url_for(".list_all", tenant_id=tenant_id), 303)


@pages.post("/restores/<id:restore_id>/refuse")
def refuse(restore_id: str) -> ResponseReturnValue:
    with begin() as tx:
        tenant_id = restores.refuse(tx, restore_id).tenant_id
    flash(gettext("Refused: nothing is restored by it."))
    return redirect(url_for(".list_all", tenant_id=tenant_id), 303)
