"""The console's words in the reader's language: English as the pages have it, others by catalogue.

What must stay true: a language changes words and nothing else; what is signed, logged or sent to a
program is never translated. The reader's choice is a cookie that holds two letters, and comes
before what the browser says of itself. A catalogue is read from its source, so none can be stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from flask import Response, has_request_context, request

from broker.errors import Invalid

LANGUAGES: Mapping[str, str] = {"en": "English", "fr": "Français"}
COOKIE = "__Host-language"
CATALOGUES = Path(__file__).parent / "translations"
_YEAR_S = 365 * 86400


def mark(message: str) -> str:
    """Note a text for the catalogue that is translated only where it is shown."""
    return message


def current() -> str:
    """The reader's language, two letters; English outside of a request."""
    if not has_request_context():
        return "en"
    chosen = request.cookies.get(COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    return request.accept_languages.best_match(LANGUAGES) or "en"


@cache
def _catalogue(language: str) -> NullTranslations:
    if language == "en":
        return NullTranslations()
    with (CATALOGUES / f"{language}.po").open("rb") as source:
        read = read_po(source, locale=language, abort_invalid=True)
    compiled = BytesIO()
    write_mo(compiled, read)
    compiled.seek(0)
    return Translations(compiled)


def gettext(message: str) -> str:
    """`message` as the reader's language has it, else as it is."""
    return str(_catalogue(current()).gettext(message)) if message else ""


def ngettext(one: str, many: str, count: int) -> str:
    return str(_catalogue(current()).ngettext(one, many, count))


def remember(answer: Response, chosen: str) -> None:
    """Keep the reader's choice, in this browser. Raises Invalid for a language that is not here."""
    if chosen not in LANGUAGES:
        raise Invalid("there is no such language here", fields={"language": " or ".join(LANGUAGES)})
    answer.set_cookie(
        COOKIE, chosen, max_age=_YEAR_S, path="/", secure=True, httponly=True, samesite="Lax"
    )
