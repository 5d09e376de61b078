"""A person's authenticator app: set up, confirmed by its first code, removed; recovery codes."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import accounts, authenticators, entering
from broker.errors import NotAuthenticated
from broker.letters import phrase
from broker.people import Person
from broker.secret import Secret
from broker.tx import Tx
from broker.web.languages import gettext
from broker.web.session import begin as begin_tx
from broker.web.session import seed_box, the_broker, visitor

pages = Blueprint("codes", __name__)


@pages.post("/account/authenticator")
def begin() -> ResponseReturnValue:
    """Shown on the page that answers, and kept sealed alone."""
    with begin_tx() as tx:
        seed = authenticators.begin(tx, visitor().person_id, seed_box())
        account = tx.session.get_one(Person, visitor().person_id).email
    address = authenticators.address_of(seed, the_broker().settings.vendor.name, account)
    return render_template(
        "console/authenticator.html", seed=seed.reveal(), address=address.reveal(), problem=""
    )


@pages.post("/account/authenticator/confirm")
def confirm() -> ResponseReturnValue:
    code = request.form.get("code", "")
    try:
        with begin_tx() as tx:
            made = authenticators.confirm(tx, visitor().person_id, code, seed_box())
            _note(tx, "authenticator.added")
    except NotAuthenticated as error:
        return render_template("console/authenticator.html", problem=error.message), 422
    return _show(made)


@pages.post("/account/authenticator/recovery-codes")
def renew() -> ResponseReturnValue:
    with begin_tx() as tx:
        made = authenticators.make_recovery_codes(tx, visitor().person_id)
        _note(tx, "recovery_codes.made")
    return _show(made)


@pages.post("/account/authenticator/remove")
def remove() -> ResponseReturnValue:
    with begin_tx() as tx:
        authenticators.forget_person(tx, visitor().person_id)
        _note(tx, "authenticator.removed")
    flash(gettext("The authenticator app is removed: your password alone signs you in again."))
    return redirect(url_for("console.passkeys.show"), 303)


_SAID = {
    "authenticator.added": phrase("An authenticator app was set up for your account."),
    "authenticator.removed": phrase("The authenticator app of your account was removed."),
    "recovery_codes.made": phrase("New recovery codes were made for your account."),
}


def _note(tx: Tx, kind: str) -> None:
    accounts.record_for_all(tx, tx.session.get_one(Person, visitor().person_id), kind)
    entering.tell(tx, visitor().person_id, _SAID[kind])


def _show(made: list[Secret[str]]) -> str:
    return render_template("console/recovery_codes.html", codes=[code.reveal() for code in made])
