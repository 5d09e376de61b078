"""Jobs are hints: lost, doubled, unknown or rolled back, the story ends as it must."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from tests.stories import control_superuser, is_dead, skip, sweep
from tests.world import World


def lose_all_jobs(world: World) -> int:
    with control_superuser(world) as connection:
        connection.execute("DELETE FROM procrastinate_events")
        return connection.execute("DELETE FROM procrastinate_jobs").rowcount


def double_all_jobs(world: World) -> None:
    with control_superuser(world) as connection:
        connection.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, args, priority)"
            " SELECT queue_name, task_name, args, priority FROM procrastinate_jobs"
            " WHERE status = 'todo'"
        )


def test_a_job_of_a_transaction_that_is_rolled_back_is_not_there(world: World) -> None:
    def ask_and_fail() -> None:
        with world.as_(world.engineer) as tx:
            world.broker.queue.put(tx, "plan_grant", grant_id, queue="access")
            raise RuntimeError

    grant_id = world.approved()
    lose_all_jobs(world)
    with pytest.raises(RuntimeError):
        ask_and_fail()
    assert lose_all_jobs(world) == 0
    with world.as_(world.engineer) as tx:
        world.broker.queue.put(tx, "plan_grant", grant_id, queue="access")
        with control_superuser(world) as connection:
            seen = connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone()
        assert seen == (0,)  # nor before the commit
    assert lose_all_jobs(world) == 1


def test_with_every_job_lost_the_sweeps_bring_the_story_to_its_end(world: World) -> None:
    """Each step's job is thrown away; half an hour of sweeps does the work of all of them."""
    later = 0

    def lose_and_sweep() -> None:
        nonlocal later
        assert lose_all_jobs(world) > 0
        for _ in range(2):  # an effect, and what it makes due
            later += 310
            skip(world, timedelta(seconds=later))
            sweep(world)

    ticket = world.ticket()
    grant_id = world.request(ticket, live_s=7200)
    lose_and_sweep()
    world.approve(grant_id)
    lease_id, password = world.lease(grant_id)
    snapshot_id = world.order(grant_id)
    lose_and_sweep()
    assert world.find_lease(lease_id).state == "issued"
    assert world.snapshot(snapshot_id).state == "ready"
    with world.login(lease_id, password) as session:
        world.close_ticket(ticket)
        lose_and_sweep()
        assert is_dead(session)
    assert world.find_lease(lease_id).state == "revoked"
    assert world.snapshot(snapshot_id).state == "destroyed"
    assert "certificate.issued" in world.kinds()


@pytest.mark.long
def test_with_every_job_doubled_each_thing_happens_once(world: World) -> None:
    ticket = world.ticket()
    grant_id = world.request(ticket)
    double_all_jobs(world)
    world.work()
    world.approve(grant_id)
    lease_id, _ = world.lease(grant_id)
    snapshot_id = world.order(grant_id)
    double_all_jobs(world)
    world.work()
    assert world.snapshot(snapshot_id).state == "ready"
    world.close_ticket(ticket)
    double_all_jobs(world)
    world.work()
    skip(world, timedelta(seconds=310))
    sweep(world)
    assert world.find_lease(lease_id).state == "revoked"
    assert world.snapshot(snapshot_id).state == "destroyed"
    twice = {"plan.read", "consent.given"}  # by whoever looks; one for each purpose
    once = Counter(kind for kind in world.kinds() if kind not in twice)
    assert {kind: count for kind, count in once.items() if count > 1} == {}
    with control_superuser(world) as connection:
        failed = connection.execute(
            "SELECT task_name FROM procrastinate_jobs WHERE status = 'failed'"
        ).fetchall()
    assert failed == []


def test_a_job_that_this_version_does_not_know_keeps_no_other_from_its_turn(world: World) -> None:
    with world.as_(world.engineer) as tx:
        world.broker.queue.put(tx, "from_another_version", "grt_x", queue="access")
    grant_id = world.request()
    world.work()
    assert world.grant(grant_id).asked_digest is not None


@pytest.mark.long
def test_a_job_that_a_dead_worker_left_running_for_ever_keeps_nothing_from_its_end(
    world: World,
) -> None:
    """Nobody takes such a job up again, and nobody waits for it."""
    snapshot_id = world.order(world.approved())
    world.close_ticket(world.grant(world.snapshot(snapshot_id).grant_id).ticket_id)
    with control_superuser(world) as connection:
        stuck = "UPDATE procrastinate_jobs SET status = 'doing' WHERE status = 'todo'"
        assert connection.execute(stuck).rowcount > 0
    world.work()
    assert world.snapshot(snapshot_id).state == "condemned"
    skip(world, timedelta(seconds=310))
    sweep(world)
    assert world.snapshot(snapshot_id).state == "destroyed"
    assert "certificate.issued" in world.kinds()
    with control_superuser(world) as connection:
        query = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'"
        assert connection.execute(query).fetchone() != (0,)


@pytest.mark.long
def test_jobs_of_another_version_fail_and_the_sweeps_do_their_work(world: World) -> None:
    """Before and after an upgrade: a known job with another's arguments, and an unknown one."""
    snapshot_id = world.order(world.approved())
    world.close_ticket(world.grant(world.snapshot(snapshot_id).grant_id).ticket_id)
    changes = (
        """args = '{"snapshot": "an older name of the argument"}' WHERE task_name LIKE 'copy%'""",
        """args = args || '{"since": 2}' WHERE task_name = 'destroy_snapshot'""",
        "task_name = 'destroy_snapshot_v9' WHERE task_name = 'certify_snapshot'",
    )
    with control_superuser(world) as connection:
        for change in changes:
            connection.execute(f"UPDATE procrastinate_jobs SET {change}")
        connection.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, args)"
            " VALUES ('copies', 'destroy_snapshot_v9', '{}')"
        )
    world.work()
    assert world.snapshot(snapshot_id).state == "condemned"
    with control_superuser(world) as connection:
        query = "SELECT DISTINCT task_name FROM procrastinate_jobs WHERE status = 'failed'"
        failed = {name for (name,) in connection.execute(query)}
    assert failed == {"copy_snapshot", "destroy_snapshot", "destroy_snapshot_v9"}
    skip(world, timedelta(seconds=310))
    sweep(world)
    assert world.snapshot(snapshot_id).state == "destroyed"
    assert world.kinds().count("snapshot.destroyed") == 1
