"""Signing in and out, and accepting an invitation."""

from __future__ import annotations

from flask import (
    Blueprint,
    Response,
    flash,
    g,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue

from broker import entering, readers, signin
from broker.entering import Given
from broker.errors import Invalid, NotAuthenticated, NotFound
from broker.secret import Secret
from broker.tx import system
from broker.web.languages import gettext, mark, remember
from broker.web.session import (
    begin,
    drop_cookie,
    end_session,
    local_path,
    open_session,
    remembered_organisation,
    seed_box,
    the_broker,
)

pages = Blueprint("account", __name__)


@pages.get("/sign-in")
def show_sign_in() -> ResponseReturnValue:
    return _sign_in_page(local_path(request.args.get("next", "/")))


@pages.post("/sign-in")
def sign_in() -> ResponseReturnValue:
    target = local_path(request.form.get("next", "/"))
    email = request.form.get("email", "")
    try:
        token, person_id = entering.sign_in(
            the_broker().database, email, read_given("password", "code"), seed_box()
        )
    except NotAuthenticated as error:
        return _sign_in_page(target, email, error.message), 401
    return open_session(token, person_id, target)


def _sign_in_page(target: str, email: str = "", problem: str = "") -> str:
    return render_template(
        "console/sign_in.html",
        target=target,
        email=email,
        problem=problem,
        organisation=remembered_organisation(),
    )


def read_given(password: str, code: str) -> Given:
    """What a form holds in the fields of these names."""
    return Given(
        password=Secret(request.form.get(password, "")),
        code=Secret(request.form[code]) if request.form.get(code) else None,
        address=request.remote_addr or "",
    )


@pages.post("/sign-out")
def sign_out() -> Response:
    end_session()
    session.clear()
    flash(gettext("You are signed out."))
    return drop_cookie(Response(status=303, headers={"Location": url_for(".show_sign_in")}))


@pages.post("/language")
def choose_language() -> Response:
    """Remember in which language this browser reads the console, and who is signed in, mails."""
    answer = Response(status=303, headers={"Location": local_path(request.form.get("next", "/"))})
    chosen = request.form.get("language", "")
    remember(answer, chosen)
    if g.visitor is not None:
        with begin() as tx:
            readers.choose_language(tx, chosen)
    return answer


@pages.get("/invitation")
def show_invitation() -> ResponseReturnValue:
    return _invitation_page("")


@pages.post("/invitation")
def accept_invitation() -> ResponseReturnValue:
    code = Secret(request.form.get("code", "").strip())
    password = Secret(request.form.get("password", ""))
    if password != Secret(request.form.get("again", "")):
        return _no_password(mark("the two passwords are not the same"))
    try:
        with the_broker().database.begin(system("invitation")) as tx:
            signin.accept_invitation(tx, code, password)
    except (Invalid, NotFound) as error:
        return _no_password(error.message)
    flash(gettext("Your password is set. Sign in with it."))
    return redirect(url_for(".show_sign_in"), 303)


def _no_password(problem: str) -> ResponseReturnValue:
    return _invitation_page(problem), 422


def _invitation_page(problem: str) -> str:
    return render_template(
        "console/invitation.html", problem=problem, organisation=remembered_organisation()
    )
