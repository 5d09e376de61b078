"""A certificate's PDF: readable in two languages, the same each time, complete, and no proof."""

from __future__ import annotations

import copy
import re
import zlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.snapshots.certificate_pdf import Names, Shown, make_pdf
from broker.snapshots.certificate_texts import FRENCH, LANGUAGES, WORDS
from broker.snapshots.certificates import METHODS, RESIDUE_SHARED

NAMES = Names("Éditeur SA", "Fabrique de Gruyères", "crm", "Anaïs Côté")
STATEMENT = {
    "certificate": "crt_" + "a" * 26,
    "tenant": "tnt_" + "b" * 26,
    "snapshot": "snp_" + "c" * 26,
    "database": "dbs_" + "d" * 26,
    "grant": "grt_" + "e" * 26,
    "ticket": "tkt_" + "f" * 26,
    "log": "broker.test/log/log_" + "g" * 26,
    "why": "the ticket has ended",
    "at": {
        "ordered": "2026-03-01T10:00:00Z",
        "ready": None,
        "condemned": "2026-03-01T11:00:00Z",
        "key_erased": "2026-03-01T11:00:01Z",
        "destroyed": "2026-03-01T11:00:09Z",
        "issued": "2026-03-01T11:00:10Z",
    },
    "inventory": [{"kind": kind, "place": f"place of {kind}"} for kind in METHODS],
    "looks": [
        {
            "kind": "artifact",
            "place": "snapshots/snp/",
            "method": "listed all objects, versions and unfinished uploads",
            "found": False,
            "at": "2026-03-01T11:00:08Z",
        }
    ],
    "method": METHODS,
    "residue": [RESIDUE_SHARED],
    "attested": [{"by": "psn_1", "took": "nothing", "at": "2026-03-01T10:00:00Z"}],
    "not_covered": ["something that nobody translated"],
    "software": "support-access-broker 0",
}
SHOWN = Shown(STATEMENT, "0123456789abcdef" * 4, NAMES)


def text_of(pdf: bytes) -> str:
    """The letters that are drawn, with line ends and word spaces taken for one space."""
    drawn: list[str] = []
    for stream in re.findall(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL):
        try:
            page = zlib.decompress(stream).decode("latin-1")
        except zlib.error:
            continue
        found = re.findall(r"\(((?:\\.|[^()\\])*)\) Tj", page)
        drawn += [re.sub(r"\\(.)", r"\1", shown) for shown in found]
    return " ".join(" ".join(drawn).split())


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_says_all_that_the_statement_says_and_the_names_beside_it(language: str) -> None:
    shown = text_of(make_pdf(SHOWN, language))
    words = WORDS[language]
    for expected in (
        *(STATEMENT[name] for name in ("certificate", "snapshot", "grant", "ticket", "software")),
        *(NAMES.vendor, NAMES.tenant, NAMES.database, NAMES.requester, SHOWN.digest),
        *(words[name] for name in ("title", "times", "looks", "never", "nothing", "digest")),
        *("2026-03-01 11:00:09 UTC", "place of data key", "broker certificates verify"),
        "something that nobody translated",
    ):
        assert expected in shown, expected
    assert words["revoked"].split()[0] not in shown


def test_the_french_one_leaves_no_known_sentence_in_english() -> None:
    assert set(WORDS["fr"]) == set(WORDS["en"])
    shown = text_of(make_pdf(SHOWN, "fr"))
    for sentence in (*METHODS.values(), RESIDUE_SHARED, STATEMENT["why"]):
        assert sentence in FRENCH
        assert sentence[:40] not in shown


def test_the_same_certificate_gives_the_same_bytes() -> None:
    assert make_pdf(SHOWN, "fr") == make_pdf(copy.deepcopy(SHOWN), "fr")
    assert make_pdf(SHOWN, "fr") != make_pdf(SHOWN, "en")


def test_a_revoked_one_says_so_first() -> None:
    at = datetime(2026, 4, 1, 9, tzinfo=UTC)
    shown = text_of(make_pdf(Shown(STATEMENT, SHOWN.digest, NAMES, at), "en"))
    assert shown.index("REVOKED on 2026-04-01 09:00:00 UTC") < shown.index(NAMES.tenant)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=200))
def test_no_name_breaks_it(name: str) -> None:
    names = Names(name, name, name, name)
    assert make_pdf(Shown(STATEMENT, SHOWN.digest, names), "fr").startswith(b"%PDF-")


def test_letters_that_its_fonts_lack_are_shown_by_their_base() -> None:
    names = Names("v", "Łódź Ščerba’s 東京", "d", "r")
    assert "?ódz Scerba's ??" in text_of(make_pdf(Shown(STATEMENT, SHOWN.digest, names), "en"))
