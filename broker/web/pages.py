"""What all pages share: how values read, what templates know, and the page of an error.

What must stay true: the page of what is not there and of what may not be seen is the same, byte
for byte, whatever was looked for (G12): it holds no id, no form token, no word of the error's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, g, render_template, request
from flask.typing import ResponseReturnValue
from flask_bootstrap import Bootstrap5
from flask_wtf.csrf import CSRFError

from broker.api.problems import NOT_FOUND
from broker.bootstrap import Broker
from broker.errors import BrokerError, NotFound
from broker.http import ERROR_PAGE
from broker.passkeys import PasskeyRefused
from broker.web import words
from broker.web.session import local_path


@dataclass(frozen=True, slots=True)
class ErrorWords:
    """What the page says beside what happened: what was not done, and what to do."""

    title: str
    undone: str
    todo: str


_ERRORS = {
    400: ErrorWords("This could not be read", "Nothing was changed.", "Go back and try again."),
    401: ErrorWords("You are not signed in", "Nothing was changed.", "Sign in and do it again."),
    403: ErrorWords(
        "You may not do this", "Nothing was changed.", "Ask somebody whose role allows it."
    ),
    404: ErrorWords(
        "Not found", "Nothing was shown or changed.", "Look for it from the first page."
    ),
    409: ErrorWords(
        "It is no longer as you saw it",
        "What you asked for was not done; what was done before you stands.",
        "Look at it as it is now.",
    ),
    422: ErrorWords(
        "This can't be meant", "Nothing was changed.", "Go back, mend what is named, send it again."
    ),
    429: ErrorWords("Too many tries", "Nothing was changed.", "Wait, then try again."),
    503: ErrorWords(
        "A part of the broker does not answer",
        "Nothing was changed. What must end goes on ending: that does not need this page.",
        "Try again in a moment.",
    ),
}
_PASSKEY = ErrorWords(
    "Your passkey was not accepted", "Nothing was changed.", "Go back to the page and try again."
)
_DEFECT = ErrorWords(
    "Something went wrong here",
    "It was logged. Nothing was changed.",
    "Try again; if it stays, tell the operator when it happened.",
)
_STALE = BrokerError("the form was made in another session, or did not come from this console")


def set_up(app: Flask, broker: Broker) -> None:
    app.static_url_path = "/static"  # the wheel of Bootstrap makes its own address out of this one
    Bootstrap5(app)
    environment = app.jinja_env
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters.update(
        lasting=words.length,
        utc=words.utc,
        number=words.number,
        size=words.size,
        ago=_ago,
        stated=words.stated,
    )
    environment.globals.update(
        vendor=broker.settings.vendor.name,
        badges=words.BADGES,
        categories=words.CATEGORIES,
        kinds=words.KINDS,
    )
    app.context_processor(_context)
    app.extensions[ERROR_PAGE] = show_error


def _context() -> dict[str, Any]:
    visitor = g.get("visitor")
    return {
        "visitor": visitor,
        "may": visitor.permissions if visitor else frozenset(),
        "side": visitor.signed_in.actor.side if visitor else "",
    }


def _ago(at: datetime) -> str:
    return words.relative(at, g.at)


def show_error(error: BrokerError, status: int) -> ResponseReturnValue:
    """A page that says what happened, what was not done, and what to do."""
    if request.routing_exception is not None and status == 400:
        return Response(error.message, status, mimetype="text/plain")  # no host to build links for
    hidden = isinstance(error, NotFound)
    page = render_template(
        "console/error.html",
        words=_PASSKEY if isinstance(error, PasskeyRefused) else _ERRORS.get(status, _DEFECT),
        status=status,
        what=NOT_FOUND if hidden else error.message,
        fields={} if hidden else error.facts.get("fields", {}),
        back=None if hidden else _path_before(),
    )
    answer = Response(page, status)
    if "retry_after_s" in error.facts:
        answer.headers["Retry-After"] = str(error.facts["retry_after_s"])
    return answer


def show_stale_form(_: CSRFError) -> ResponseReturnValue:
    return show_error(_STALE, 400)


def _path_before() -> str | None:
    """The page of ours whose form was sent, to go back to."""
    before = urlsplit(request.referrer or "")
    if request.method != "POST" or before.netloc != request.host:
        return None
    return local_path(before.path)
