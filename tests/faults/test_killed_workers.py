"""`kill -9` of a real worker between an effect and its record; the story still ends as it must."""

from __future__ import annotations

import pytest

from broker import sweeps
from broker.keys import KeyState
from broker.snapshots import certificates
from tests.faults.processes import die_at, running
from tests.stories import control_superuser, ready_copy, wait_until
from tests.world import World

OURS = "SELECT rolname FROM pg_roles WHERE rolname ~ '^sab_(l|s|o|u)_' ORDER BY 1"
DATABASES = "SELECT datname FROM pg_database WHERE datname ~ '^sab_[a-z2-7]{26}$'"


def sweep_now(world: World) -> None:
    """A sweep for which every wait is over; the worker that runs does the rest."""
    with control_superuser(world) as connection:
        for table in ("lease", "snapshot"):
            connection.execute(
                f"UPDATE {table} SET next_try_at = now() WHERE next_try_at IS NOT NULL"
            )
    sweeps.sweep_ends(world.broker.database, world.broker.queue, 0)
    sweeps.sweep_retries(world.broker.database, world.broker.queue, 0)


def is_destroyed(world: World, snapshot_id: str) -> bool:
    sweep_now(world)
    return world.snapshot(snapshot_id).state == "destroyed"


@pytest.mark.long
def test_a_role_that_was_made_and_not_recorded_ends_with_the_ticket(world: World) -> None:
    grant_id = world.approved()
    lease_id, _ = world.lease(grant_id)
    die_at(world, "role-made")
    assert world.find_lease(lease_id).state == "pending"
    role = world.find_lease(lease_id).role_name
    assert (role,) in world.find_on_server(world.live, OURS)
    world.close_ticket(world.grant(grant_id).ticket_id)
    with running(world, "worker"):

        def is_revoked() -> bool:
            sweep_now(world)
            return world.find_lease(lease_id).state == "revoked"

        wait_until(is_revoked, "the lease is revoked")
        wait_until(lambda: world.find_on_server(world.live, OURS) == [], "no role is left")


@pytest.mark.long
def test_a_role_that_was_made_and_not_recorded_is_given_out_by_the_next_worker(
    world: World,
) -> None:
    lease_id, password = world.lease(world.approved())
    die_at(world, "role-made")
    with running(world, "worker"):

        def is_issued() -> bool:
            sweep_now(world)
            return world.find_lease(lease_id).state == "issued"

        wait_until(is_issued, "the lease is issued")
    with world.login(lease_id, password) as session:
        session.execute("SELECT * FROM contacts LIMIT 1")
    assert world.kinds().count("lease.issued") == 1


@pytest.mark.long
def test_a_copy_whose_worker_died_in_the_middle_is_made_anew_and_ends(world: World) -> None:
    grant_id = world.approved()
    snapshot_id = world.order(grant_id)
    die_at(world, "mid-copy")
    assert world.snapshot(snapshot_id).state == "copying"
    assert world.find_on_server(world.test, DATABASES) == [(f"sab_{snapshot_id[4:]}",)]
    with running(world, "worker"):

        def is_ready() -> bool:
            sweep_now(world)
            return world.snapshot(snapshot_id).state == "ready"

        wait_until(is_ready, "the copy is ready")
        assert world.kinds().count("snapshot.copying") == 1
        world.close_ticket(world.grant(grant_id).ticket_id)
        wait_until(lambda: is_destroyed(world, snapshot_id), "the copy is destroyed")
    assert_nothing_left(world)


@pytest.mark.long
def test_a_copy_whose_ticket_closes_while_its_worker_is_dead_is_never_ready(world: World) -> None:
    grant_id = world.approved()
    snapshot_id = world.order(grant_id)
    die_at(world, "copy-filled")
    world.close_ticket(world.grant(grant_id).ticket_id)
    with running(world, "worker"):
        wait_until(lambda: is_destroyed(world, snapshot_id), "the copy is destroyed")
    assert "snapshot.ready" not in world.kinds()
    assert_nothing_left(world)


def test_a_destruction_that_was_killed_after_the_key_died_goes_on_to_its_certificate(
    world: World,
) -> None:
    grant_id, snapshot_id = ready_copy(world)
    snapshot = world.snapshot(snapshot_id)
    world.close_ticket(world.grant(grant_id).ticket_id)
    die_at(world, "after-data-key")
    assert world.snapshot(snapshot_id).state == "condemned"
    assert world.ports.keys.find_state(snapshot.wrapping_key) is KeyState.ERASED
    assert world.find_on_server(world.test, DATABASES) == [(snapshot.sandbox,)]
    with running(world, "worker"):
        wait_until(lambda: is_destroyed(world, snapshot_id), "the copy is destroyed")
        wait_until(lambda: "certificate.issued" in world.kinds(), "the certificate is issued")
    assert_nothing_left(world)
    assert world.kinds().count("key.erased") == 1
    with world.as_(world.admin) as tx:
        (certificate,) = certificates.list_of_tenant(tx, world.tenant)
    assert certificate.snapshot_id == snapshot_id


def assert_nothing_left(world: World) -> None:
    assert world.find_on_server(world.test, DATABASES) == []
    assert world.find_on_server(world.test, OURS) == []
    assert list(world.ports.store.list_all("snapshots/")) == []
    assert world.ports.keys.list_names("snapshot/") == []
