"""What a difference between the control database and the keyring's mark means: rules alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from broker.tide import Mark, Seen, Witness, judge

AT = datetime(2027, 1, 31, 12, tzinfo=UTC)
LAST = Mark(Seen(7, "c1", 3, AT), Witness(AT, "boot-1", 1000.0))
JUMP = timedelta(minutes=10)


def later(
    seen_s: float, host_s: float, *, boot: str = "boot-1", **changes: object
) -> tuple[Seen, Witness]:
    seen = replace(LAST.seen, at=AT + timedelta(seconds=seen_s), **changes)  # type: ignore[arg-type]
    return seen, Witness(AT + timedelta(seconds=host_s), boot, 1000.0 + host_s)


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (later(15, 15), []),
        (later(15, 15, serial=8), []),
        (later(3 * 86400, 3 * 86400), []),  # the broker was off for a weekend
        (later(3 * 86400, 3 * 86400, boot="boot-2"), []),  # and so was its host
        (later(15, 15, serial=6), ["restored"]),
        (later(15, 15, cluster="c2", timeline=1), ["another-cluster"]),
        (later(15, 15, timeline=4), ["another-timeline"]),
        (later(-50, 5), []),
        (later(-61, 5), ["clock-back"]),
        (later(3600, 7300), ["clock-back"]),  # later than the mark, and still an hour behind
        (later(615, 15), []),
        (later(616, 15), ["clock-ahead"]),
        (later(86400, 15, boot="boot-2"), ["clock-ahead"]),
        (later(86400, 15, serial=2, timeline=4), ["restored", "another-timeline", "clock-ahead"]),
    ],
)
def test_a_difference_is_told_from_downtime(now: tuple[Seen, Witness], found: list[str]) -> None:
    assert judge(LAST, *now, JUMP) == found


def test_the_hosts_own_wall_clock_decides_nothing_while_it_runs() -> None:
    """Somebody set it: the boot clock goes on."""
    seen, witness = later(15, 15)
    assert judge(LAST, seen, replace(witness, at=AT - timedelta(days=1)), JUMP) == []


def test_a_mark_is_read_as_it_was_written() -> None:
    held = replace(LAST, quarantine="qrt_x")
    assert Mark.from_bytes(held.to_bytes()) == held


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"seen": {}, "witness": {}}'])
def test_what_is_no_mark_is_an_error(content: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Mark.from_bytes(content)
