"""The desk of a real worker: what is plain it does itself, what is not it leaves to a job, and what
was called while nobody listened is found.
"""

from __future__ import annotations

import contextlib

import psycopg
import pytest
import sqlalchemy as sa

from broker import lifecycle, worker
from tests.faults.processes import running
from tests.faults.test_killed_workers import OURS
from tests.stories import control_superuser, wait_until
from tests.world import World, connect

IN_A_SCOPE = (
    "SELECT FROM pg_auth_members m WHERE m.roleid::regrole::text ~ '^sab_s_'"
    " AND m.member::regrole::text ~ '^sab_l_'"
)


def jobs(world: World) -> list[str]:
    with control_superuser(world) as connection:
        rows = connection.execute(
            "SELECT task_name FROM procrastinate_jobs WHERE status = 'todo' ORDER BY 1"
        ).fetchall()
    return [name for (name,) in rows]


def end(world: World, *lease_ids: str) -> None:
    for lease_id in lease_ids:
        with world.as_(world.admin) as tx:
            lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)


def states(world: World, *lease_ids: str) -> set[str]:
    return {world.find_lease(lease_id).state for lease_id in lease_ids}


def test_plain_leases_are_made_and_ended_together_and_need_no_job(world: World) -> None:
    """G3, G9: each with its own entries; a session that is open ends with its login."""
    grant_id = world.approved()
    first, _ = world.lease(grant_id)
    desk = worker.open_desk(world.ports)
    desk.work_due()
    assert jobs(world) == ["issue_lease"]  # its scope is made by one
    world.work()
    (one, password), (other, _) = world.lease(grant_id), world.lease(grant_id)
    desk.work_due()
    assert states(world, first, one, other) == {"issued"}
    assert jobs(world) == []
    with world.login(one, password) as session:
        session.execute("SELECT * FROM contacts LIMIT 1")
        end(world, first, one)
        desk.work_due()
        assert states(world, first, one) == {"revoked"}
        assert jobs(world) == []
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert (
        len(world.find_on_server(world.live, "SELECT FROM pg_roles WHERE rolname ~ '^sab_l'")) == 1
    )
    lease = world.find_lease(one)
    assert lease.verifier is None
    assert lease.login_refused_at <= lease.last_session_dead_at <= lease.role_gone_at
    end(world, other)
    desk.work_due()
    assert world.find_on_server(world.live, OURS) == []  # the scope went with its last lease
    kinds = world.kinds()
    assert [kinds.count(f"lease.{what}") for what in ("issued", "revoking", "revoked")] == [3] * 3


def test_whoever_is_in_the_way_keeps_no_other_lease_from_its_end(world: World) -> None:
    """The holder of one lease locks its own role's row: the batch leaves all to their own jobs."""
    grant_id = world.approved()
    held, password = world.lease(grant_id)
    world.work()
    other, _ = world.lease(grant_id)
    world.work()
    with contextlib.closing(world.login(held, password)) as session:
        session.execute("BEGIN")
        session.execute("ALTER ROLE CURRENT_USER PASSWORD 'mine'")
        end(world, held, other)
        worker.open_desk(world.ports).work_due()
        assert states(world, held, other) == {"revoking"}
        assert jobs(world) == ["revoke_lease", "revoke_lease"]
        # What could be taken was: it stands, though the next step met the lock.
        assert world.find_on_server(world.live, IN_A_SCOPE) == []
        world.work()
    assert states(world, held, other) == {"revoked"}
    assert world.find_on_server(world.live, OURS) == []


def test_a_role_that_would_reach_more_than_its_scope_is_not_made(world: World) -> None:
    """Its commit comes after the check: nobody saw the role; its own job then says why."""
    grant_id = world.approved()
    first, _ = world.lease(grant_id)
    world.work()
    with connect(world.live, world.crm) as dba:
        dba.execute(
            "CREATE TABLE crm.open_to_all (x int); GRANT SELECT ON crm.open_to_all TO PUBLIC"
        )
    lease_id, _ = world.lease(grant_id)
    desk = worker.open_desk(world.ports)
    desk.work_due()
    role = world.find_lease(lease_id).role_name
    assert world.find_on_server(world.live, "SELECT FROM pg_roles WHERE rolname = %s", role) == []
    assert jobs(world) == ["issue_lease"]
    world.work()
    assert "open_to_all" in (world.find_lease(lease_id).stuck_reason or "")
    assert states(world, first) == {"issued"}


def test_a_login_whose_grant_is_over_is_never_issued_by_the_desk(world: World) -> None:
    grant_id = world.approved()
    first, _ = world.lease(grant_id)
    world.work()
    lease_id, _ = world.lease(grant_id)
    with world.as_(world.admin) as tx:
        lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)
        tx.session.execute(  # as if the end had not seen it
            sa.text("DELETE FROM procrastinate_jobs")
        )
    worker.open_desk(world.ports).work_due()
    world.work()
    assert states(world, first, lease_id) == {"revoked"}
    assert world.find_on_server(world.live, OURS) == []


@pytest.mark.long
def test_a_worker_hears_calls_and_finds_those_that_nobody_heard(world: World) -> None:
    grant_id = world.approved()
    first, _ = world.lease(grant_id)  # nobody listens yet
    with running(world, "worker"):
        wait_until(lambda: states(world, first) == {"issued"}, "the first login is issued")
        second, password = world.lease(grant_id)
        wait_until(lambda: states(world, second) == {"issued"}, "the second login is issued")
        with world.login(second, password):
            end(world, first, second)
            wait_until(lambda: states(world, first, second) == {"revoked"}, "both are revoked")
        wait_until(lambda: world.find_on_server(world.live, OURS) == [], "no role is left")
