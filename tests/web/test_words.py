"""How lengths, instants and sizes read, and what a window's select offers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from broker.web.forms import choices
from broker.web.words import length, relative, size, stated, utc

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "not at all"),
        (59, "59 s"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
        (86400, "1 day"),
        (2 * 86400 + 3661, "2 days 1 h"),
    ],
)
def test_a_length_names_its_two_largest_units(seconds: int, words: str) -> None:
    assert length(seconds) == words


def test_an_instant_reads_from_here() -> None:
    assert relative(NOW + timedelta(hours=3, minutes=12, seconds=59), NOW) == "in 3 h 12 min"
    assert relative(NOW - timedelta(minutes=5), NOW) == "5 min ago"
    assert relative(NOW + timedelta(seconds=30), NOW) == "in less than a minute"
    assert relative(NOW, NOW) == "just now"
    assert utc(NOW) == "2026-03-01 12:00 UTC"
    assert stated("2026-03-01T12:00:05.123456Z") == "2026-03-01 12:00:05 UTC"
    assert stated(None) is None


def test_bytes_read_in_a_fitting_unit() -> None:
    assert [size(n) for n in (0, 999, 1500, 2_000_000, 3 * 10**12)] == [
        "0 B", "999 B", "1.5 kB", "2.0 MB", "3.0 TB",
    ]  # fmt: skip


def test_a_window_offers_what_was_asked_and_less() -> None:
    offered = choices(7200, 1800, none=True)
    assert [choice.seconds for choice in offered] == [7200, 3600, 1800, 900, 0]
    assert [choice.seconds for choice in offered if choice.chosen] == [1800]
    odd = choices(5000, 1234, none=False)
    assert [choice.seconds for choice in odd] == [5000, 3600, 1800, 1234, 900]
