"""Cases that a reviewer found; each was seen to fail before it was mended."""

from __future__ import annotations

import threading

import pytest

from broker import lifecycle, sweeps
from broker.engines.postgres.scram import make_verifier, new_password
from broker.errors import BrokerError, Invalid
from broker.grants import leases
from broker.grants.narrowing import Narrowing
from tests.world import World, connect


def test_a_login_asked_for_while_its_grant_ends_does_not_outlive_it(world: World) -> None:
    """G3: the request was open when the end was committed."""
    grant_id = world.approved()
    asked, ended = threading.Event(), threading.Event()

    def end() -> None:
        asked.wait(20)
        with world.as_(world.admin) as tx:
            lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)
        ended.set()

    other = threading.Thread(target=end)
    other.start()
    with world.as_(world.engineer) as tx:
        verifier = make_verifier(new_password())
        lease_id = leases.ask_live(tx, grant_id, verifier, world.broker.queue)
        asked.set()
        assert not ended.wait(1)  # the end waits for this transaction, and then sees the lease
    other.join(20)
    world.work()
    world.work()
    assert world.find_lease(lease_id).state == "revoked"


def test_a_login_under_a_grant_that_is_over_is_ended_by_the_sweep(world: World) -> None:
    grant_id = world.approved()
    lease_id, _ = world.lease(grant_id)
    world.work()
    assert world.find_lease(lease_id).state == "issued"
    with world.as_(world.admin) as tx:  # as if the end had not seen the lease
        from broker.grants import requests

        requests.mark_ended(tx, requests.get_grant(tx, grant_id), "a test")
    sweeps.sweep_ends(world.broker.database, world.broker.queue, 1)
    world.work()
    world.work()
    assert world.find_lease(lease_id).state == "revoked"


def test_narrowing_a_partition_alone_is_refused(world: World) -> None:
    """G2: live access reads it through its root, so it would have been shown all the same."""
    grant_id = world.request()
    world.work()
    for narrowing in (
        Narrowing(tables_out=frozenset({"crm.orders_2024"})),
        Narrowing(columns_masked=frozenset({"crm.orders_2024.reference"})),
    ):
        with pytest.raises(Invalid, match=r"part of crm\.orders"):
            world.approve(grant_id, narrowing)
    world.approve(grant_id, Narrowing(tables_out=frozenset({"crm.orders"})))


def test_a_copy_holds_nothing_of_a_schema_that_was_not_registered(world: World) -> None:
    """Its definitions were in no plan; and our login may not even read its tables."""
    with connect(world.live, world.crm) as dba:
        dba.execute(
            "CREATE SCHEMA hr; CREATE TABLE hr.pay (note text DEFAULT 'unregistered-default');"
            "CREATE FUNCTION hr.f() RETURNS text LANGUAGE sql AS $$SELECT 'unregistered-body'$$"
        )
    grant_id = world.approved()
    snapshot_id = world.order(grant_id)
    world.work()
    snapshot = world.snapshot(snapshot_id)
    assert (snapshot.state, snapshot.stuck_reason) == ("ready", None)
    schemas = world.find_on_server(
        world.test,
        "SELECT nspname FROM pg_namespace WHERE nspname IN ('hr', 'crm')",
        dbname=snapshot.sandbox,
    )
    assert schemas == [("crm",)]


def test_two_admins_can_not_remove_each_other_at_once(world: World) -> None:
    """A tenant without an admin could never decide again."""
    from broker import people
    from tests.world import add_person

    with world.as_(world.operator) as tx:
        second = add_person(tx, "admin", world.tenant)
    removed, go = threading.Event(), threading.Event()
    outcome: list[BrokerError | None] = []

    def remove_first() -> None:
        go.wait(20)
        try:
            with world.as_(second) as tx:
                people.end_membership(tx, world.admin.person_id, world.tenant)  # type: ignore[arg-type]  # the world's admin is a person
        except BrokerError as error:
            outcome.append(error)
        else:
            outcome.append(None)
        removed.set()

    other = threading.Thread(target=remove_first)
    other.start()
    with world.as_(world.admin) as tx:
        assert second.person_id is not None
        people.end_membership(tx, second.person_id, world.tenant)
        go.set()
        assert not removed.wait(1)
    other.join(20)
    assert isinstance(outcome[0], BrokerError)
    with world.as_(world.admin) as tx:
        assert [m.role for m in people.list_members(tx, world.tenant)] == ["admin"]
