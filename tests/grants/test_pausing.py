"""Pause and resume: whose they are, how far they are done, and that no end moves (G3)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import psycopg
import pytest

from broker import lifecycle, sweeps
from broker.errors import BrokerError, Conflict, Denied
from broker.grants import pause_steps, pausing, queries
from broker.grants.queries import LeaseView
from broker.grants.requests import GrantRefused
from broker.secret import Secret
from broker.tx import Actor
from tests.stories import shut_out
from tests.world import World, enrol

Login = tuple[str, str, Secret[str]]


@pytest.fixture(scope="module")
def world(module_world: World) -> World:
    return module_world


@pytest.fixture
def login(world: World) -> Login:
    """A grant, and a login under it that is issued."""
    grant_id = world.approved(copy_s=0)
    lease_id, password = world.lease(grant_id)
    world.work()
    return grant_id, lease_id, password


def act(world: World, actor: Actor, do: Callable[..., None], identity: str) -> None:
    with world.as_(actor) as tx:
        do(tx, identity, world.broker.queue)


def view(world: World, lease_id: str) -> LeaseView:
    with world.as_(world.admin) as tx:
        return queries.get_lease_view(tx, lease_id)


def is_let_in(world: World, lease_id: str, password: Secret[str]) -> bool:
    try:
        world.login(lease_id, password).close()
    except psycopg.OperationalError:
        return False
    return True


def kinds_of(world: World, subject: str) -> list[str]:
    return [entry["kind"] for entry in world.entries() if entry["subject"] == subject]


def test_a_paused_login_is_cut_let_nobody_in_and_ends_when_it_was_to_end(
    world: World, login: Login
) -> None:
    _, lease_id, password = login
    ends_at = view(world, lease_id).ends_at
    with contextlib.closing(world.login(lease_id, password)) as session:
        act(world, world.admin, pausing.pause_lease, lease_id)
        assert view(world, lease_id).pause == "asked"
        assert is_let_in(world, lease_id, password)  # asked is not done, and is not called so
        world.work()
        assert view(world, lease_id).pause == "paused"
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert not is_let_in(world, lease_id, password)
    act(world, world.admin, pausing.resume_lease, lease_id)
    assert view(world, lease_id).pause == "resuming"
    world.work()
    assert (view(world, lease_id).pause, view(world, lease_id).ends_at) == ("open", ends_at)
    assert is_let_in(world, lease_id, password)
    assert kinds_of(world, lease_id)[2:] == [
        *("lease.pause_asked", "lease.paused", "lease.resume_asked", "lease.resumed")
    ]
    act(world, world.admin, pausing.pause_lease, lease_id)
    world.work()
    act(world, world.admin, lifecycle.end_lease_by_click, lease_id)
    world.work()
    assert view(world, lease_id).state == "revoked"


def test_a_paused_grant_gives_nothing_new_and_keeps_what_was_paused_by_itself(
    world: World, login: Login
) -> None:
    grant_id, lease_id, password = login
    other, others = world.lease(grant_id)
    world.work()
    act(world, world.admin, pausing.pause_lease, lease_id)
    act(world, world.admin, pausing.pause_grant, grant_id)
    with pytest.raises(GrantRefused, match="paused by the customer"):
        world.lease(grant_id)
    world.work()
    assert {view(world, one).pause for one in (lease_id, other)} == {"paused"}
    with pytest.raises(Conflict, match="paused already"):
        act(world, world.admin, pausing.pause_grant, grant_id)
    with pytest.raises(Conflict, match="whole grant"):
        act(world, world.admin, pausing.resume_lease, other)
    act(world, world.admin, pausing.resume_grant, grant_id)
    world.work()
    assert (view(world, lease_id).pause, view(world, other).pause) == ("paused", "open")
    assert is_let_in(world, other, others)
    assert not is_let_in(world, lease_id, password)


def test_the_customers_pause_is_lifted_by_the_customer_alone(world: World, login: Login) -> None:
    _, lease_id, _ = login
    act(world, world.engineer, pausing.pause_lease, lease_id)
    with pytest.raises(Conflict):
        act(world, world.engineer, pausing.pause_lease, lease_id)
    act(world, world.admin, pausing.pause_lease, lease_id)  # takes the vendor's place
    with pytest.raises(Denied, match="customer alone"):
        act(world, world.engineer, pausing.resume_lease, lease_id)
    _, stranger = enrol(world, "Another tenant")
    for do in (pausing.pause_lease, pausing.resume_lease):
        for actor in (world.operator, stranger):
            with pytest.raises(BrokerError):
                act(world, actor, do, lease_id)
    act(world, world.admin, pausing.resume_lease, lease_id)
    world.work()
    assert view(world, lease_id).pause == "open"


def test_a_login_that_is_not_made_yet_is_not_made_while_it_is_paused(
    world: World, login: Login
) -> None:
    grant_id, _, _ = login
    lease_id, password = world.lease(grant_id)
    act(world, world.admin, pausing.pause_lease, lease_id)
    world.work()
    assert (view(world, lease_id).state, view(world, lease_id).pause) == ("pending", "paused")
    assert not is_let_in(world, lease_id, password)
    act(world, world.admin, pausing.resume_lease, lease_id)
    world.work()
    assert (view(world, lease_id).state, view(world, lease_id).pause) == ("issued", "open")
    assert is_let_in(world, lease_id, password)


def test_what_can_not_be_paused_now_is_asked_with_its_reason_and_tried_again(
    world: World, login: Login
) -> None:
    _, lease_id, password = login
    with shut_out(world, "live"):
        act(world, world.admin, pausing.pause_lease, lease_id)
        world.work()
        seen = view(world, lease_id)
        assert (seen.pause, bool(seen.stuck_reason)) == ("asked", True)
    with world.as_(world.admin) as tx:
        tx.session.get_one(queries.Lease, lease_id).next_try_at = tx.at
    sweeps.sweep_retries(world.broker.database, world.broker.queue, 1)
    world.work()
    assert view(world, lease_id).pause == "paused"
    assert not is_let_in(world, lease_id, password)


def test_whatever_order_pause_resume_and_end_arrive_in_an_ended_login_stays_ended(
    world: World, login: Login
) -> None:
    grant_id, lease_id, password = login
    steps = (pausing.pause_lease, pausing.resume_lease, lifecycle.end_lease_by_click)

    def insist(do: Callable[..., None]) -> None:
        with contextlib.suppress(Conflict):
            act(world, world.admin, do, lease_id)
        pause_steps.hold(world.broker.database, world.ports.keys, lease_id, world.broker.queue)

    threads = [threading.Thread(target=insist, args=[do]) for do in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    world.work()
    assert view(world, lease_id).state == "revoked"
    assert not is_let_in(world, lease_id, password)
    for do in (pausing.pause_lease, pausing.resume_lease):
        with pytest.raises(Conflict):
            act(world, world.admin, do, lease_id)
    act(world, world.admin, lifecycle.end_grant_by_click, grant_id)
    with pytest.raises(Conflict):
        act(world, world.admin, pausing.pause_grant, grant_id)
