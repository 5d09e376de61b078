"""Two schedulers: one leads, by a row with a fencing number; an overtaken one ends nothing."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest

from broker import sweeps
from broker.scheduler import Lead
from broker.sweeps import Overtaken
from tests.faults.processes import running
from tests.stories import control_superuser, skip, wait_until
from tests.world import World


def holder(world: World) -> tuple[str, int] | None:
    with control_superuser(world) as connection:
        row = connection.execute("SELECT holder, fence FROM scheduler_lead").fetchone()
    return None if row is None else (row[0], row[1])


def let_lead_lapse(world: World) -> None:
    with control_superuser(world) as connection:
        connection.execute("UPDATE scheduler_lead SET until = now() - interval '1 second'")


def test_one_leads_and_the_other_takes_over_with_a_higher_number(world: World) -> None:
    first, second = Lead(world.broker), Lead(world.broker)
    first.renew()
    second.renew()
    assert (first.fence, second.fence) == (1, None)
    first.renew()
    assert first.fence == 1  # going on is no new lead
    let_lead_lapse(world)
    second.renew()
    first.renew()
    assert (first.fence, second.fence) == (None, 2)


def test_an_overtaken_schedulers_sweep_is_refused_and_ends_nothing(world: World) -> None:
    grant_id = world.approved(live_s=600, copy_s=0)
    first, second = Lead(world.broker), Lead(world.broker)
    first.renew()
    let_lead_lapse(world)
    second.renew()
    skip(world, timedelta(seconds=601))
    for sweep in (sweeps.sweep_ends, sweeps.sweep_retries):
        with pytest.raises(Overtaken):
            sweep(world.broker.database, world.broker.queue, 1)
    assert world.grant(grant_id).state == "approved"
    assert sweeps.sweep_ends(world.broker.database, world.broker.queue, second.fence or 0) == 1
    assert world.grant(grant_id).state == "ended"


def test_a_job_of_an_overtaken_scheduler_does_no_harm_to_the_worker(world: World) -> None:
    for _ in range(2):
        Lead(world.broker).renew()
        let_lead_lapse(world)
    with world.as_(world.operator) as tx:
        world.broker.queue.put_sweep(tx, "sweep_ends", 1)
    world.work()
    with control_superuser(world) as connection:
        rows = connection.execute("SELECT status::text FROM procrastinate_jobs").fetchall()
        runs = connection.execute("SELECT kind FROM sweep_run").fetchall()
    assert rows == [("succeeded",)]
    assert runs == []


@pytest.mark.long
def test_when_the_leader_is_killed_the_other_process_goes_on(world: World) -> None:
    with running(world, "scheduler") as first, running(world, "scheduler") as second:
        wait_until(lambda: holder(world) is not None, "one of them leads")
        before = holder(world)
        assert before is not None
        leader = next(p for p in (first, second) if f" {p.pid} " in before[0])
        leader.send_signal(signal.SIGKILL)
        leader.wait()
        let_lead_lapse(world)
        wait_until(lambda: holder(world) != before, "the other leads")
        now = holder(world)
        assert now is not None
        assert now[1] == before[1] + 1

        def has_ordered_a_sweep() -> bool:
            with control_superuser(world) as connection:
                query = "SELECT 1 FROM procrastinate_jobs WHERE args ->> 'fence' = %s"
                return connection.execute(query, [str(now[1])]).fetchone() is not None

        wait_until(has_ordered_a_sweep, "the new leader orders sweeps")
