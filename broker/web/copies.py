"""Copies: how far they are, how long they live, and destroying one now."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import lifecycle
from broker.paging import Page
from broker.snapshots.queries import SnapshotView, list_snapshots
from broker.snapshots.states import NOT_DESTROYED
from broker.tx import Tx
from broker.web.holds import read_page
from broker.web.languages import gettext
from broker.web.session import begin, the_broker, visitor

pages = Blueprint("copies", __name__)
_DESTROYED_SHOWN = Page(limit=20)


@pages.get("/copies")
def list_all() -> ResponseReturnValue:
    with begin() as tx:
        living, destroyed = _read(tx)
    return render_template("console/copies.html", living=living, destroyed=destroyed)


@pages.get("/fragments/copies")
def fragment() -> ResponseReturnValue:
    with begin() as tx:
        living, destroyed = _read(tx)
    return render_template("console/copies_live.html", living=living, destroyed=destroyed)


def _read(tx: Tx) -> tuple[Sequence[SnapshotView], Sequence[SnapshotView]]:
    """An engineer's own; all that a person may see for the others."""
    who = visitor()
    me = who.person_id if "grant:request" in who.permissions else None
    living = list_snapshots(tx, requester_id=me, states=NOT_DESTROYED)
    gone = list_snapshots(tx, requester_id=me, states=("destroyed",), page=_DESTROYED_SHOWN)
    return living, gone


@pages.get("/copies/<id:snapshot_id>")
def show(snapshot_id: str) -> ResponseReturnValue:
    return _show(snapshot_id, "console/copy.html")


@pages.get("/fragments/copies/<id:snapshot_id>")
def fragment_of_one(snapshot_id: str) -> ResponseReturnValue:
    return _show(snapshot_id, "console/copy_live.html")


def _show(snapshot_id: str, template: str) -> str:
    with begin() as tx:
        page = read_page(tx, snapshot_id)
    return render_template(template, **page)


@pages.post("/copies/<id:snapshot_id>/attest")
def attest(snapshot_id: str) -> ResponseReturnValue:
    with begin() as tx:
        lifecycle.attest(tx, snapshot_id, request.form.get("took", ""), the_broker().queue)
    flash(gettext("What you said stands in the log. Nothing of the copy itself is left for long."))
    return redirect(url_for(".show", snapshot_id=snapshot_id), 303)


@pages.post("/copies/<id:snapshot_id>/destroy")
def destroy(snapshot_id: str) -> ResponseReturnValue:
    with begin() as tx:
        lifecycle.condemn_by_click(tx, snapshot_id, the_broker().queue)
    flash(
        gettext("The copy is condemned: its key dies first, then every part. There is no way back.")
    )
    return redirect(url_for(".show", snapshot_id=snapshot_id), 303)
