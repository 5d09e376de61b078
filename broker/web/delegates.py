"""Who decides for an admin who is away: the list, naming a delegate, taking it back."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import people, tenants
from broker.errors import Invalid
from broker.grants import delegates
from broker.grants.delegates import Absence
from broker.ids import TenantId
from broker.tx import Tx
from broker.web.forms import Form, read_instant
from broker.web.languages import gettext
from broker.web.session import begin

pages = Blueprint("delegates", __name__)


@pages.get("/tenants/<id:tenant_id>/delegates")
def show(tenant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        return _page(tx, TenantId(tenant_id), {})


@pages.post("/tenants/<id:tenant_id>/delegates")
def name(tenant_id: str) -> ResponseReturnValue:
    tenant = TenantId(tenant_id)
    try:
        with begin() as tx:
            delegates.name(tx, tenant, _read(request.form))
    except Invalid as error:
        with begin() as tx:
            return _page(tx, tenant, error.facts.get("fields", {})), 422
    flash(gettext("Named. You both get a mail, and either of you can end it at once."))
    return redirect(url_for(".show", tenant_id=tenant_id), 303)


@pages.post("/delegates/<id:delegation_id>/end")
def end(delegation_id: str) -> ResponseReturnValue:
    with begin() as tx:
        tenant_id = delegates.end(tx, delegation_id)
    flash(gettext("Ended. What the delegate approved counts no more."))
    return redirect(url_for(".show", tenant_id=tenant_id), 303)


def _read(form: Form) -> Absence:
    """Raises Invalid."""
    ends_at = read_instant(form, "ends_at")
    if ends_at is None:
        raise Invalid("say until when", fields={"ends_at": "say until when"})
    return Absence(form.get("delegate", ""), ends_at, read_instant(form, "starts_at"))


def _page(tx: Tx, tenant_id: TenantId, problems: Mapping[str, str]) -> str:
    me = tx.actor.person_id
    members = people.list_members(tx, tenant_id)
    return render_template(
        "console/delegates.html",
        delegations=delegates.list_delegations(tx, tenant_id),
        tenant=tenants.get_tenant(tx, tenant_id).name,
        tenant_id=tenant_id,
        me=me,
        may_name=people.may(tx, "delegate:name", tenant_id),
        others={one.person_id: one.name for one in members if one.person_id != me},
        sent=request.form,
        problems=problems,
        most=delegates.LONGEST.days,
    )
