"""Who asks: the session cookie, looked up in the table of sessions on every request.

What must stay true: the application has checked the form token before `guard` reads the cookie (see
`broker.http`); a page that was left open keeps no session alive; nothing about a person stands in
Flask's own session, which carries the form token and short notices only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flask import Response, current_app, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue

from broker import entering, people, readers, sessions
from broker.authenticators import SEED_BOX, SeedBox
from broker.bootstrap import Broker
from broker.errors import Denied, Invalid, NotAuthenticated
from broker.ids import PersonId, is_id
from broker.secret import Secret
from broker.sessions import SignedIn
from broker.tx import Tx, system
from broker.web.languages import current, mark

COOKIE = "__Host-session"
ORGANISATION = "__Host-organisation"  # an address to sign in at, not a proof
DEVICE = "__Host-device"  # opens nothing: a browser without it is told of as new
_YEAR_S = 365 * 86400
_PUBLIC = frozenset(
    f"console.{name}"
    for name in ("static", "account.show_sign_in", "account.sign_in", "account.show_invitation")
) | {
    "console.account.accept_invitation",
    "console.account.choose_language",
    "console.passkeys.ask_sign_in",
    "console.passkeys.sign_in",
    "console.organisation.start",
    "console.organisation.answer",
    "console.organisation.accept",
}
# About the account itself, which may belong to several organisations.
_OWN_ACCOUNT = ("console.passkeys.", "console.codes.", "console.devices.", "console.rights.")
# Paths of ours, with a plain query; no second slash or backslash that a browser reads as a host.
_LOCAL = re.compile(r"/(?:[A-Za-z0-9_.-][A-Za-z0-9_./-]*)?(?:\?[A-Za-z0-9_.=&%+-]*)?")


@dataclass(frozen=True, slots=True)
class Visitor:
    """The signed-in person; `permissions` are for menus, the domain decides again."""

    signed_in: SignedIn
    permissions: frozenset[str]

    @property
    def person_id(self) -> PersonId:
        person_id = self.signed_in.actor.person_id
        assert person_id is not None  # noqa: S101  # for the type checker: a session has a person
        return person_id

    @property
    def is_limited(self) -> bool:
        """Signed in through the service of one customer, and so limited to it."""
        return self.signed_in.actor.tenants is not None


def the_broker() -> Broker:
    broker: Broker = current_app.extensions["broker"]
    return broker


def seed_box() -> SeedBox:
    box: SeedBox = current_app.extensions[SEED_BOX]
    return box


def guard() -> ResponseReturnValue | None:
    """Before each request of the console: find out who asks, and send strangers to sign in."""
    g.visitor = None
    if request.endpoint == "console.static":
        return None
    _refuse_null_characters()
    g.visitor = _find_visitor()
    if g.visitor is not None:
        _check_own_account(g.visitor)
    if g.visitor is not None or request.endpoint in _PUBLIC:
        return None
    if request.method == "GET" and not _asked_by_page():
        return redirect(url_for("console.account.show_sign_in", next=_own_path()))
    raise NotAuthenticated(mark("you are not signed in, or your session has ended"))


def _check_own_account(visitor: Visitor) -> None:
    """Whoever runs one organisation's sign-in service must not reach what the person has elsewhere,
    nor learn whether there is anything (G12).
    """
    mine = (request.endpoint or "").startswith(_OWN_ACCOUNT) and request.endpoint not in _PUBLIC
    if mine and visitor.is_limited:
        raise Denied(
            mark(
                "you are signed in through your organisation; your own account is open to your "
                "own password or passkey alone"
            )
        )


def _refuse_null_characters() -> None:
    """PostgreSQL's text has none, and nothing that a person writes needs one."""
    if any("\0" in value for values in request.values.listvalues() for value in values):
        raise Invalid("what was sent holds a character that can't be kept")


def visitor() -> Visitor:
    found: Visitor = g.visitor
    return found


@contextmanager
def begin() -> Iterator[Tx]:
    """The view's one transaction, as the person who asks; pages show times against its instant."""
    with the_broker().database.begin(visitor().signed_in.actor) as tx:
        g.at = tx.at
        yield tx


def _find_visitor() -> Visitor | None:
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    broker = the_broker()
    with broker.database.begin(system("web")) as tx:
        found = sessions.find_session(
            tx, Secret(token), broker.settings.times, touch=not _asked_by_page()
        )
        if found is None:
            return None
        g.at = tx.at
        permissions = people.list_permissions(Tx(tx.session, tx.at, found.actor))
    return Visitor(found, frozenset(permissions))


def _asked_by_page() -> bool:
    """Whether a script asks for a fragment by itself: each such path starts like this."""
    return request.path.startswith("/fragments/")


def open_session(token: Secret[str], person_id: PersonId, target: str) -> Response:
    """Give the cookie, and a form token that nobody could have known before."""
    end_session()
    session.clear()
    before = request.cookies.get(DEVICE)
    with the_broker().database.begin(system("sign-in")) as tx:
        readers.note_language(tx, person_id, current())
        device = entering.note_device(tx, person_id, Secret(before) if before else None)
    response = Response(status=303, headers={"Location": local_path(target)})
    response.set_cookie(
        COOKIE, token.reveal(), path="/", secure=True, httponly=True, samesite="Lax"
    )
    response.set_cookie(
        DEVICE,
        device.reveal(),
        max_age=_YEAR_S,
        path="/",
        secure=True,
        httponly=True,
        samesite="Lax",
    )
    return response


def remembered_organisation() -> str | None:
    """Whose sign-in service this browser used last; shown to this browser alone (G12)."""
    found = request.cookies.get(ORGANISATION, "")
    return found if is_id(found, "idp") else None


def remember_organisation(response: Response, provider_id: str) -> None:
    response.set_cookie(
        ORGANISATION,
        provider_id,
        max_age=_YEAR_S,
        path="/",
        secure=True,
        httponly=True,
        samesite="Lax",
    )


def end_session() -> None:
    """End the session of this request's cookie, if there is one."""
    token = request.cookies.get(COOKIE)
    if token:
        with the_broker().database.begin(system("web")) as tx:
            sessions.end_session(tx, Secret(token))


def drop_cookie(response: Response) -> Response:
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Lax")
    return response


def local_path(target: str) -> str:
    """`target` if it is a path on this console, else the first page: no redirect leads away."""
    return target if _LOCAL.fullmatch(target) else "/"


def _own_path() -> str | None:
    path = local_path(request.full_path.removesuffix("?"))
    return path if path != "/" else None
