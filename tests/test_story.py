"""The whole story on real servers, on the domain's own functions; the demo tells it over HTTP."""

from __future__ import annotations

import psycopg
import pytest

from broker.grants.narrowing import Narrowing
from tests.world import World

KINDS = {
    *("admin.enrolled", "database.registered", "ticket.mirrored", "grant.requested", "plan.made"),
    *("grant.approved", "lease.asked", "lease.issued", "snapshot.ordered", "snapshot.ready"),
    *("ticket.ended", "grant.ended", "lease.revoked", "scope.dropped", "snapshot.condemned"),
    *("key.erased", "snapshot.destroyed", "certificate.issued"),
}


def test_a_grant_gives_a_masked_login_and_a_masked_copy_and_both_end_with_the_ticket(
    world: World,
) -> None:
    ticket = world.ticket()
    grant_id = world.request(ticket)
    world.work()
    world.approve(grant_id, Narrowing(tables_out=frozenset({"crm.tickets"}), live_s=1800))
    lease_id, password = world.lease(grant_id)
    snapshot_id = world.order(grant_id)
    world.work()

    with world.login(lease_id, password) as session:
        addresses = session.execute("SELECT email FROM contacts").fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("SELECT email FROM crm.contacts")
    assert addresses
    assert all(address.endswith("@example.invalid") for (address,) in addresses)
    snapshot = world.snapshot(snapshot_id)
    assert (snapshot.state, snapshot.stuck_reason) == ("ready", None)
    assert snapshot.report is not None
    assert snapshot.report["structure_only"]["crm.tickets"] == "left out by the decision"
    sandbox_lease, sandbox_password = world.sandbox_lease(snapshot_id)
    world.work()
    with world.login(sandbox_lease, sandbox_password) as session:
        query = "SELECT count(*) FROM crm.contacts c JOIN crm.orders o ON o.contact_id = c.id"
        joined = session.execute(query).fetchone()
        session.execute("UPDATE crm.companies SET name = 'changed by a test'")
    assert joined == world.find_on_server(world.live, query, dbname=world.crm)[0]

    world.close_ticket(ticket)
    world.work()
    world.work()  # what the first round's jobs ordered

    assert world.snapshot(snapshot_id).state == "destroyed"
    for identity in (lease_id, sandbox_lease):
        assert world.find_lease(identity).state == "revoked"
    for identity, secret in ((lease_id, password), (sandbox_lease, sandbox_password)):
        with pytest.raises(psycopg.OperationalError):
            world.login(identity, secret)
    assert set(world.kinds()) >= KINDS
