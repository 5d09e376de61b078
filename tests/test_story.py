"""The whole story on real servers, on the domain's own functions; the demo tells it over HTTP."""

from __future__ import annotations

import psycopg
import pytest

from broker.grants.narrowing import Narrowing
from tests.world import World


def test_a_grant_gives_a_masked_login_and_a_masked_copy_and_both_end_with_the_ticket(
    world: World,
) -> None:
    ticket = world.ticket()
    grant_id = world.request(ticket)
    world.work()
    print(world.grant(grant_id).stuck_reason)
    world.approve(grant_id, Narrowing(live_s=1800))
    lease_id, password = world.lease(grant_id)
    snapshot_id = world.order(grant_id)
    world.work()
    lease = world.find_lease(lease_id)
    print(lease.state, lease.stuck_reason)
    snapshot = world.snapshot(snapshot_id)
    print(snapshot.state, snapshot.stuck_reason, snapshot.report)
    with world.login(lease_id, password) as session:
        rows = session.execute("SELECT email FROM contacts LIMIT 3").fetchall()
        print(rows)
    world.close_ticket(ticket)
    world.work()
    print(world.kinds())
    print(world.snapshot(snapshot_id).state, world.snapshot(snapshot_id).stuck_reason)
    with pytest.raises(psycopg.OperationalError):
        world.login(lease_id, password)
