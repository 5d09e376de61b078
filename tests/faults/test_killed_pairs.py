"""`kill -9` of two processes, each at a named point of its own; what two left, a third ends.

The two work on one life at the same moment, so each finds what the other is at, or has left. The
short form has pairs that meet in one place; `make soak` has every point with every other.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from itertools import combinations_with_replacement

import pytest

from broker.audit.verify import verify_bundle
from broker.faults import CRASH_VARIABLE
from tests.faults.processes import running
from tests.faults.test_killed_workers import assert_nothing_left, sweep_now
from tests.faults.test_torture import DESTROYING, ONCE, assert_explained, finish
from tests.stories import exported, pinned, ready_copy, wait_until
from tests.world import World

SOAK = os.environ.get("SOAK") == "1"
SHORT = [("after-data-key", "after-sandbox"), ("key-erased", "looks-made")]
PAIRS = list(combinations_with_replacement(DESTROYING, 2)) if SOAK else SHORT

pytestmark = pytest.mark.long


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_two_workers_that_are_killed_over_one_copy_leave_it_to_a_third(
    world: World, pair: tuple[str, str]
) -> None:
    grant_id, snapshot_id = ready_copy(world)
    world.close_ticket(world.grant(grant_id).ticket_id)
    first, second = ({CRASH_VARIABLE: point} for point in pair)
    with running(world, "worker", **first) as one, running(world, "worker", **second) as two:

        def is_over() -> bool:
            """Both died at their points, or nothing is left at which the second could."""
            sweep_now(world)
            dead = [process.poll() is not None for process in (one, two)]
            return all(dead) or (any(dead) and "certificate.issued" in world.kinds())

        wait_until(is_over, "both workers died, or the copy is certified")
        codes = {process.poll() for process in (one, two)}
        assert -signal.SIGKILL in codes
        assert codes <= {None, -signal.SIGKILL}
    assert_explained(world, snapshot_id)
    finish(world, lambda: "certificate.issued" in world.kinds(), "the copy is certified")
    assert_nothing_left(world)
    told = Counter(world.kinds())
    of_copy = [kind for kind in ONCE if not kind.startswith("lease.")]
    assert {kind: told[kind] for kind in of_copy} == dict.fromkeys(of_copy, 1)
    assert verify_bundle(exported(world), pinned(world)).ok
