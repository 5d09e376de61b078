"""The first session of a login is watched, and so is whatever outlives its end (G3)."""

from __future__ import annotations

from broker import lifecycle
from broker.grants import watch_steps
from tests.engines.test_revoking import is_dead
from tests.stories import control_superuser
from tests.world import World, connect


def watch(world: World) -> None:
    with world.as_(world.operator) as tx:
        watch_steps.put_due(tx, world.broker.queue)
    world.work()
    world.work()  # what it ended is called to the desk


def told(world: World, kind: str) -> list[dict]:
    return [entry for entry in world.entries() if entry["kind"] == kind]


def test_the_first_session_of_a_login_is_told_once(world: World) -> None:
    lease_id, password = world.lease(world.approved())
    world.work()
    watch(world)
    assert world.find_lease(lease_id).first_seen_at is None
    with world.login(lease_id, password) as session:
        began = session.execute(
            "SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ).fetchone()
        watch(world)
        watch(world)
    lease = world.find_lease(lease_id)
    assert (lease.first_seen_at,) == began
    assert lease.state == "issued"
    (entry,) = told(world, "lease.entered")
    assert (entry["subject"], entry["facts"]["grant"]) == (lease_id, lease.grant_id)


def test_a_login_whose_role_became_more_ends_when_somebody_is_in_it(world: World) -> None:
    lease_id, password = world.lease(world.approved())
    world.work()
    role = world.find_lease(lease_id).role_name
    with connect(world.live, world.crm) as admin:
        admin.execute(f"ALTER ROLE {role} CREATEDB")
    with world.login(lease_id, password) as session:
        watch(world)
        assert is_dead(session)
    assert world.find_lease(lease_id).state == "revoked"
    (entry,) = [e for e in told(world, "lease.revoking") if e["subject"] == lease_id]
    assert entry["facts"]["why"] == "its role can do more than its scope"


def test_a_session_that_outlived_its_role_is_ended_and_told(world: World) -> None:
    """As one would be that slept past its login and everything after it."""
    lease_id, _ = world.lease(world.approved())
    world.work()
    with world.as_(world.engineer) as tx:
        lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)
    world.work()
    assert world.find_lease(lease_id).role_oid is not None
    other_id, password = world.lease(world.find_lease(lease_id).grant_id)
    world.work()
    other = world.find_lease(other_id).role_name
    with world.login(other_id, password) as session:
        with connect(world.live, world.crm) as admin:
            (oid,) = admin.execute("SELECT to_regrole(%s)::oid::bigint", [other]).fetchone() or ()
            admin.execute(f"DROP ROLE {other}")
        with control_superuser(world) as control:
            control.execute("UPDATE lease SET role_oid = %s WHERE id = %s", [oid, lease_id])
        watch(world)
        assert is_dead(session)
    (entry,) = told(world, "lease.outlived")
    assert (entry["subject"], entry["facts"]["sessions"]) == (lease_id, 1)
