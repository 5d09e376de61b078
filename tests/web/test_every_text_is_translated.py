"""No page says what its reader's language can't have: read from the templates' own text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import broker.web

TEMPLATES = Path(broker.web.__file__).parent / "templates"
_JINJA = re.compile(r"\{#.*?#\}|\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_WORD = re.compile(r"[A-Za-zÀ-ÿ]{2,}")
_READ = {"aria-label", "placeholder", "title", "alt"}  # attributes that a person reads
# Names and commands are the same in every language; so is what says itself in which it is.
_SAME = {"code", "pre", "style", "script"}
_NAMES = {"UTC"} | {
    f"placeholder={example}"
    for example in (
        "Europe/Paris",
        "schema.table.column",
        "grant.approved",
        "psn_…",
        "tkt_…",
        "BCDF-GHJK",
    )
}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._same: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SAME or ("lang", "en") in attrs or ("lang", "fr") in attrs:
            self._same.append(tag)
        self.found += [
            f"{name}={value}"
            for name, value in attrs
            if name in _READ and value and _WORD.search(value)
        ]

    def handle_endtag(self, tag: str) -> None:
        if self._same and self._same[-1] == tag:
            self._same.pop()

    def handle_data(self, data: str) -> None:
        if not self._same and _WORD.search(data):
            self.found.append(data.strip())


def find_bare(source: str) -> list[str]:
    reader = _Reader()
    reader.feed(_JINJA.sub("", source))
    return [text for text in reader.found if text not in _NAMES]


def test_no_template_has_words_outside_of_the_catalogue() -> None:
    found = {
        path.name: bare
        for path in sorted(TEMPLATES.rglob("*.html"))
        if (bare := find_bare(path.read_text()))
    }
    assert found == {}


def test_a_template_with_bare_words_is_found() -> None:
    assert find_bare('<p>Sign in</p><input placeholder="Name">') == ["Sign in", "placeholder=Name"]
    assert find_bare('<p>{{ _("Sign in") }}</p><code>broker login</code>') == []
