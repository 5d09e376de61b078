"""Turns at a worker: nobody's stuck copies, nor how many they are, delay another's end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from broker.errors import NotFound
from broker.snapshots.lanes import Lane, Lanes, Task, find_owner
from broker.snapshots.model import Snapshot
from broker.tx import system
from tests.world import World


class Hung:
    """Work on a server that answers nobody, until the test is over."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.begun: list[str] = []
        self.threads: list[threading.Thread] = []

    def put(self, lane: Lane, tenant_id: str, name: str) -> None:
        """As a job does, in a thread of its own; returns when it hangs, or waits for its turn."""
        inside = threading.Event()

        def hang() -> None:
            self.begun.append(name)
            inside.set()
            self.over.wait()

        def run() -> None:
            lane.run(Task(tenant_id, name, hang))
            inside.set()

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()
        inside.wait()


@pytest.fixture
def hung() -> Iterator[Hung]:
    made = Hung()
    yield made
    made.over.set()
    for thread in made.threads:
        thread.join()


def test_two_hundred_stuck_copies_delay_no_fresh_end_of_their_tenant_or_of_another(
    hung: Hung,
) -> None:
    lanes, done = Lanes(), list[str]()
    for number in range(200):
        hung.put(lanes.of_end(attempts=1), "tnt_a", f"stuck {number}")
    for tenant_id in ("tnt_a", "tnt_b"):
        fresh = lanes.of_end(attempts=0)
        fresh.run(Task(tenant_id, f"fresh {tenant_id}", lambda t=tenant_id: done.append(t)))  # type: ignore[misc]  # bound at once
    assert done == ["tnt_a", "tnt_b"]
    assert hung.begun == ["stuck 0"]  # and another tenant's stuck copy has a place too
    hung.put(lanes.stuck, "tnt_b", "stuck b")
    assert hung.begun == ["stuck 0", "stuck b"]


def test_a_tenant_whose_fresh_ends_all_hang_leaves_a_place_to_another(hung: Hung) -> None:
    lanes, done = Lanes(), list[str]()
    for number in range(200):
        hung.put(lanes.ends, "tnt_a", f"a {number}")
    assert len(hung.begun) < lanes.ends.places
    lanes.ends.run(Task("tnt_b", "b", lambda: done.append("b")))
    assert done == ["b"]


def test_an_end_never_waits_for_copies_that_are_made(hung: Hung) -> None:
    lanes, done = Lanes(), list[str]()
    for number in range(20):
        hung.put(lanes.makings, f"tnt_{number}", f"make {number}")
    lanes.ends.run(Task("tnt_0", "end", lambda: done.append("end")))
    assert done == ["end"]


def test_tenants_take_turns_and_each_task_is_done_once() -> None:
    lane, done = Lane(1, each=1), list[str]()

    def put_the_rest() -> None:
        for name in ("a 1", "a 2", "a 1", "b 1", "b 2", "c 1"):
            lane.run(Task(name[0], name, lambda n=name: done.append(n)))  # type: ignore[misc]  # bound at once

    lane.run(Task("a", "a 0", put_the_rest))
    assert done == ["a 1", "b 1", "c 1", "a 2", "b 2"]


def test_a_defect_in_one_task_keeps_no_other_and_is_told() -> None:
    lane, done = Lane(1, each=1), list[str]()

    def fail() -> None:
        lane.run(Task("a", "later", lambda: done.append("later")))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lane.run(Task("a", "first", fail))
    assert done == ["later"]
    lane.run(Task("a", "first", lambda: done.append("first")))
    assert done == ["later", "first"]


def test_a_worker_that_ends_takes_nothing_more_and_forgets_what_waits() -> None:
    lane, done = Lane(1, each=1), list[str]()

    def put_another() -> None:
        lane.run(Task("a", "waits", lambda: done.append("waits")))

    lane.run(Task("a", "first", put_another), should_stop=lambda: True)
    assert done == []
    lane.run(Task("a", "waits", lambda: done.append("waits")))
    assert done == ["waits"]


def test_the_row_says_whose_a_copy_is_and_whether_it_failed_before(world: World) -> None:
    snapshot_id = world.order(world.approved())
    with world.as_(system("tests")) as tx:
        assert find_owner(tx, snapshot_id) == (world.tenant, 0)
        tx.session.execute(sa.update(Snapshot).values(attempts=3))
        assert find_owner(tx, snapshot_id) == (world.tenant, 3)
        with pytest.raises(NotFound):
            find_owner(tx, "snp_none")
