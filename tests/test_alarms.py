"""Late promises are told: at 15 minutes, an hour and a day, once each, to whom it concerns."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from broker import alarms, finds, lifecycle
from broker.audit.integrate import integrate_all
from broker.finds import Found
from broker.ids import TenantId, new_id
from broker.lateness import list_late
from broker.mail import Mail
from broker.sweeps import Overtaken
from broker.tx import Actor, system
from tests.stories import shut_out, skip
from tests.world import World, connect, enrol


def alarms_to(world: World, actor: Actor) -> list[str]:
    with world.as_(system("tests")) as tx:
        query = sa.select(Mail.text).where(
            Mail.person_id == actor.person_id, Mail.subject.startswith("Late")
        )
        return list(tx.session.scalars(query.order_by(Mail.id)))


def late_by(world: World, **span: float) -> int:
    integrate_all(world.broker.database, world.ports.keys)  # no log of theirs is late
    skip(world, timedelta(**span))
    return alarms.sweep_alarms(world.broker.database, 0)


def test_a_late_destruction_is_told_once_a_level_first_to_operators_then_to_its_tenant(
    world: World,
) -> None:
    _, other_admin = enrol(world, "Another tenant")
    snapshot_id = world.order(world.approved())
    with shut_out(world, "test"):
        with world.as_(world.admin) as tx:
            lifecycle.condemn_by_click(tx, snapshot_id, world.broker.queue)
        world.work()
        assert late_by(world, minutes=14) == 0
        assert late_by(world, minutes=16) == 1
        assert (len(alarms_to(world, world.operator)), alarms_to(world, world.admin)) == (1, [])
        assert late_by(world, minutes=50) == 0
        assert late_by(world, minutes=61) == 1
        assert late_by(world, hours=25) == 1
        assert late_by(world, hours=26) == 0
    to_operator, to_admin = alarms_to(world, world.operator), alarms_to(world, world.admin)
    assert (len(to_operator), len(to_admin)) == (3, 2)
    assert all(snapshot_id in text for text in (*to_operator, *to_admin))
    assert world.test.host in to_operator[0], "the reason, for who can mend it"
    assert not any(world.test.host in text for text in to_admin)
    assert alarms_to(world, other_admin) == []


def test_an_end_that_is_stuck_on_their_own_server_is_told_with_the_sql_that_ends_it(
    world: World,
) -> None:
    """At once: their DBA can do what we can't (case 32)."""
    lease_id, _ = world.lease(world.approved())
    world.work()
    role = world.find_lease(lease_id).role_name
    with shut_out(world, "live"):
        with world.as_(world.engineer) as tx:
            lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)
        world.work()
        assert late_by(world, minutes=16) == 1
    (told,) = alarms_to(world, world.admin)
    (line,) = [line for line in told.splitlines() if "DROP ROLE" in line]
    with connect(world.live, world.crm) as connection:
        connection.execute(line)
        row = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    assert row is None


def test_an_alarm_that_missed_its_first_levels_is_told_at_the_highest_alone(world: World) -> None:
    """The scheduler was paused for a day."""
    snapshot_id = world.order(world.approved())
    with shut_out(world, "test"):
        with world.as_(world.admin) as tx:
            lifecycle.condemn_by_click(tx, snapshot_id, world.broker.queue)
        world.work()
        assert late_by(world, hours=30) == 1
    assert [text.count("over a day") for text in alarms_to(world, world.operator)] == [1]


def test_an_overtaken_scheduler_tells_nothing(world: World) -> None:
    with world.as_(system("tests")) as tx:
        tx.session.execute(
            sa.text(
                "INSERT INTO scheduler_lead (singleton, holder, fence, until) "
                "VALUES (true, 'another', 7, now())"
            )
        )
    with pytest.raises(Overtaken):
        alarms.sweep_alarms(world.broker.database, 6)


def find(world: World, noun: str, tenant_id: TenantId | None) -> str:
    """What a janitor writes down of a role on the live server."""
    identity, place = new_id("lse"), f"{world.live.host}:{world.live.port}"
    found = Found(noun, place, "lease", f"sab_l_{identity[4:10]}", identity, tenant_id, {})
    with world.as_(system("janitor")) as tx:
        finds.open_find(tx, found)
        finds.note_stuck(tx, found, "the server does not let us")
    return identity


def test_what_was_found_and_is_not_ended_is_late_and_told(world: World) -> None:
    """Of nobody's, to operators alone; what is not ours is never ended, so it is never late."""
    of_tenant, of_nobody = find(world, "orphan", world.tenant), find(world, "remnant", None)
    find(world, "stranger", None)
    assert late_by(world, minutes=14) == 0
    assert late_by(world, minutes=61) == 2
    with world.as_(system("tests")) as tx:
        late = list_late(tx)
    assert {(item.what, item.id) for item in late} == {("find", of_tenant), ("find", of_nobody)}
    assert all("the server does not let us" in item.reason for item in late)
    (to_operator,), (to_admin,) = alarms_to(world, world.operator), alarms_to(world, world.admin)
    assert of_tenant in to_operator
    assert of_nobody in to_operator
    assert f"what was found of {of_tenant}" in to_admin
    assert of_nobody not in to_admin
    assert world.live.host not in to_admin


def test_what_kept_a_login_from_being_made_is_no_reason_of_its_end(world: World) -> None:
    lease_id, _ = world.lease(world.approved())
    with shut_out(world, "live"):
        world.issue(lease_id)
    assert world.find_lease(lease_id).stuck_reason
    with world.as_(world.engineer) as tx:
        lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)
        (late,) = list_late(tx, after_s=0)
    assert (late.id, late.reason) == (lease_id, "waiting for its turn")
    lease = world.find_lease(lease_id)
    assert (lease.stuck_since, lease.stuck_reason, lease.attempts) == (None, None, 0)
