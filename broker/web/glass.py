"""Live: what is open now, its sessions and what they run, for as long as somebody watches."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from broker.grants import glass
from broker.grants.glass import Pane
from broker.web.session import begin, the_broker, visitor

pages = Blueprint("glass", __name__)


@pages.get("/live")
def show() -> ResponseReturnValue:
    return render_template("console/glass.html", panes=_look())


@pages.get("/fragments/live")
def fragment() -> ResponseReturnValue:
    return render_template("console/glass_live.html", panes=_look())


def _look() -> list[Pane]:
    broker = the_broker()
    panes = glass.look(broker.database, visitor().signed_in.actor, broker.queue)
    with begin():  # the page's times are against the instant after the look
        return panes
