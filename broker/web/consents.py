"""What the organisation and its people consent to: one form for each purpose, and none for several.

What must stay true: nothing is ticked beforehand, no form names two purposes, and withdrawing is
one button on the same page as giving.
"""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import lifecycle, people, tenants
from broker.consents import ledger, queries
from broker.consents.ledger import Consent
from broker.consents.purposes import LANGUAGES, list_purposes
from broker.ids import TenantId
from broker.tx import Tx
from broker.web.languages import current, gettext
from broker.web.session import begin, the_broker

pages = Blueprint("consents", __name__)


@pages.get("/tenants/<id:tenant_id>/consents")
def show(tenant_id: str) -> ResponseReturnValue:
    asked = request.args.get("language") or current()
    language = asked if asked in LANGUAGES else "en"
    with begin() as tx:
        tenant = TenantId(tenant_id)
        consents = queries.list_consents(tx, tenant)
        return render_template(
            "console/consents.html",
            tenant=tenants.get_tenant(tx, tenant_id).name,
            tenant_id=tenant_id,
            language=language,
            parts=(
                [view for view in consents if not view.own],
                [view for view in consents if view.own],
            ),
            others=[purpose for purpose in list_purposes(tx) if not purpose.is_asked],
            acts=queries.list_acts(tx, tenant),
            may_give=people.may(tx, "consent:give", tenant),
        )


@pages.post("/tenants/<id:tenant_id>/consents/give")
def give(tenant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        ledger.give(tx, _read(tx, tenant_id), request.form.get("digest", ""))
    flash(gettext("Consent given. You can withdraw it here at any time, with one click."))
    return _back(tenant_id)


@pages.post("/tenants/<id:tenant_id>/consents/withdraw")
def withdraw(tenant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        consent = _read(tx, tenant_id)
        ended = lifecycle.withdraw_consent(tx, consent, the_broker().queue)
    told = gettext(
        "Withdrawn. What rested on it has ended: %(count)s in all. What was done before stands."
    )
    flash(told % {"count": ended})
    return _back(tenant_id)


def _read(tx: Tx, tenant_id: str) -> Consent:
    form = request.form
    purpose, about = form.get("purpose", ""), form.get("about", "")
    return queries.whose(tx, TenantId(tenant_id), purpose, about)


def _back(tenant_id: str) -> ResponseReturnValue:
    language = request.form.get("language") or current()
    return redirect(url_for(".show", tenant_id=tenant_id, language=language), 303)
