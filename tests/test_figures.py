"""Figures of the machinery, and logs that stay behind: on the page, by the API, for Prometheus."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from broker import lateness, lifecycle
from broker.audit.integrate import give_positions, integrate_all
from broker.audit.promises import MERGE_DELAY
from broker.audit.unlogged import list_waiting
from broker.errors import Denied
from broker.figures import Figures, Kept, LateOf, Open, Ran, read_figures
from broker.metrics import write_metrics
from broker.tx import system
from tests.world import World

SECOND = timedelta(seconds=1)
LABELS = r'\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\}'
LINE = re.compile(rf"# (HELP [a-z_]+ .+|TYPE [a-z_]+ gauge)|[a-z_]+({LABELS})? [0-9.e+-]+")


def figures(world: World) -> Figures:
    with world.as_(world.operator) as tx:
        return read_figures(tx)


def counts(kept: object) -> dict[str, int]:
    assert isinstance(kept, list)
    return {one.state: one.count for one in kept if one.count}


def test_copies_are_counted_until_they_are_gone_and_then_by_how_long_that_took(
    world: World,
) -> None:
    snapshot_id = world.order(world.approved())
    world.work()
    assert counts(figures(world).copies) == {"ready": 1}
    with world.as_(world.admin) as tx:
        lifecycle.condemn_by_click(tx, snapshot_id, world.broker.queue)
    assert counts(figures(world).copies) == {"condemned": 1}
    assert figures(world).closed == 0
    world.work()
    found = figures(world)
    assert (counts(found.copies), found.closed) == ({}, 1)
    assert found.closed_p50_s == found.closed_p99_s
    assert found.closed_p50_s is not None
    with world.as_(world.admin) as tx, pytest.raises(Denied):
        read_figures(tx)


def test_a_log_that_stays_behind_is_late_after_its_merge_delay(world: World) -> None:
    """Whether its entries have no position, or have one and no signature over it."""
    database = world.broker.database
    world.request()

    def late(after: timedelta) -> set[str]:
        """Logs that are late so long after the first, or the last, that waits since."""
        with world.as_(system("tests")) as tx:
            since = [one.since for one in list_waiting(tx)] or [tx.at]
            began = max(since) if after >= MERGE_DELAY else min(since)
            later = replace(tx, at=began + after)
            return {one.id for one in lateness.list_late(later, 0) if one.what == "log"}

    before = late(MERGE_DELAY)
    assert before
    assert late(MERGE_DELAY - SECOND) == set()
    for log_id in before:
        assert give_positions(database, log_id)
    assert late(MERGE_DELAY) == before
    assert figures(world).unlogged > 0
    integrate_all(database, world.ports.keys)
    assert late(MERGE_DELAY) == set()
    assert figures(world).unlogged == 0


def test_what_prometheus_reads_is_in_its_form() -> None:
    found = Figures(
        copies=[Kept("ready", 3, 1, 12.5), Kept("condemned", 0, 0, 0.0)],
        held=0,
        logins=[],
        closed=2,
        closed_p50_s=1.5,
        closed_p99_s=9.25,
        sweeps=[Ran("ends", 3.0, 0)],
        finds=[Open("orphan", 'a "b"\n', 1)],
        late=[LateOf("snapshot", 900, 2)],
        unlogged=4,
        unlogged_oldest_s=None,
    )
    text = write_metrics(found)
    plain = text.replace(r"\"", "").replace(r"\n", "")
    assert all(LINE.fullmatch(line) for line in plain.splitlines()), text
    for line in (
        'broker_copies{state="ready"} 3',
        'broker_copies_stuck{state="ready"} 1',
        'broker_closed_to_destroyed_seconds{quantile="0.99"} 9.25',
        r'broker_finds_open{noun="orphan",kind="a \"b\"\n"} 1',
        'broker_late{what="snapshot",over="900"} 2',
        "broker_unlogged_oldest_seconds 0",
    ):
        assert line in text.splitlines()
