"""Directories of an organisation (SCIM), on the page of how its people sign in."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker.directories import registering
from broker.ids import TenantId
from broker.secret import Secret
from broker.web.languages import gettext
from broker.web.session import begin, the_broker

pages = Blueprint("directories", __name__)


@pages.post("/directories")
def register() -> ResponseReturnValue:
    form = request.form
    with begin() as tx:
        tenant_id = TenantId(form.get("tenant", ""))
        row, token = registering.register(
            tx, tenant_id, form.get("name", ""), form.get("role", "auditor")
        )
        return _token_page(row.name, row.tenant_id, token)


@pages.post("/directories/<id:directory_id>/token")
def replace_token(directory_id: str) -> ResponseReturnValue:
    with begin() as tx:
        row = registering.get(tx, directory_id)
        return _token_page(row.name, row.tenant_id, registering.replace_token(tx, directory_id))


@pages.post("/directories/<id:directory_id>/remove")
def remove(directory_id: str) -> ResponseReturnValue:
    with begin() as tx:
        tenant_id = registering.get(tx, directory_id).tenant_id
        registering.remove(tx, directory_id)
    flash(gettext("Removed. Its token opens nothing any more; the people stay as they are."))
    return redirect(url_for("console.identity.list_all", tenant=tenant_id), 303)


def _token_page(name: str, tenant_id: str, token: Secret[str]) -> str:
    return render_template(
        "console/directory_token.html",
        name=name,
        tenant_id=tenant_id,
        token=token.reveal(),
        address=f"{the_broker().settings.web.public_url.rstrip('/')}/scim/v2",
    )
