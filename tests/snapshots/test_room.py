"""Room for copies: refused before anyone decides, when it is ordered, and before a row is read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker import tenants
from broker.errors import BrokerError, Denied
from broker.grants.planning import plan
from broker.grants.room import NoRoom, told
from broker.ids import GrantId
from broker.snapshots.making import copy
from broker.snapshots.model import Snapshot
from broker.snapshots.ordering import order
from tests.world import World

GB = 10**9


@pytest.fixture
def world(module_world: World) -> Iterator[World]:
    yield module_world
    bound(module_world, None, None)


def bound(world: World, capacity: int | None, quota: int | None) -> None:
    with world.as_(world.operator) as tx:
        tenants.set_capacity(tx, world.server_id, capacity)
        tenants.set_copies_quota(tx, world.tenant, quota)


def refusal(world: World, grant_id: GrantId) -> BrokerError:
    with pytest.raises(NoRoom) as refused, world.as_(world.engineer) as tx:
        order(tx, grant_id, None, world.broker.queue)
    return refused.value


@pytest.mark.parametrize(
    ("capacity", "quota", "says"),
    [(1000, None, "largest shared test server holds 1.0 kB"), (None, 2000, "take 2.0 kB at once")],
)
def test_what_could_never_fit_is_told_before_anyone_decides(
    world: World, capacity: int | None, quota: int | None, says: str
) -> None:
    bound(world, capacity, quota)
    grant_id = world.request()
    world.work()
    grant = world.grant(grant_id)
    assert grant.asked_digest is None
    assert says in (grant.stuck_reason or "")
    bound(world, GB, GB)
    plan(world.broker.database, world.ports.keys, world.ports.policy, grant_id)
    assert world.grant(grant_id).asked_digest is not None


def test_a_request_for_live_access_alone_needs_no_room(world: World) -> None:
    bound(world, 1000, 1000)
    grant_id = world.request(copy_s=0)
    world.work()
    assert world.grant(grant_id).asked_digest is not None


def test_what_copies_need_is_reserved_until_they_are_destroyed(world: World) -> None:
    first, second = world.approved(), world.approved()
    snapshot_id = world.order(first)
    needed = world.snapshot(snapshot_id).needed_bytes
    assert needed > 0
    bound(world, needed + 1, None)
    assert "has room for 1 B" in refusal(world, second).message
    bound(world, None, needed + 1)
    assert f"beside {told(needed)} of others" in refusal(world, second).message
    bound(world, 2 * needed, 2 * needed)
    assert world.snapshot(world.order(second)).needed_bytes == needed


@pytest.mark.long
def test_a_copy_that_outgrew_its_room_waits_and_reads_no_row(world: World) -> None:
    """Tables may grow between the order and the copy."""
    snapshot_id = world.order(world.approved())
    with world.as_(world.operator) as tx:
        row = tx.session.get_one(Snapshot, snapshot_id)
        needed, row.needed_bytes = row.needed_bytes, 1
    bound(world, 1, None)
    copy(world.ports, snapshot_id)
    waiting = world.snapshot(snapshot_id)
    assert (waiting.state, waiting.needed_bytes) == ("copying", 1)
    assert "has room for 0 B" in (waiting.stuck_reason or "")
    assert waiting.progress == {} or waiting.progress["bytes"] == 0
    bound(world, None, None)
    copy(world.ports, snapshot_id)
    assert world.snapshot(snapshot_id).state == "ready"
    assert world.snapshot(snapshot_id).needed_bytes == needed


def test_an_engineer_sets_no_bound(world: World) -> None:
    for act in (
        lambda tx: tenants.set_capacity(tx, world.server_id, GB),
        lambda tx: tenants.set_copies_quota(tx, world.tenant, GB),
    ):
        with pytest.raises(Denied), world.as_(world.engineer) as tx:
            act(tx)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (15_400_000, "15 MB"), (10**16, "10000 TB")],
)
def test_bytes_are_told_as_people_say_them(count: int, words: str) -> None:
    assert told(count) == words
