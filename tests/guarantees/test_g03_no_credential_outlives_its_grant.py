"""G3. No credential outlives its grant. `revoked` means that a fresh look found no login and no
session.

The attacks against this are in tests/engines/test_revoking.py; issue B deepens it.
"""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from broker import lifecycle
from tests.stories import is_dead, retry, shut_out, skip, sweep
from tests.world import World

OURS = "SELECT rolname FROM pg_roles WHERE rolname ~ '^sab_(l|s|o|u)_'"


def test_when_the_ticket_closes_the_login_is_refused_and_the_open_session_is_dead(
    world: World,
) -> None:
    ticket = world.ticket()
    grant_id = world.request(ticket)
    world.work()
    world.approve(grant_id)
    lease_id, password = world.lease(grant_id)
    snapshot_id = world.order(grant_id)
    world.work()
    sandbox_lease, sandbox_password = world.sandbox_lease(snapshot_id)
    world.work()
    live, sandbox = (
        world.login(lease_id, password),
        world.login(sandbox_lease, sandbox_password),
    )
    with live, sandbox:
        assert not is_dead(live)
        assert not is_dead(sandbox)
        world.close_ticket(ticket)
        world.work()
        assert is_dead(live)
        assert is_dead(sandbox)
    for lease, secret in ((lease_id, password), (sandbox_lease, sandbox_password)):
        ended = world.find_lease(lease)
        assert (ended.state, ended.verifier) == ("revoked", None), ended.stuck_reason
        assert ended.login_refused_at <= ended.last_session_dead_at <= ended.role_gone_at
        with pytest.raises(psycopg.OperationalError):
            world.login(lease, secret)
    for server in (world.live, world.test):
        assert world.find_on_server(server, OURS) == []


def test_the_server_itself_refuses_a_login_past_the_grants_end(world: World) -> None:
    """`VALID UNTIL` is set to the end that was given, so it holds with the broker down."""
    grant_id = world.approved(live_s=600, copy_s=1200)
    lease_id, _ = world.lease(grant_id)
    snapshot_id = world.order(grant_id)
    world.work()
    sandbox_lease, _ = world.sandbox_lease(snapshot_id)
    world.work()
    grant = world.grant(grant_id)
    for lease_id_, server, until in (
        (lease_id, world.live, grant.live_until),
        (sandbox_lease, world.test, grant.copy_until),
    ):
        role = world.find_lease(lease_id_).role_name
        query = "SELECT rolvaliduntil FROM pg_roles WHERE rolname = %s"
        assert world.find_on_server(server, query, role) == [(until,)]


def test_a_lease_ends_with_its_own_time_while_its_grant_goes_on(world: World) -> None:
    grant_id = world.approved(live_s=600, copy_s=86400)
    lease_id, password = world.lease(grant_id)
    world.work()
    with world.login(lease_id, password) as session:
        skip(world, timedelta(seconds=601))
        sweep(world)
        assert is_dead(session)
    assert world.find_lease(lease_id).state == "revoked"
    assert world.grant(grant_id).state == "approved"


def test_a_lease_is_not_called_revoked_before_a_look_could_be_made(world: World) -> None:
    """The tenant's server refuses us: nothing is known, so it goes on being `revoking`."""
    grant_id = world.approved()
    lease_id, password = world.lease(grant_id)
    world.work()
    with world.login(lease_id, password) as session:
        with shut_out(world, "live"):
            with world.as_(world.admin) as tx:
                lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)
            world.work()
            lease = world.find_lease(lease_id)
            assert (lease.state, lease.attempts) == ("revoking", 1)
            assert "refused us or did not answer" in (lease.stuck_reason or "")
            assert not is_dead(session)
        retry(world)
        assert is_dead(session)
    lease = world.find_lease(lease_id)
    assert (lease.state, lease.stuck_reason) == ("revoked", None)
