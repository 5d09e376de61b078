"""Preflights: each server that is registered, what was found there, and the SQL that mends it."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from broker.grants import preflights
from broker.web.languages import gettext
from broker.web.session import begin, the_broker

pages = Blueprint("preflights", __name__)


@pages.get("/preflight")
def list_all() -> ResponseReturnValue:
    with begin() as tx:
        views = preflights.list_views(tx)
    return render_template("console/preflights.html", views=views)


@pages.get("/preflight/<id:target>")
def show(target: str) -> ResponseReturnValue:
    with begin() as tx:
        view = preflights.get_view(tx, target)
    return render_template("console/preflight.html", view=view)


@pages.post("/preflight/<id:target>/check")
def check(target: str) -> ResponseReturnValue:
    with begin() as tx:
        preflights.ask_by_click(tx, target, the_broker().queue)
    flash(gettext("A look was ordered. Load this page again in a moment to see what it found."))
    return redirect(url_for(".show", target=target), 303)
