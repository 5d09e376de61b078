"""A person's own page: passkeys and sessions; and signing in with a passkey."""

from __future__ import annotations

import secrets

from flask import Blueprint, flash, jsonify, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from broker import authenticators, passkeys, readers, sessions
from broker.errors import NotAuthenticated, TooMany
from broker.letters import DECLINABLE, KINDS
from broker.oidc import links
from broker.passkeys import Answered, Party
from broker.readers import Reading
from broker.tx import system
from broker.web import fetched
from broker.web.languages import gettext, say_error
from broker.web.session import begin, local_path, open_session, the_broker, visitor

pages = Blueprint("passkeys", __name__)
_BROWSER = "browser"  # in Flask's own signed cookie: which stranger's browser asked


@pages.get("/account")
def show() -> ResponseReturnValue:
    with begin() as tx:
        held = passkeys.list_passkeys(tx)
        opened = sessions.list_sessions(tx, the_broker().settings.times)
        reading = readers.read(tx)
        coded = authenticators.is_on(tx, visitor().person_id)
        services = links.list_offered(tx)
        left = authenticators.count_recovery_codes(tx, visitor().person_id)
    return render_template(
        "console/account.html",
        passkeys=held,
        sessions=opened,
        own=visitor().signed_in.session_id,
        reading=reading,
        coded=coded,
        services=services,
        recovery_left=left,
        notices=KINDS,
        declinable=DECLINABLE,
    )


@pages.post("/account/mails")
def choose_mails() -> ResponseReturnValue:
    """Ticked are those that are wanted; what is owed is not asked."""
    wanted = Reading(
        request.form.get("language") or None,
        request.form.get("zone", "").strip() or None,
        DECLINABLE - set(request.form.getlist("notice")),
    )
    with begin() as tx:
        readers.choose(tx, wanted)
    flash(gettext("Kept. Your next mail comes like this."))
    return _back()


@pages.post("/account/passkeys/options")
def ask_registration() -> ResponseReturnValue:
    return fetched.options(lambda tx: passkeys.ask_registration(tx, party(), _session_id()))


@pages.post("/account/passkeys")
def register() -> ResponseReturnValue:
    answer, name = request.form.get("answer", ""), request.form.get("name", "")
    taken = passkeys.take(the_broker().database, party(), answer, passkeys.REGISTER, _session_id())
    with begin() as tx:
        passkeys.register(tx, taken, name)
    flash(gettext("Your passkey is registered. Your decisions can be signed with it from now on."))
    return _back()


@pages.post("/account/passkeys/<id:passkey_id>/name")
def rename(passkey_id: str) -> ResponseReturnValue:
    with begin() as tx:
        passkeys.rename(tx, passkey_id, request.form.get("name", ""))
    flash(gettext("The passkey has its new name."))
    return _back()


@pages.post("/account/passkeys/<id:passkey_id>/remove")
def remove(passkey_id: str) -> ResponseReturnValue:
    with begin() as tx:
        passkeys.remove(tx, passkey_id)
    flash(
        gettext(
            "The passkey is removed: it opens nothing here any more. What it signed stays signed."
        )
    )
    return _back()


@pages.post("/account/sessions/<id:session_id>/end")
def end_session(session_id: str) -> ResponseReturnValue:
    with begin() as tx:
        sessions.end_own_session(tx, session_id)
    flash(gettext("That session is ended."))
    return _back()


@pages.post("/sign-in/passkey/options")
def ask_sign_in() -> ResponseReturnValue:
    session[_BROWSER] = browser = secrets.token_urlsafe(32)
    try:
        with the_broker().database.begin(system("sign-in")) as tx:
            return jsonify(passkeys.ask_sign_in(tx, party(), browser, request.remote_addr or ""))
    except TooMany as error:
        return jsonify(error=say_error(error.message)), 429


@pages.post("/sign-in/passkey")
def sign_in() -> ResponseReturnValue:
    target, database = local_path(request.form.get("next", "/")), the_broker().database
    bound_to = passkeys.browser_key(session.pop(_BROWSER, ""))
    try:
        taken = passkeys.take(
            database, party(), request.form.get("answer", ""), passkeys.SIGN_IN, bound_to
        )
        with passkeys.ending_clones(database):
            token, person_id = passkeys.sign_in(database, taken, address=request.remote_addr or "")
    except NotAuthenticated as error:
        page = render_template(
            "console/sign_in.html", target=target, email="", problem=error.message
        )
        return page, 401
    return open_session(token, person_id, target)


def asking() -> tuple[Party, str]:
    """Whom a passkey is for, and which session asks."""
    return party(), _session_id()


def read_answer() -> Answered | None:
    """A passkey's answer for the decision of this form; None where it was made without one."""
    answer = request.form.get("answer", "")
    if not answer:
        return None
    return passkeys.take(the_broker().database, party(), answer, passkeys.DECIDE, _session_id())


def party() -> Party:
    return passkeys.party_of(the_broker().settings)


def _session_id() -> str:
    return visitor().signed_in.session_id or ""


def _back() -> ResponseReturnValue:
    return redirect(url_for("console.passkeys.show"), 303)
