"""Letting a command line in: the code that it shows is typed here, looked at, and confirmed."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import device_logins
from broker.errors import BrokerError, Conflict, Invalid, TooMany
from broker.web.languages import gettext
from broker.web.session import begin, the_broker, visitor

pages = Blueprint("devices", __name__)


@pages.get("/device")
def show() -> ResponseReturnValue:
    return _page(None)


@pages.post("/device")
def find() -> ResponseReturnValue:
    """Look before anything is decided: where it was asked from, and when."""
    actor, address = visitor().signed_in.actor, request.remote_addr or ""
    code, database = request.form.get("code", ""), the_broker().database
    try:
        waiting = device_logins.find_waiting(database, actor, code, address)
    except (Invalid, Conflict, TooMany) as error:
        return _page(error), 429 if isinstance(error, TooMany) else 422
    return render_template("console/device_found.html", waiting=waiting)


@pages.post("/device/approve")
def approve() -> ResponseReturnValue:
    with begin() as tx:
        device_logins.approve(tx, request.form.get("code", ""))
    flash(gettext("The command line is signed in as you, for a day. You can close this page."))
    return redirect(url_for("console.home.show"), 303)


@pages.post("/device/refuse")
def refuse() -> ResponseReturnValue:
    with begin() as tx:
        device_logins.refuse(tx, request.form.get("code", ""))
    flash(
        gettext(
            "Refused: that program gets nothing. If somebody sent you the code, tell your admin."
        )
    )
    return redirect(url_for("console.home.show"), 303)


def _page(problem: BrokerError | None) -> str:
    return render_template("console/device.html", problem=problem)
