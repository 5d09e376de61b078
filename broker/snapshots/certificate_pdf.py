"""A certificate as a PDF that a data-protection officer can file: the statement, made readable.

Pure: a statement and the names to show in, bytes out; the same input gives the same bytes. Names
are joined here, for reading: the signed statement holds ids alone (G13), and the PDF says so, with
the digest of what is signed and how to verify it.

The PDF's own fonts know Western European letters; others are shown by their base letter or `?`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from broker.snapshots.certificate_texts import WORDS, translate

_TIMES = ("ordered", "ready", "condemned", "key_erased", "destroyed", "issued")
_FONT, _FIXED = "Helvetica", "Courier"
_LABEL_MM, _LINE_MM = 45, 5


@dataclass(frozen=True, slots=True)
class Names:
    """What is not in the statement and is shown beside its ids."""

    vendor: str
    tenant: str
    database: str
    requester: str


@dataclass(frozen=True, slots=True)
class Shown:
    """`digest` is the SHA-256 of the envelope, in hex; `revoked_at` when it was proved wrong."""

    statement: Mapping[str, Any]
    digest: str
    names: Names
    revoked_at: datetime | None = None


def make_pdf(shown: Shown, language: str) -> bytes:
    """The PDF in `en` or `fr`."""
    page = _Page(shown, language)
    page.head()
    page.facts()
    page.places()
    page.limits()
    page.verifying()
    return bytes(page.pdf.output())


class _Page:
    """Writes one certificate, section by section, top to bottom."""

    def __init__(self, shown: Shown, language: str) -> None:
        self.shown, self.statement, self.language = shown, shown.statement, language
        self.words = WORDS[language]
        self.pdf = FPDF(format="A4")
        self.pdf.set_creation_date(datetime.fromisoformat(self.statement["at"]["issued"]))
        self.pdf.set_title(_plain(f"{self.words['title']} {self.statement['certificate']}"))
        self.pdf.set_lang(language)
        self.pdf.set_auto_page_break(auto=True, margin=15)
        self.pdf.add_page()

    def head(self) -> None:
        statement, words = self.statement, self.words
        self._text(words["title"], size=18, style="B")
        self._text(statement["certificate"], font=_FIXED)
        if self.shown.revoked_at is not None:
            at = _instant(self.shown.revoked_at.isoformat())
            self._text(words["revoked"].format(at=at), size=12, style="B")
        self.pdf.ln(2)
        self._text(words["intro"].format(vendor=self.shown.names.vendor))
        if statement.get("replaces"):
            self._text(words["replaces"].format(old=statement["replaces"]))

    def facts(self) -> None:
        statement, names = self.statement, self.shown.names
        self._heading("facts")
        self._row("tenant", f"{names.tenant} ({statement['tenant']})")
        self._row("database", f"{names.database} ({statement['database']})")
        self._row("requester", names.requester)
        for name in ("snapshot", "grant", "ticket"):
            self._row(name, statement[name])
        self._row("why", translate(statement["why"] or "", self.language))
        self._heading("times")
        for name in _TIMES:
            at = statement["at"][name]
            self._row(name, _instant(at) if at else self.words["never"])
        if statement.get("holds"):
            self._heading("holds")
        for hold in statement.get("holds", ()):
            begun, ended = _instant(hold["begun"]), _instant(hold["ended"] or hold["until"])
            about = f"{begun} - {ended}: {self.words[hold['basis']]}"
            self._item("legal hold", hold["hold"], about)

    def places(self) -> None:
        statement = self.statement
        self._heading("inventory")
        for item in statement["inventory"]:
            method = statement["method"].get(item["kind"], "")
            self._item(item["kind"], item["place"], translate(method, self.language))
        self._heading("looks")
        for look in statement["looks"]:
            result = self.words["found" if look["found"] else "nothing"]
            method = translate(look["method"], self.language)
            self._item(look["kind"], look["place"], f"{_instant(look['at'])}: {method}: {result}")

    def limits(self) -> None:
        self._heading("attested")
        for said in self.statement["attested"]:
            self._text(self.words[f"took_{said['took']}"].format(at=_instant(said["at"])))
        if not self.statement["attested"]:
            self._text(self.words["took_none"])
        for name in ("residue", "not_covered"):
            self._heading(name)
            self._sentences(self.statement[name])

    def verifying(self) -> None:
        words, file = self.words, f"{self.statement['certificate']}.dsse.json"
        self._heading("verify")
        self._text(words["how"].format(file=file))
        self._text(f"broker certificates verify {file} --key KEYFILE", font=_FIXED, size=8)
        self._row("digest", self.shown.digest)
        self._row("log", self.statement["log"])
        self._row("software", self.statement["software"])

    def _heading(self, name: str) -> None:
        self.pdf.ln(3)
        self._text(self.words[name], size=12, style="B")

    def _row(self, name: str, value: str) -> None:
        self.pdf.set_font(_FONT, "B", 9)
        self.pdf.cell(_LABEL_MM, _LINE_MM, _plain(self.words[name]))
        self._text(value)

    def _item(self, kind: str, place: str, about: str) -> None:
        self._text(f"{translate(kind, self.language)}: {place}", style="B", size=8)
        self._text(about)

    def _sentences(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self._text(translate(sentence, self.language))

    def _text(self, text: str, *, font: str = _FONT, style: str = "", size: int = 9) -> None:
        self.pdf.set_font(font, style, size)
        self.pdf.multi_cell(
            0, _LINE_MM, _plain(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT
        )


def _plain(text: str) -> str:
    """What the built-in fonts can show: Latin-1, other letters by their base letter or `?`."""
    shown = []
    for letter in text.replace("’", "'"):
        known = letter
        if ord(letter) > 0xFF:
            known = unicodedata.normalize("NFKD", letter)[0]
        shown.append(known if ord(known) <= 0xFF else "?")
    return "".join(shown)


def _instant(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC"
