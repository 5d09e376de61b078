"""Reviews of break-glass: the banners that say that one is owed, and closing one."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from broker.grants import reviews
from broker.web.languages import gettext
from broker.web.session import begin

pages = Blueprint("reviews", __name__)


@pages.post("/reviews/<id:review_id>/close")
def close(review_id: str) -> ResponseReturnValue:
    with begin() as tx:
        reviews.close(tx, review_id, request.form.get("note", ""))
        grant_id = reviews.get_view(tx, review_id).grant_id
    flash(gettext("The review is closed. Your note stands beside it."))
    return redirect(url_for("console.grants.show", grant_id=grant_id), 303)
