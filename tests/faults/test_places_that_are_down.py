"""The tenant's server, the test server or the store is down when the ticket closes: what can't be
ended is shown as stuck with its reason, tried again, and ended when the place is back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from broker.embedded import EmbeddedServer
from broker.grants.queries import get_lease_view
from broker.snapshots.queries import get_snapshot_view
from tests.stories import is_dead, ready_copy, retry, skip, sweep, unmounted
from tests.world import World

Down = Callable[[World], AbstractContextManager[None]]


@contextmanager
def unreachable(server: EmbeddedServer) -> Iterator[None]:
    """Its socket is away, so nobody gets in; who is in stays in."""
    socket = Path(server.host) / f".s.PGSQL.{server.port}"
    away = socket.with_name("away")
    socket.rename(away)
    try:
        yield
    finally:
        away.rename(socket)


PLACES: dict[str, tuple[Down, set[str]]] = {
    "tenant's server": (lambda world: unreachable(world.live), {"lease"}),
    "test server": (lambda world: unreachable(world.test), {"copy"}),
    "store": (lambda world: unmounted(world.broker.settings.store.folder or Path()), {"copy"}),
}


@pytest.mark.parametrize("place", PLACES)
def test_what_a_place_that_is_down_keeps_is_stuck_with_its_reason_until_it_is_back(
    world: World, place: str
) -> None:
    down, waiting = PLACES[place]
    grant_id, snapshot_id = ready_copy(world)
    lease_id, password = world.lease(grant_id)
    world.work()
    with world.login(lease_id, password) as session:
        with down(world):
            world.close_ticket(world.grant(grant_id).ticket_id)
            world.work()
            shown = stuck(world, lease_id, snapshot_id)
            assert shown.keys() == waiting, shown
            assert all(attempts == 1 and reason for attempts, reason in shown.values()), shown
            retry(world)
            assert stuck(world, lease_id, snapshot_id).keys() == waiting
            assert all(n > 1 for n, _ in stuck(world, lease_id, snapshot_id).values())
        retry_until_ended(world, lease_id, snapshot_id)
        assert is_dead(session)
    assert world.find_lease(lease_id).state == "revoked"
    assert world.snapshot(snapshot_id).state == "destroyed"
    assert "certificate.issued" in world.kinds()


def stuck(world: World, lease_id: str, snapshot_id: str) -> dict[str, tuple[int, str]]:
    """What a person is shown as stuck: tries and reason."""
    with world.as_(world.admin) as tx:
        lease, copy = get_lease_view(tx, lease_id), get_snapshot_view(tx, snapshot_id)
    assert (lease.state, copy.state) != ("revoked", "destroyed")
    return {
        name: (view.attempts, view.stuck_reason)
        for name, view in (("lease", lease), ("copy", copy))
        if view.stuck_since is not None and view.stuck_reason is not None
    }


def retry_until_ended(world: World, lease_id: str, snapshot_id: str) -> None:
    for minutes in range(10, 60, 10):
        skip(world, timedelta(minutes=minutes))
        sweep(world)
        if (world.find_lease(lease_id).state, world.snapshot(snapshot_id).state) == (
            "revoked",
            "destroyed",
        ):
            return
