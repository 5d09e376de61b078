"""What all pages share: how values read, what templates know, and the page of an error.

What must stay true: the page of what is not there and of what may not be seen is the same, byte
for byte, whatever was looked for (G12): it holds no id, no form token, no word of the error's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, g, render_template, request
from flask.typing import ResponseReturnValue
from flask_bootstrap import Bootstrap5
from flask_wtf.csrf import CSRFError
from jinja2 import pass_context
from jinja2.runtime import Context

from broker.api.problems import NOT_FOUND
from broker.bootstrap import Broker
from broker.errors import BrokerError, NotFound
from broker.http import ERROR_PAGE
from broker.passkeys import PasskeyRefused
from broker.web import languages, words
from broker.web.languages import mark
from broker.web.session import local_path


@dataclass(frozen=True, slots=True)
class ErrorWords:
    """What the page says beside what happened: what was not done, and what to do."""

    title: str
    undone: str
    todo: str


_ERRORS = {
    400: ErrorWords(
        mark("This could not be read"), mark("Nothing was changed."), mark("Go back and try again.")
    ),
    401: ErrorWords(
        mark("You are not signed in"),
        mark("Nothing was changed."),
        mark("Sign in and do it again."),
    ),
    403: ErrorWords(
        mark("You may not do this"),
        mark("Nothing was changed."),
        mark("Ask somebody whose role allows it."),
    ),
    404: ErrorWords(
        mark("Not found"),
        mark("Nothing was shown or changed."),
        mark("Look for it from the first page."),
    ),
    409: ErrorWords(
        mark("It is no longer as you saw it"),
        mark("What you asked for was not done; what was done before you stands."),
        mark("Look at it as it is now."),
    ),
    422: ErrorWords(
        mark("This can't be meant"),
        mark("Nothing was changed."),
        mark("Go back, mend what is named, send it again."),
    ),
    429: ErrorWords(
        mark("Too many tries"), mark("Nothing was changed."), mark("Wait, then try again.")
    ),
    503: ErrorWords(
        mark("A part of the broker does not answer"),
        mark("Nothing was changed. What must end goes on ending: that does not need this page."),
        mark("Try again in a moment."),
    ),
}
_PASSKEY = ErrorWords(
    mark("Your passkey was not accepted"),
    mark("Nothing was changed."),
    mark("Go back to the page and try again."),
)
_DEFECT = ErrorWords(
    mark("Something went wrong here"),
    mark("It was logged. Nothing was changed."),
    mark("Try again; if it stays, tell the operator when it happened."),
)
_STALE = BrokerError("the form was made in another session, or did not come from this console")


def set_up(app: Flask, broker: Broker) -> None:
    app.static_url_path = "/static"  # the wheel of Bootstrap makes its own address out of this one
    Bootstrap5(app)
    environment = app.jinja_env
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.add_extension("jinja2.ext.i18n")
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # the extension's own
        languages.gettext, languages.ngettext, newstyle=True
    )
    environment.filters.update(
        lasting=_for_reader(words.length),
        utc=_for_reader(words.utc),
        number=_for_reader(words.number),
        size=_for_reader(words.size),
        ago=_for_reader(_ago),
        stated=words.stated,
        said=_for_reader(languages.gettext),
        told=_for_reader(languages.say_error),
    )
    environment.globals.update(
        vendor=broker.settings.vendor.name,
        badges=words.BADGES,
        categories=words.CATEGORIES,
        kinds=words.KINDS,
        languages=languages.LANGUAGES,
        time_words=words.for_script,
    )
    app.context_processor(_context)
    app.extensions[ERROR_PAGE] = show_error


def _for_reader(say: Callable[[Any], str]) -> Callable[[Context, Any], str]:
    """A filter whose words are the reader's. Without the context Jinja would say `{{ 0|lasting }}`
    once, when it compiles the template, in whatever language that was.
    """

    @pass_context
    def filtered(_context: Context, value: Any) -> str:
        return say(value)

    return filtered


def _context() -> dict[str, Any]:
    visitor = g.get("visitor")
    return {
        "reader_language": languages.current(),
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
