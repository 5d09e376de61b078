"""The catalogues of words: complete, and nothing in them unused. A test holds it.

    python -m tests.catalogue            what is missing or unused; 1 if anything is
    python -m tests.catalogue --update   write the catalogues anew, what is missing left empty

A message is what stands in `_()`, `gettext()`, `mark()` or `phrase()` of a page or module, or what
an error says that a page may show (`tests.raised`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from broker.audit.statements import KIND_WORDS
from broker.languages import CATALOGUES, LANGUAGES
from tests import raised

PACKAGE = Path(__file__).parents[1] / "broker"
PAGES = "web/templates/**.html"
METHODS = [("**.py", "python"), (PAGES, "jinja2")]
OPTIONS = {PAGES: {"trimmed": "true", "silent": "false"}}
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "mark": None, "phrase": None}
HOLES = re.compile(r"%\((\w+)\)s|</?(\w+)>")


def extract() -> Catalog:
    """Every message of pages and mails, without a translation."""
    found = Catalog(charset="utf-8")
    for _, _, message, _, _ in extract_from_dir(PACKAGE, METHODS, OPTIONS, KEYWORDS):
        found.add(message)
    for words in (*KIND_WORDS.values(), *raised.required()):  # of signed statements; of errors
        found.add(words)
    return found


def read(language: str) -> Catalog:
    with (CATALOGUES / f"{language}.po").open("rb") as source:
        return read_po(source, locale=language, abort_invalid=True)


def find_faults(language: str) -> Iterator[str]:
    wanted, kept, errors = extract(), read(language), raised.allowed()
    for message in wanted:
        if message.id and not _is_translated(kept.get(message.id)):
            yield f"{language}: not translated: {message.id!r}"
    for message in kept:
        if message.id and wanted.get(message.id) is None and message.id not in errors:
            yield f"{language}: unused: {message.id!r}"
        if message.id and not _holes_agree(message):
            yield f"{language}: other holes or tags: {message.id!r}"


def _is_translated(message: Message | None) -> bool:
    return message is not None and not message.fuzzy and all(_texts(message.string))


def _texts(text: str | tuple[str, ...] | list[str]) -> list[str]:
    return [text] if isinstance(text, str) else list(text)


def _holes_agree(message: Message) -> bool:
    """Each translation names what one of the originals names, and closes the same tags."""
    wanted = {_holes(text) for text in _texts(message.id)}
    return all(not text or _holes(text) in wanted for text in _texts(message.string))


def _holes(text: str) -> tuple[str, ...]:
    return tuple(sorted(match[0] for match in HOLES.finditer(text)))


def update(language: str) -> None:
    """Keep what is still used, add what is new, empty."""
    file = CATALOGUES / f"{language}.po"
    kept = read(language) if file.exists() else Catalog()
    fresh = Catalog(locale=language, project="support-access-broker", charset="utf-8")
    for message in extract():
        before = kept.get(message.id)
        fresh.add(message.id, before.string if before is not None else "")
    for text in raised.allowed():
        if _is_translated(kept.get(text)):
            fresh.add(text, kept[text].string)
    with file.open("wb") as target:
        write_po(target, fresh, omit_header=False, sort_output=True, no_location=True, width=100)


def main(arguments: list[str]) -> int:
    others = [language for language in LANGUAGES if language != "en"]
    if arguments == ["--update"]:
        for language in others:
            update(language)
    faults = [fault for language in others for fault in find_faults(language)]
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
