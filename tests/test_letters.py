"""Mails in their reader's language, and as their bytes go out."""

from __future__ import annotations

from datetime import UTC, date, datetime

from broker.composing import Ready, compose
from broker.letters import Phrase, Reader, own, phrase, render

AT = datetime(2026, 11, 24, 16, 5, tzinfo=UTC)
PARIS = Reader("fr", "Europe/Paris")


def test_a_phrase_reads_in_its_readers_language_with_dates_numbers_and_words_in_it() -> None:
    said = phrase("Request %(grant)s: %(verdict)s", grant="grt_1", verdict=Phrase("refused"))
    assert render(said, Reader()) == "Request grt_1: refused"
    assert render(said, PARIS) == "Demande grt_1 : refusé"
    more = phrase("and %(count)s more", count=12345)
    assert render(more, Reader()) == "and 12,345 more"
    assert render(more, PARIS) == "et 12\u202f345 de plus"
    day = phrase("We received it and will answer by %(day)s at the latest.", day=date(2026, 11, 24))
    assert render(day, PARIS).endswith("le 24/11/2026.")


def test_an_instant_reads_by_the_readers_clock_with_utc_beside() -> None:
    lapses = phrase("Without an answer it lapses at %(lapses)s, and nothing is seen.", lapses=AT)
    assert "at 2026-11-24 16:05 UTC, and" in render(lapses, Reader())
    assert "le 24/11/2026 17:05 (Europe/Paris), 24/11/2026 16:05 UTC, et" in render(lapses, PARIS)
    assert "le 24/11/2026 16:05 UTC, et" in render(lapses, Reader("fr", "Nowhere/Else"))


def test_what_a_person_wrote_is_never_taken_for_a_pattern() -> None:
    assert render(own("100%(grant)s <b>"), PARIS) == "100%(grant)s <b>"


def test_a_mail_is_plain_and_html_names_its_page_and_stands_in_its_thread() -> None:
    sent = compose(
        ready(kind="reminder"), sender="Broker <b@vendor.test>", public_url="https://c.test/"
    )
    plain, html = (part.get_content() for part in sent.iter_parts())
    assert "À lire sur la console :\nhttps://c.test/grants/grt_1" in plain
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert '<a href="https://c.test/grants/grt_1">' in html
    assert "<img" not in html
    assert sent["References"] == sent["In-Reply-To"] == "<tkt_1@vendor.test>"
    assert sent["Message-ID"] == "<mail-7@vendor.test>"
    assert sent["List-Unsubscribe"] == "<https://c.test/account>"
    assert sent["List-Unsubscribe-Post"] is None  # nothing acts by being asked for


def test_what_is_owed_offers_no_way_to_decline_it() -> None:
    sent = compose(ready(kind="waiting"), sender="b@vendor.test", public_url="https://c.test")
    assert sent["List-Unsubscribe"] is None
    assert "/account" not in sent.as_string()


def ready(kind: str) -> Ready:
    return Ready(
        number=7,
        to="ada@example.test",
        language="fr",
        subject="Une demande",
        text="Un <b>\n\nDeux",
        kind=kind,
        page="/grants/grt_1",
        thread="tkt_1",
        at=AT,
    )
