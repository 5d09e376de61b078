"""Clocks: back an hour, ahead a day, the hour that comes twice, a leap second, a scheduler that
slept for a day, and two that both believe they lead.

The product asks one clock, the control database's, once a transaction; here that one is set.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from broker import quarantine, sweeps, worker
from broker.scheduler import Lead
from broker.tx import system
from tests.faults.test_schedulers import let_lead_lapse
from tests.stories import control_superuser, skip
from tests.world import World

pytestmark = pytest.mark.long

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def ends(world: World) -> int:
    """The worker's own sweep, which looks at the clock first."""
    return worker._sweep_ends(world.broker, world.ports, 0)


def is_held(world: World) -> bool:
    with world.as_(system("tests")) as tx:
        return quarantine.find_open(tx) is not None


def set_clock(world: World, now: datetime) -> None:
    """Servers were looked at just then, whenever that is."""
    world.broker.database._clock = lambda: now
    with world.as_(system("tests")) as tx:
        tx.session.execute(sa.text("UPDATE preflight SET checked_at = :at"), {"at": now})


def states(world: World, *ids: str) -> list[str]:
    return [world.snapshot(i).state if i[:3] == "snp" else world.grant(i).state for i in ids]


@pytest.mark.parametrize(("jump", "why"), [(-HOUR, "clock-back"), (DAY, "clock-ahead")])
def test_a_clock_that_jumps_ends_no_copy_and_makes_none_until_it_is_right_again(
    world: World, jump: timedelta, why: str
) -> None:
    """And the end comes when it was promised, by the clock that is right."""
    grant_id = world.approved(copy_s=3600)
    snapshot_id = world.order(grant_id)
    ends(world)
    skip(world, jump)
    assert ends(world) == 0
    assert is_held(world)
    assert states(world, grant_id, snapshot_id) == ["approved", "ordered"]
    world.work()
    assert states(world, snapshot_id) == ["ordered"]
    with world.as_(system("tests")) as tx:
        row = quarantine.find_open(tx)
        assert row is not None
        assert row.why == [why]
    skip(world, timedelta(0))
    with world.as_(world.operator) as tx:
        quarantine.lift(tx, row.id, "keep")
    assert ends(world) == 0
    assert not is_held(world)
    assert states(world, grant_id, snapshot_id) == ["approved", "ordered"]
    ending = world.snapshot(snapshot_id).ends_at
    skip(world, ending - datetime.now(UTC) + timedelta(seconds=1))
    sweeps.sweep_ends(world.broker.database, world.broker.queue, 0)
    assert states(world, snapshot_id) == ["condemned"]


def test_a_leap_second_and_a_step_of_a_well_kept_clock_change_nothing(world: World) -> None:
    """A second that is there twice, or is stepped over: nothing is held, nothing ends twice."""
    snapshot_id = world.order(world.approved(copy_s=3600))
    ending = world.snapshot(snapshot_id).ends_at
    ends(world)
    for step in (-1.0, 0.0, 1.0, -0.5):
        skip(world, timedelta(seconds=step))
        ends(world)
        assert not is_held(world)
    for after_s in (-1, 0, 0, -1, 1):
        set_clock(world, ending + timedelta(seconds=after_s))
        sweeps.sweep_ends(world.broker.database, world.broker.queue, 0)
    assert world.kinds().count("snapshot.condemned") == 1


PARIS = ZoneInfo("Europe/Paris")
CHANGES = {
    "the hour that comes twice": datetime(2027, 10, 31, 2, 30, tzinfo=PARIS),
    "the hour that never comes": datetime(2027, 3, 28, 1, 30, tzinfo=PARIS),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_hour_is_an_hour_also_when_a_zone_changes_to_or_from_summer_time(
    world: World, change: str
) -> None:
    """With a control server whose operator set it to local time: in such a zone Python compares by
    the wall, and 2:45 is after the 2:30 that comes an hour later.
    """
    with control_superuser(world) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET timezone = 'Europe/Paris'")
    world.broker.database.engine.dispose()
    assert world.broker.database.now(system("tests")).tzname() == "UTC"
    began = CHANGES[change].astimezone(UTC)
    set_clock(world, began)
    snapshot_id = world.order(world.approved(live_s=0, copy_s=3600))
    assert world.snapshot(snapshot_id).ends_at == began + HOUR
    for minutes, state in ((59, "ordered"), (61, "condemned")):
        set_clock(world, began + timedelta(minutes=minutes))
        sweeps.sweep_ends(world.broker.database, world.broker.queue, 0)
        assert states(world, snapshot_id) == [state]


def test_a_scheduler_that_slept_for_a_day_ends_all_that_came_due_once(world: World) -> None:
    """One sweep finds what a day of sweeps would have, for none of them is remembered."""
    grants = [world.approved(live_s=0, copy_s=3600 * hours) for hours in (1, 5, 23)]
    copies = [world.order(grant_id) for grant_id in grants]
    lasting = world.approved(live_s=0, copy_s=86400 * 2)
    skip(world, DAY)
    sweeps.sweep_ends(world.broker.database, world.broker.queue, 0)
    assert states(world, *grants) == ["ended"] * 3
    assert states(world, *copies) == ["condemned"] * 3
    assert states(world, lasting) == ["approved"]
    sweeps.sweep_ends(world.broker.database, world.broker.queue, 0)
    assert world.kinds().count("snapshot.condemned") == 3
    assert world.kinds().count("grant.ended") == 3


def test_two_schedulers_that_both_believe_they_lead_end_each_thing_once(world: World) -> None:
    """The first was paused, and goes on before it knows: its number is the older one."""
    copies = [world.order(world.approved(live_s=0, copy_s=3600)) for _ in range(2)]
    first, second = Lead(world.broker), Lead(world.broker)
    first.renew()
    let_lead_lapse(world)
    second.renew()
    assert (first.fence, second.fence) == (1, 2)  # both believe it
    skip(world, DAY)
    overtaken: list[int] = []

    def sweep(fence: int) -> None:
        for _ in range(3):
            try:
                sweeps.sweep_ends(world.broker.database, world.broker.queue, fence)
                sweeps.sweep_retries(world.broker.database, world.broker.queue, fence)
            except sweeps.Overtaken:
                overtaken.append(fence)

    both = [threading.Thread(target=sweep, args=(lead.fence or 0,)) for lead in (first, second)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert set(overtaken) == {1}
    assert states(world, *copies) == ["condemned"] * 2
    assert world.kinds().count("snapshot.condemned") == 2


def test_two_sweeps_with_the_same_number_at_once_end_each_thing_once(world: World) -> None:
    """A sweep of before that hung in a pool, and the leader's own of now."""
    copies = [world.order(world.approved(live_s=0, copy_s=3600)) for _ in range(2)]
    skip(world, DAY)

    def sweep() -> None:
        for _ in range(3):
            sweeps.sweep_ends(world.broker.database, world.broker.queue, 0)

    both = [threading.Thread(target=sweep) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert states(world, *copies) == ["condemned"] * 2
    assert world.kinds().count("snapshot.condemned") == 2
    assert world.kinds().count("grant.ended") == 2
