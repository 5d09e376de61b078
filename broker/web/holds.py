"""Legal holds, on the page of their copy: asking, deciding, lifting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import people
from broker.errors import Invalid
from broker.ids import TenantId
from broker.snapshots import attesting, holds
from broker.snapshots.holds import Ask
from broker.snapshots.queries import get_snapshot_view
from broker.tx import Tx
from broker.web.languages import gettext
from broker.web.session import begin, the_broker, visitor

pages = Blueprint("holds", __name__)


def read_page(tx: Tx, snapshot_id: str) -> dict[str, Any]:
    """What the page of a copy shows of its holds and attestations, beside the copy itself."""
    copy = get_snapshot_view(tx, snapshot_id)
    tenant_id = TenantId(copy.tenant_id)
    return {
        "copy": copy,
        "may_destroy": people.may(tx, "snapshot:condemn", tenant_id),
        "may_attest": visitor().person_id == copy.requester_id
        and people.may(tx, "snapshot:attest", tenant_id),
        "attestations": attesting.list_views(tx, snapshot_id),
        "choices": attesting.SENTENCES,
        "holds": holds.list_views(tx, snapshot_id),
        "may_ask": people.may(tx, "hold:ask", tenant_id),
        "may_decide": people.may(tx, "hold:decide", tenant_id),
        "may_lift": people.may(tx, "hold:lift", tenant_id),
        "problems": {},
        "sent": {},
    }


@pages.post("/copies/<id:snapshot_id>/holds")
def ask(snapshot_id: str) -> ResponseReturnValue:
    try:
        with begin() as tx:
            holds.ask(tx, snapshot_id, _read(request.form), the_broker().queue)
    except Invalid as error:
        with begin() as tx:
            page = read_page(tx, snapshot_id)
        page |= {"problems": error.facts.get("fields", {}), "sent": request.form}
        return render_template("console/copy.html", **page), 422
    flash(
        gettext(
            "The hold is asked. It is in force when the customer agrees, or on an order at once."
        )
    )
    return _back(snapshot_id)


def _read(form: Mapping[str, str]) -> Ask:
    days, order = form.get("days", ""), form.get("order", "").strip()
    whole = int(days) if days.isascii() and days.isdigit() and len(days) < 4 else 0
    return Ask(form.get("reason", ""), whole, order or None)


@pages.post("/holds/<id:hold_id>/agree")
def agree(hold_id: str) -> ResponseReturnValue:
    with begin() as tx:
        holds.decide(tx, hold_id, agree=True, queue=the_broker().queue)
        snapshot_id = holds.get_view(tx, hold_id).snapshot_id
    flash(
        gettext(
            "The hold is in force: when the copy ends, its sealed form is kept, readable to nobody."
        )
    )
    return _back(snapshot_id)


@pages.post("/holds/<id:hold_id>/refuse")
def refuse(hold_id: str) -> ResponseReturnValue:
    with begin() as tx:
        holds.decide(tx, hold_id, agree=False, queue=the_broker().queue)
        snapshot_id = holds.get_view(tx, hold_id).snapshot_id
    flash(gettext("The hold is refused: the copy is destroyed as ever."))
    return _back(snapshot_id)


@pages.post("/holds/<id:hold_id>/lift")
def lift(hold_id: str) -> ResponseReturnValue:
    with begin() as tx:
        holds.lift(tx, hold_id, the_broker().queue)
        snapshot_id = holds.get_view(tx, hold_id).snapshot_id
    flash(gettext("The hold is over. A copy that has ended is destroyed now."))
    return _back(snapshot_id)


def _back(snapshot_id: str) -> ResponseReturnValue:
    return redirect(url_for("console.copies.show", snapshot_id=snapshot_id), 303)
