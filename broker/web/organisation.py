"""Signing in, confirming and linking through an organisation's own sign-in service.

    GET /sign-in/organisation/<service>   to the service  ─▶  GET …/answer   back, with a code

What must stay true: which of these it was, for whom, and the state that must come back stand in a
cookie that we signed and that lives as long as one sign-in; these addresses change nothing by
themselves (a form could not lead to another host: `form-action 'self'`). An unknown service and one
that is not ready are answered alike (G12).
"""

from __future__ import annotations

import hmac
from dataclasses import asdict
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, flash, g, render_template, request
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer

from broker import signin
from broker.errors import BrokerError, Conflict, Denied, NotAuthenticated, NotFound
from broker.ids import is_id
from broker.oidc import answers, letting_in, links
from broker.oidc.going import ACCEPT, CONFIRM, ENTER, LINK, Going, address, answer_address
from broker.oidc.model import IdentityProvider
from broker.oidc.providers import find_live
from broker.oidc.tokens import Proven
from broker.secret import Secret
from broker.tx import Tx, system
from broker.web.languages import gettext, mark
from broker.web.session import (
    begin,
    local_path,
    open_session,
    remember_organisation,
    the_broker,
    visitor,
)

pages = Blueprint("organisation", __name__)
COOKIE = "__Host-going"
_LIVES_S = 600
_ACTOR = system("sign-in")


@pages.get("/sign-in/organisation/<id:provider_id>")
def start(provider_id: str) -> ResponseReturnValue:
    return _go(Going(provider_id, ENTER, local_path(request.args.get("next", "/"))))


@pages.post("/sign-in/organisation/accept")
def accept() -> ResponseReturnValue:
    """With the code of an invitation: on to the address that the organisation's people have.

    A page with a link answers, for a form may not lead to another host.
    """
    provider_id = urlsplit(request.form.get("at", "").strip()).path.rpartition("/")[2]
    try:
        with the_broker().database.begin(_ACTOR) as tx:
            invitation_id = signin.find_invitation(tx, Secret(request.form.get("code", "").strip()))
            going = Going(provider_id, ACCEPT, bound_to=invitation_id)
            link = _address(_find_ready(tx, provider_id), going)
    except NotFound as error:
        problem = {"problem": error.message, "organisation": request.form.get("at", "")}
        return render_template("console/invitation.html", **problem), 422
    return _keep(Response(render_template("console/organisation_on.html", link=link)), going)


@pages.get("/sign-in/organisation/<id:provider_id>/link")
def link(provider_id: str) -> ResponseReturnValue:
    if visitor().is_limited:
        raise Denied(mark("sign in with your own password or passkey to link another sign-in"))
    return _go(Going(provider_id, LINK, "/account", _session_id()))


@pages.get("/sign-in/organisation/confirm")
def confirm() -> ResponseReturnValue:
    provider_id = visitor().signed_in.provider_id or ""
    return _go(Going(provider_id, CONFIRM, bound_to=_session_id()))


@pages.get("/sign-in/organisation/answer")
def answer() -> ResponseReturnValue:
    """Where the service sends the browser back to."""
    try:
        return _forget(_take_answer())
    except (NotAuthenticated, Denied, Conflict) as error:
        return _forget(_refusal(error))


def _take_answer() -> Response:
    going = _read_cookie()
    if not hmac.compare_digest(request.args.get("state", "").encode(), going.state.encode()):
        raise NotAuthenticated(mark("this answer is for another sign-in; begin again"))
    broker = the_broker()
    with broker.database.begin(_ACTOR) as tx:
        provider = _find_ready(tx, going.provider_id)
        _check_issuer(provider)
    code = request.args.get("code", "")
    if not 1 <= len(code) <= 4096 or "error" in request.args:
        raise NotAuthenticated(mark("your organisation's sign-in service let nobody in"))
    # A try like one with a password; its state is no account, so the address alone is slowed.
    attempt = signin.count_attempt(broker.database, going.state_digest(), request.remote_addr or "")
    proven = answers.exchange(broker.database, broker.queue, going, Secret(code))
    done = _act(going, proven)
    with broker.database.begin(_ACTOR) as tx:
        signin.forget_attempt(tx, attempt)
    return done


def _act(going: Going, proven: Proven) -> Response:
    """What this was begun for."""
    database = the_broker().database
    if going.what in {LINK, CONFIRM} and going.bound_to != _session_id():
        raise NotAuthenticated(mark("your session ended meanwhile; sign in and begin again"))
    with database.begin(_ACTOR) as tx:
        provider = _find_ready(tx, going.provider_id)
        if going.what == CONFIRM:
            letting_in.confirm(tx, provider, proven, going.bound_to)
            return Response(render_template("console/organisation_done.html"))
        if going.what == ACCEPT:
            letting_in.accept(tx, provider, proven, going.bound_to)
    if going.what == LINK:
        with begin() as tx:
            provider = _find_ready(tx, going.provider_id)
            links.make(tx, provider, proven.subject, visitor().person_id)
        flash(gettext("Linked. You can sign in through your organisation from now on."))
        return _redirect(going.target)
    with database.begin(_ACTOR) as tx:
        letting_in.take_roles(tx, _find_ready(tx, going.provider_id), proven)
    with database.begin(_ACTOR) as tx:
        token, person_id = letting_in.enter(tx, _find_ready(tx, going.provider_id), proven)
    opened = open_session(token, person_id, going.target)
    remember_organisation(opened, going.provider_id)
    return opened


def _check_issuer(provider: IdentityProvider) -> None:
    """RFC 9207: an answer of another service is none of this one's (mix-up)."""
    said = request.args.get("iss")
    must = bool((provider.read or {}).get("names_itself"))
    if (said is None and must) or (said is not None and said != provider.issuer):
        raise NotAuthenticated(mark("this answer came from another sign-in service; begin again"))


def _find_ready(tx: Tx, provider_id: str) -> IdentityProvider:
    provider = find_live(tx, provider_id) if is_id(provider_id, "idp") else None
    if provider is None or not provider.is_ready:
        raise NotFound(mark("no organisation signs in at this address; ask an admin of yours"))
    return provider


def _go(going: Going) -> Response:
    with the_broker().database.begin(_ACTOR) as tx:
        where = _address(_find_ready(tx, going.provider_id), going)
    return _keep(_redirect(where), going)


def _address(provider: IdentityProvider, going: Going) -> str:
    return address(provider, going, answer_address(the_broker().settings.web.public_url))


def _redirect(where: str) -> Response:
    return Response(status=303, headers={"Location": where})


def _session_id() -> str:
    return (visitor().signed_in.session_id or "") if g.get("visitor") is not None else ""


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.secret_key or "", salt="organisation")


def _keep(response: Response, going: Going) -> Response:
    response.set_cookie(
        COOKIE,
        str(_serializer().dumps(asdict(going))),
        max_age=_LIVES_S,
        path="/",
        secure=True,
        httponly=True,
        samesite="Lax",
    )
    return response


def _read_cookie() -> Going:
    try:
        kept = _serializer().loads(request.cookies.get(COOKIE, ""), max_age=_LIVES_S)
    except BadSignature:
        raise NotAuthenticated(
            mark("this browser began no sign-in, or over 10 minutes ago; begin again")
        ) from None
    return Going(**kept)


def _forget(response: Response) -> Response:
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Lax")
    return response


def _refusal(error: BrokerError) -> Response:
    page = render_template("console/organisation_refused.html", problem=error.message)
    return Response(page, 403)
