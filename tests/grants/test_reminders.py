"""A request that waits is told of again, at most once each time; silence decides nothing."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from broker.tx import system
from tests.grants.test_approvals import TWO, admins, approve, planned, set_policy
from tests.stories import skip, sweep
from tests.world import World


def reminded(world: World) -> list[str]:
    with world.as_(system("tests")) as tx:
        found = tx.session.scalars(
            sa.text("SELECT person_id FROM mail WHERE subject LIKE 'A request still%' ORDER BY id")
        )
        return list(found)


def test_who_has_not_answered_is_reminded_at_a_quarter_and_at_three_quarters(world: World) -> None:
    (second,) = admins(world, 1)
    set_policy(world, TWO)
    grant_id = planned(world)
    both = {world.admin.person_id, second.person_id}
    skip(world, timedelta(hours=2, minutes=59))
    sweep(world)
    assert reminded(world) == []
    skip(world, timedelta(hours=3, minutes=1))
    sweep(world)
    sweep(world)
    assert sorted(reminded(world)) == sorted(both)
    approve(world, world.admin, grant_id)
    skip(world, timedelta(hours=9, minutes=1))
    sweep(world)
    sweep(world)
    assert reminded(world)[2:] == [second.person_id]
    assert world.grant(grant_id).state == "requested"


def test_a_sweep_that_comes_late_reminds_once_and_of_what_lapsed_not_at_all(world: World) -> None:
    planned(world)
    skip(world, timedelta(hours=10))
    sweep(world)
    assert reminded(world) == [world.admin.person_id]
    planned(world)
    skip(world, timedelta(hours=23))
    sweep(world)
    assert len(reminded(world)) == 1


def warned(world: World) -> list[str]:
    with world.as_(system("tests")) as tx:
        query = "SELECT person_id FROM mail WHERE subject LIKE 'Ends soon%' ORDER BY id"
        return list(tx.session.scalars(sa.text(query)))


def test_who_asked_is_told_once_that_it_ends_within_the_hour(world: World) -> None:
    world.approved(live_s=4 * 3600, copy_s=0)
    world.approved(live_s=3600, copy_s=0)  # too short to be told of
    skip(world, timedelta(hours=2, minutes=55))
    sweep(world)
    assert warned(world) == []
    skip(world, timedelta(hours=3, minutes=5))
    sweep(world)
    sweep(world)
    assert warned(world) == [world.engineer.person_id]
