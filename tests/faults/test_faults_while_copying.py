"""A copy is being made when a server fails: nothing of it is kept, and its end waits for nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from broker.snapshots import making, ordering
from tests.faults.behind import Behind
from tests.faults.door import Cut, Fault, Hung, Refused, SaidDone, refusal
from tests.stories import DEADLINE_S

pytestmark = pytest.mark.long

FULL = refusal(b"53100")
FAULTS: dict[str, Callable[[], Fault]] = {
    "refused": Refused,
    "cut at byte n": lambda: Cut(3000),
    "out of space": lambda: SaidDone(b"COPY", FULL),
}


def order(behind: Behind) -> str:
    world = behind.world
    with world.as_(world.engineer) as tx:
        return ordering.order(tx, behind.grant_id, behind.server_id, world.broker.queue)


@pytest.mark.parametrize("place", ["tenant's server", "test server"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_copy_that_fails_halfway_keeps_nothing_and_says_why(
    behind: Behind, place: str, fault: str
) -> None:
    snapshot_id = order(behind)
    door = behind.live if place == "tenant's server" else behind.test
    with door.misbehaving(FAULTS[fault]()):
        making.copy(behind.ports, snapshot_id)
        snapshot = behind.world.snapshot(snapshot_id)
        assert snapshot.state in {"ordered", "copying"}
        assert snapshot.stuck_reason
    making.copy(behind.ports, snapshot_id)
    assert behind.world.snapshot(snapshot_id).state == "ready"
    behind.condemn(snapshot_id)
    behind.finish(snapshot_id)


@pytest.mark.parametrize("place", ["tenant's server", "test server"])
def test_a_copy_that_waits_for_a_server_that_hangs_keeps_nobody_from_destroying_it(
    behind: Behind, place: str
) -> None:
    """The server still hangs when all is gone."""
    snapshot_id = order(behind)
    door = behind.live if place == "tenant's server" else behind.test
    fault = Hung(b"COPY")
    copying = threading.Thread(target=making.copy, args=(behind.ports, snapshot_id))
    with door.misbehaving(fault):
        copying.start()
        assert fault.seen.wait(DEADLINE_S)
        behind.condemn(snapshot_id)
        copying.join(DEADLINE_S)
        assert not copying.is_alive()
        behind.let_end(snapshot_id)
    behind.finish(snapshot_id)
