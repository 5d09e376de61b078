"""`kill -9` of a real worker at every line between two effects of a copy's and a login's life.

In short form one life meets all points, one after the other: each worker begins anew from what the
dead one left, and dies a step later. `make soak` also kills at each point alone, in lives of their
own, and twice at the same point.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from broker import lifecycle
from broker.audit.verify import verify_bundle
from broker.keys import KeyState
from broker.snapshots import ordering
from broker.tx import system
from tests.faults.processes import die_at, running
from tests.faults.test_killed_workers import DATABASES, OURS, assert_nothing_left, sweep_now
from tests.stories import control_superuser, exported, pinned, wait_until
from tests.world import World

ISSUING = ("scope-noted", "scope-made", "scope-login-made", "role-made", "lease-issued")
COPYING = ("copy-begun", "key-made", "key-noted", "sandbox-made", "mid-copy", "copy-filled")
REVOKING = ("role-ended", "lease-revoked", "scope-dropped")
DESTROYING = (
    *("after-leases", "key-erased", "after-data-key", "after-search", "after-sandbox"),
    *("after-artifact", "decoys-placed", "looks-made", "destroyed"),
)
ONCE = (
    *("lease.issued", "lease.revoked", "snapshot.copying", "snapshot.ready"),
    *("snapshot.condemned", "key.erased", "snapshot.destroyed", "certificate.issued"),
)
SOAK = os.environ.get("SOAK") == "1"

pytestmark = pytest.mark.long


def kill_at(world: World, points: Sequence[str], snapshot_id: str = "") -> None:
    """One worker after the other, each killed at the next point; what must hold, holds."""
    for point in points:
        sweep_now(world)
        die_at(world, point)
        if snapshot_id:
            assert_explained(world, snapshot_id)


def assert_explained(world: World, snapshot_id: str) -> None:
    """Whatever stands somewhere was written down before, and no certificate speaks too early."""
    snapshot = world.snapshot(snapshot_id)
    with world.as_(system("tests")) as tx:
        places = {item.place for item in ordering.list_inventory(tx, snapshot_id)}
    standing = {name for (name,) in world.find_on_server(world.test, DATABASES)}
    standing |= {name for (name,) in world.find_on_server(world.test, OURS) if name[:6] != "sab_l_"}
    standing |= set(world.ports.keys.list_names("snapshot/"))
    assert standing <= places
    for stored in world.ports.store.list_all("snapshots/"):
        assert stored.name.startswith(snapshot.prefix)
    told = Counter(world.kinds())
    if told["key.erased"]:
        assert world.ports.keys.find_state(snapshot.wrapping_key) is KeyState.ERASED
    if told["certificate.issued"] or snapshot.state == "destroyed":
        assert_nothing_left(world)


def finish(world: World, holds: Callable[[], bool], what: str) -> None:
    """The next worker is not killed; it is given new work when it has none left."""

    def swept() -> bool:
        if not has_jobs(world):
            sweep_now(world)
        return holds()

    with running(world, "worker"):
        wait_until(swept, what)


def has_jobs(world: World) -> bool:
    with control_superuser(world) as connection:
        query = "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status = 'todo')"
        return bool((connection.execute(query).fetchone() or (False,))[0])


def live_through(world: World, points: Callable[[Sequence[str]], Sequence[str]]) -> None:
    """A login and a copy from request to certificate; `points` chooses where workers die."""
    grant_id = world.approved()
    lease_id, _ = world.lease(grant_id)
    kill_at(world, points(ISSUING))
    finish(world, lambda: world.find_lease(lease_id).state == "issued", "the login is issued")
    snapshot_id = world.order(grant_id)
    kill_at(world, points(COPYING), snapshot_id)
    finish(world, lambda: world.snapshot(snapshot_id).state == "ready", "the copy is ready")
    with world.as_(world.engineer) as tx:
        lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)
    kill_at(world, points(REVOKING), snapshot_id)
    finish(world, lambda: world.find_on_server(world.live, OURS) == [], "no login or scope is left")
    world.close_ticket(world.grant(grant_id).ticket_id)
    kill_at(world, points(DESTROYING), snapshot_id)
    finish(world, lambda: "certificate.issued" in world.kinds(), "the copy is certified")
    assert_nothing_left(world)
    told = Counter(world.kinds())
    assert {kind: told[kind] for kind in ONCE} == dict.fromkeys(ONCE, 1)
    assert world.find_lease(lease_id).state == "revoked"
    assert verify_bundle(exported(world), pinned(world)).ok


def test_a_life_whose_worker_is_killed_at_every_point_ends_certified_and_leaves_nothing(
    world: World,
) -> None:
    live_through(world, lambda points: points)


@pytest.mark.skipif(not SOAK, reason="one point alone, and twice: make soak")
@pytest.mark.parametrize("point", [*ISSUING, *COPYING, *REVOKING, *DESTROYING])
@pytest.mark.parametrize("times", [1, 2])
def test_a_life_whose_worker_is_killed_at_one_point_alone(
    world: World, point: str, times: int
) -> None:
    live_through(world, lambda points: [point] * times if point in points else [])
