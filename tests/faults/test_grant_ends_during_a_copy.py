"""A grant that ends during a copy stops the copy, and what there is of it is destroyed."""

from __future__ import annotations

import threading

import pytest

from broker import lifecycle
from broker.keys import KeyState
from broker.snapshots import loading, making, places
from tests.stories import retry
from tests.world import World

POINTS = {"sandbox-made": places, "mid-copy": loading, "copy-filled": making}  # in this order


@pytest.mark.parametrize("point", POINTS)
def test_a_copy_that_is_being_made_stops_when_its_grant_ends(
    world: World, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    grant_id = world.approved()
    snapshot_id = world.order(grant_id)
    once = threading.Lock()
    passed: set[str] = set()

    def end_the_grant(name: str) -> None:
        """At the crash point, instead of dying: the customer clicks."""
        passed.add(name)
        if name == point and once.acquire(blocking=False):
            with world.as_(world.admin) as tx:
                lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)

    for module in POINTS.values():
        monkeypatch.setattr(module, "crash_point", end_the_grant)
    world.work()
    assert point in passed
    assert point == "copy-filled" or "copy-filled" not in passed, "it went on to its end"
    assert world.snapshot(snapshot_id).state in {"condemned", "destroyed"}
    assert "snapshot.ready" not in world.kinds()
    retry(world)
    snapshot = world.snapshot(snapshot_id)
    assert snapshot.state == "destroyed", snapshot.stuck_reason
    assert world.ports.keys.find_state(snapshot.wrapping_key) is KeyState.ERASED
    assert list(world.ports.store.list_all("snapshots/")) == []
    databases = world.find_on_server(world.test, "SELECT datname FROM pg_database")
    assert (snapshot.sandbox,) not in databases
