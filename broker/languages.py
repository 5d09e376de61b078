"""The words of pages and mails in a reader's language: English stands in the code, others here.

What must stay true: a language changes words and nothing else; what is signed, logged or sent to a
program is never translated. A catalogue is read from its source, so none can be stale.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

LANGUAGES: Mapping[str, str] = {"en": "English", "fr": "Français"}
_HOLE = re.compile(r"%\(([a-h])\)s")
CATALOGUES = Path(__file__).parent / "translations"


def mark(message: str) -> str:
    """Note a text for the catalogue that is translated only where it is shown."""
    return message


def translate(language: str, message: str) -> str:
    """`message` as that language has it, else as it is."""
    return str(_catalogue(language).gettext(message)) if message else ""


def translate_filled(language: str, message: str) -> str:
    """The same of an error's text, in which names and numbers stand already: what fits one with
    holes (`%(a)s is over already`) is said in that language with the same names in it.
    """
    said = translate(language, message)
    if said != message:
        return said
    for form, translated in _forms(language):
        if found := form.fullmatch(message):
            words = {hole: translate(language, word) for hole, word in found.groupdict().items()}
            return translated % words
    return message


def translate_count(language: str, one: str, many: str, count: int) -> str:
    return str(_catalogue(language).ngettext(one, many, count))


@cache
def _forms(language: str) -> list[tuple[re.Pattern[str], str]]:
    """Each message whose holes are named by one letter; the longest, which says most, first."""
    catalogue = _catalogue(language)
    texts = getattr(catalogue, "_catalog", {})  # gettext's own: it offers no other way to list
    with_holes = [text for text in texts if isinstance(text, str) and _HOLE.search(text)]
    found = []
    for text in sorted(with_holes, key=lambda text: -len(_HOLE.sub("", text))):
        parts = _HOLE.split(text)
        form = "".join(
            f"(?P<{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts)
        )
        found.append((re.compile(form, re.DOTALL), str(texts[text])))
    return found


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
