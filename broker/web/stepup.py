"""Asking again who somebody is, before they decide, give, export or change settings.

What must stay true: a session that was left open, or stolen, gives nothing 5 minutes after its
person last proved who they are. What only takes away (ending, pausing, destroying) is never held
up. The form that was sent is kept in the page that asks, and goes on from there: nothing is lost.
"""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import authenticators, entering, passkeys, sessions
from broker.errors import BrokerError, NotAuthenticated, TooMany
from broker.tx import Tx, system
from broker.web import fetched
from broker.web.account import read_given
from broker.web.session import begin, local_path, seed_box, the_broker, visitor

pages = Blueprint("stepup", __name__)
RECENT = timedelta(minutes=5)
_ASKED_AGAIN = frozenset(
    f"console.{name}"
    for name in (
        *("grants.approve", "grants.refuse", "grants.order_copy"),
        *("standing.give", "standing.agree", "holds.agree", "holds.refuse", "holds.lift"),
        *("policies.change", "policies.confirm", "databases.allow_drills"),
        *("delegates.name", "reviews.close", "consents.give", "rights.export"),
        *("registered.register_platform", "registered.register_storage"),
        *("registered.register_server", "registered.replace_secret", "registered.replace_password"),
        *("codes.begin", "codes.remove", "codes.renew"),
        *("identity.register", "identity.change", "identity.remove", "identity.unlink"),
        *("directories.register", "directories.replace_token"),
        *("webhooks.register", "webhooks.replace_secret"),
        *("organisation.link", "passkeys.ask_registration", "passkeys.register", "passkeys.remove"),
        *("records.download_bundle", "records.download_events", "devices.approve"),
    )
)
# What a passkey signs for just this decision says more than having signed in lately.
_BY_PASSKEY = frozenset({"console.grants.approve", "console.grants.refuse"})
AGAIN = "confirm_again"  # sent once it was confirmed elsewhere
PASSWORD, CODE, ANSWER = "confirm_password", "confirm_code", "confirm_answer"  # names of fields


def require() -> ResponseReturnValue | None:
    """Before a request: nothing for one that may go on, else the page that asks."""
    if request.endpoint not in _ASKED_AGAIN or is_recent():
        return None
    if request.endpoint in _BY_PASSKEY and request.form.get("answer"):
        return None
    if request.method == "GET":
        path = local_path(request.full_path.removesuffix("?"))
        return redirect(url_for("console.stepup.show", next=path))
    if PASSWORD in request.form and AGAIN not in request.form:
        problem = _confirm()
        return _page(request.path, problem) if problem else None
    return _page(request.path, None)


def is_recent() -> bool:
    return bool(g.at - visitor().signed_in.authenticated_at <= RECENT)


@pages.get("/confirm")
def show() -> ResponseReturnValue:
    return _page(url_for(".confirm"), None, local_path(request.args.get("next", "/")))


@pages.post("/confirm")
def confirm() -> ResponseReturnValue:
    target = local_path(request.form.get("next", "/"))
    if AGAIN in request.form:
        return redirect(target, 303) if is_recent() else _page(url_for(".confirm"), None, target)
    problem = _confirm()
    return _page(url_for(".confirm"), problem, target) if problem else redirect(target, 303)


@pages.post("/confirm/options")
def ask() -> ResponseReturnValue:
    return fetched.options(_options)


def _options(tx: Tx) -> fetched.Options:
    broker, session_id = the_broker(), visitor().signed_in.session_id or ""
    return passkeys.ask_confirmation(tx, passkeys.party_of(broker.settings), session_id)


def _confirm() -> BrokerError | None:
    """Check what was sent of a person's proof, and note it on the session; what is wrong of it."""
    broker, session_id = the_broker(), visitor().signed_in.session_id or ""
    answer = request.form.get(ANSWER, "")
    try:
        if answer:
            _confirm_passkey(answer, session_id)
        else:
            given = read_given(PASSWORD, CODE)
            entering.confirm(broker.database, session_id, given, seed_box())
    except (NotAuthenticated, TooMany) as error:
        return error
    return None


def _confirm_passkey(answer: str, session_id: str) -> None:
    broker = the_broker()
    party = passkeys.party_of(broker.settings)
    taken = passkeys.take(broker.database, party, answer, passkeys.CONFIRM, session_id)
    with (
        passkeys.ending_clones(broker.database),
        broker.database.begin(system("sign-in")) as tx,
    ):
        passkeys.verify(tx, taken, visitor().person_id)
        sessions.note_confirmed(tx, session_id, "passkey")


def _page(
    action: str, problem: BrokerError | None, target: str | None = None
) -> ResponseReturnValue:
    """The fields of the form that waits are sent on with it, but not its token nor the proof."""
    own = {"csrf_token", PASSWORD, CODE, ANSWER, AGAIN, "next"}
    kept = [] if target else [pair for pair in _fields() if pair[0] not in own]
    with begin() as tx:
        held = bool(passkeys.list_passkeys(tx))
        coded = authenticators.is_on(tx, visitor().person_id)
    page = render_template(
        "console/confirm.html",
        action=action,
        fields=[("next", target)] if target else kept,
        has_passkey=held,
        organisation=visitor().signed_in.provider_id,
        needs_code=coded,
        problem=problem.message if problem else "",
    )
    asked_only = problem is None and request.method == "GET"
    return page, 200 if asked_only else 429 if isinstance(problem, TooMany) else 401


def _fields() -> list[tuple[str, str]]:
    return [(name, value) for name, values in request.form.lists() for value in values]
