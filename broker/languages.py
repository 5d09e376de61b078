"""The words of pages and mails in a reader's language: English stands in the code, others here.

What must stay true: a language changes words and nothing else; what is signed, logged or sent to a
program is never translated. A catalogue is read from its source, so none can be stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

LANGUAGES: Mapping[str, str] = {"en": "English", "fr": "Français"}
CATALOGUES = Path(__file__).parent / "translations"


def mark(message: str) -> str:
    """Note a text for the catalogue that is translated only where it is shown."""
    return message


def translate(language: str, message: str) -> str:
    """`message` as that language has it, else as it is."""
    return str(_catalogue(language).gettext(message)) if message else ""


def translate_count(language: str, one: str, many: str, count: int) -> str:
    return str(_catalogue(language).ngettext(one, many, count))


@cache
def _catalogue(language: str) -> NullTranslations:
    if language not in LANGUAGES or language == "en":
        return NullTranslations()
    with (CATALOGUES / f"{language}.po").open("rb") as source:
        read = read_po(source, locale=language, abort_invalid=True)
    compiled = BytesIO()
    write_mo(compiled, read)
    compiled.seek(0)
    return Translations(compiled)
