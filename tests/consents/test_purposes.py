"""Purposes are data with versions; what was shown is never changed. Pure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from broker.consents.purposes import LANGUAGES, Text, read_purposes
from broker.errors import SettingsError

FILE = Path(__file__).parents[2] / "config" / "purposes.toml"


def test_the_file_reads_and_every_text_has_a_digest_of_its_own() -> None:
    purposes = read_purposes(FILE)
    digests = [purpose.digest(language) for purpose in purposes for language in LANGUAGES]
    assert len(set(digests)) == len(digests)
    for purpose in purposes:
        for language in LANGUAGES:
            assert purpose.find_language(purpose.digest(language)) == language
            assert len(purpose.texts[language].text) > 60
    assert all(purpose.is_asked == (purpose.basis == "consent") for purpose in purposes)


def test_whatever_is_shown_changes_the_digest() -> None:
    purpose = read_purposes(FILE)[0]
    other = {"en": Text("Another", purpose.texts["en"].text), "fr": purpose.texts["fr"]}
    for changed in (
        replace(purpose, version=purpose.version + 1),
        replace(purpose, max_days=purpose.max_days + 1),
        replace(purpose, ends=(*purpose.ends, "more")),
        replace(purpose, texts=other),
    ):
        assert changed.digest("en") != purpose.digest("en")
        assert changed.find_language(purpose.digest("en")) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('basis = "consent"', 'basis = "habit"'),
        ('given_by = "tenant"', 'given_by = "vendor"'),
        ("max_days = 366", "max_days = 0"),
        ("counts_from = 1", "counts_from = 2"),
        ("[live_access]", "[life_access]"),
        ("about = []", "abuot = []"),
    ],
)
def test_a_file_that_can_not_be_meant_stops_the_start(
    tmp_path: Path, before: str, after: str
) -> None:
    file = tmp_path / "purposes.toml"
    file.write_text(FILE.read_text().replace(before, after, 1))
    with pytest.raises(SettingsError):
        read_purposes(file)
