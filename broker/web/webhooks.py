"""Webhooks of an organisation: registered, their deliveries read and sent again."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import people
from broker.errors import Invalid
from broker.ids import TenantId
from broker.outgoing import Outgoing
from broker.secret import Secret
from broker.web.languages import gettext
from broker.web.session import begin, the_broker
from broker.webhooks import registering
from broker.webhooks.model import FORMS, STANDARD
from broker.webhooks.registering import NewWebhook

pages = Blueprint("webhooks", __name__)


@pages.get("/tenants/<id:tenant_id>/webhooks")
def list_all(tenant_id: str) -> ResponseReturnValue:
    return _list_page(TenantId(tenant_id), {})


def _list_page(tenant_id: TenantId, problems: Mapping[str, str]) -> str:
    with begin() as tx:
        return render_template(
            "console/webhooks.html",
            tenant_id=tenant_id,
            webhooks=registering.list_webhooks(tx, tenant_id),
            forms=FORMS,
            may_change=people.may(tx, "webhook:configure", tenant_id),
            problems=problems,
            sent=request.form,
        )


@pages.post("/tenants/<id:tenant_id>/webhooks")
def register(tenant_id: str) -> ResponseReturnValue:
    form, tenant = request.form, TenantId(tenant_id)
    new = NewWebhook(
        name=form.get("name", ""),
        url=Secret(form.get("url", "")),
        form=form.get("form", STANDARD),
        kinds=form.get("kinds", "").split(),
    )
    local = Outgoing(the_broker().settings.outgoing.networks).allows_local
    try:
        with begin() as tx:
            row, secret = registering.register(tx, tenant, new, local=local)
            webhook_id = row.id
            if secret is not None:
                return _secret_page(webhook_id, row.name, secret)
    except Invalid as error:
        return _list_page(tenant, error.facts.get("fields", {})), 422
    flash(gettext("Registered. What happens from now on is told there."))
    return redirect(url_for(".show", webhook_id=webhook_id), 303)


@pages.get("/webhooks/<id:webhook_id>")
def show(webhook_id: str) -> ResponseReturnValue:
    with begin() as tx:
        row = registering.get(tx, webhook_id)
        return render_template(
            "console/webhook.html",
            webhook=row,
            deliveries=registering.list_deliveries(tx, webhook_id),
            may_change=people.may(tx, "webhook:configure", TenantId(row.tenant_id)),
        )


@pages.post("/webhooks/<id:webhook_id>/secret")
def replace_secret(webhook_id: str) -> ResponseReturnValue:
    with begin() as tx:
        secret = registering.replace_secret(tx, webhook_id)
        return _secret_page(webhook_id, registering.get(tx, webhook_id).name, secret)


@pages.post("/webhooks/<id:webhook_id>/remove")
def remove(webhook_id: str) -> ResponseReturnValue:
    with begin() as tx:
        tenant_id = registering.get(tx, webhook_id).tenant_id
        registering.remove(tx, webhook_id)
    flash(gettext("Removed. Nothing is told there any more."))
    return redirect(url_for(".list_all", tenant_id=tenant_id), 303)


@pages.post("/webhooks/<id:webhook_id>/deliveries/<id:delivery_id>/replay")
def replay(webhook_id: str, delivery_id: str) -> ResponseReturnValue:
    with begin() as tx:
        registering.replay(tx, webhook_id, delivery_id)
    flash(gettext("It is sent again, with the id that it had."))
    return redirect(url_for(".show", webhook_id=webhook_id), 303)


def _secret_page(webhook_id: str, name: str, secret: Secret[str]) -> str:
    return render_template(
        "console/webhook_secret.html", webhook_id=webhook_id, name=name, secret=secret.reveal()
    )
