"""Which language the reader of a page has: chosen in the footer, else what the browser says.

What must stay true: the reader's choice is a cookie that holds two letters, and comes before what
the browser says of itself. Mails go out in the language that the account keeps (`people`).
"""

from __future__ import annotations

from flask import Response, has_request_context, request

from broker.errors import Invalid
from broker.languages import LANGUAGES, mark, translate, translate_count, translate_filled

__all__ = ["LANGUAGES", "current", "gettext", "mark", "ngettext", "remember", "say_error"]
COOKIE = "__Host-language"
_YEAR_S = 365 * 86400


def current() -> str:
    """The reader's language, two letters; English outside of a request."""
    if not has_request_context():
        return "en"
    chosen = request.cookies.get(COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    return request.accept_languages.best_match(LANGUAGES) or "en"


def gettext(message: str) -> str:
    """`message` as the reader's language has it, else as it is."""
    return translate(current(), message)


def say_error(message: str) -> str:
    """What an error says, with the names in it, in the reader's language if it is known there."""
    return translate_filled(current(), message)


def ngettext(one: str, many: str, count: int) -> str:
    return translate_count(current(), one, many, count)


def remember(answer: Response, chosen: str) -> None:
    """Keep the reader's choice, in this browser. Raises Invalid for a language that is not here."""
    if chosen not in LANGUAGES:
        raise Invalid("there is no such language here", fields={"language": " or ".join(LANGUAGES)})
    answer.set_cookie(
        COOKIE, chosen, max_age=_YEAR_S, path="/", secure=True, httponly=True, samesite="Lax"
    )
