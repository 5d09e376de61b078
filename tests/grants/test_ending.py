"""Ending at once: one login, one grant, one person, one tenant; from both sides."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker import lifecycle, people
from broker.errors import Denied, NotFound
from broker.grants import requests
from broker.grants.requests import Ask
from broker.ids import PersonId, new_id
from broker.tx import Actor, system
from tests.world import REASON, World, add_person, enrol


def ask_as(world: World, engineer: Actor) -> str:
    ask = Ask(world.ticket(), world.database_id, "incident", REASON, live_s=3600, copy_s=0)
    with world.as_(engineer) as tx:
        return requests.request(tx, ask, world.broker.settings.times, world.broker.queue)


@pytest.fixture
def lead(world: World) -> Actor:
    with world.as_(system("tests")) as tx:
        return add_person(tx, "lead", None)


@pytest.mark.parametrize("side", ["tenant", "vendor"])
def test_everything_of_one_person_ends_and_what_others_have_goes_on(
    world: World, lead: Actor, side: str
) -> None:
    with world.as_(system("tests")) as tx:
        other = add_person(tx, "engineer", None)
    grant_id, kept = world.approved(), ask_as(world, other)
    lease_id, _ = world.lease(grant_id)
    world.work()
    waiting = world.request()
    actor = world.admin if side == "tenant" else lead
    with world.as_(actor) as tx:
        ended = lifecycle.end_all_of_person(tx, world.engineer.person_id or "", world.broker.queue)
    world.work()
    assert ended == 2
    assert {world.grant(grant_id).state, world.grant(waiting).state} == {"ended"}
    assert world.find_lease(lease_id).state == "revoked"
    assert world.grant(kept).state == "requested"


def test_an_admin_of_another_tenant_ends_nothing_and_learns_nothing(world: World) -> None:
    """G12: the same words for a person of whom something is open elsewhere as for none."""
    grant_id = world.approved()
    _, stranger = enrol(world, "Other tenant")
    told = []
    for person_id in (world.engineer.person_id or "", new_id("psn")):
        with world.as_(stranger) as tx, pytest.raises(NotFound) as refused:
            lifecycle.end_all_of_person(tx, person_id, world.broker.queue)
        told.append(refused.value.message)
    assert told[0] == told[1]
    assert world.grant(grant_id).state == "approved"


@pytest.mark.parametrize("who", ["auditor", "engineer", "operator"])
def test_nobody_else_ends_everything_of_a_person(world: World, who: str) -> None:
    with world.as_(system("tests")) as tx:
        actor = add_person(tx, who, world.tenant if who == "auditor" else None)
    grant_id = world.approved()
    with world.as_(actor) as tx, pytest.raises(Denied):
        lifecycle.end_all_of_person(tx, world.engineer.person_id or "", world.broker.queue)
    assert world.grant(grant_id).state == "approved"


@pytest.mark.parametrize(
    "make",
    [lambda world: world.admin, lambda world: world.engineer],
    ids=["by the customer", "by the vendor"],
)
def test_either_side_ends_one_login_or_one_grant(
    world: World, make: Callable[[World], Actor]
) -> None:
    grant_id = world.approved()
    one, two = world.lease(grant_id)[0], world.lease(grant_id)[0]
    world.work()
    with world.as_(make(world)) as tx:
        lifecycle.end_lease_by_click(tx, one, world.broker.queue)
    world.work()
    assert [world.find_lease(lease).state for lease in (one, two)] == ["revoked", "issued"]
    with world.as_(make(world)) as tx:
        lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)
    world.work()
    assert world.find_lease(two).state == "revoked"


def test_ending_everything_of_a_tenant_leaves_another_tenants_access_alone(world: World) -> None:
    grant_id = world.approved()
    other, _ = enrol(world, "Other tenant")
    with world.as_(world.admin) as tx, pytest.raises(NotFound):
        lifecycle.end_all_of_tenant(tx, other, world.broker.queue)
    with world.as_(world.admin) as tx:
        assert lifecycle.end_all_of_tenant(tx, world.tenant, world.broker.queue) == 1
    assert world.grant(grant_id).state == "ended"


def test_a_person_whose_role_was_taken_ends_nothing_more(world: World) -> None:
    grant_id = world.approved()
    with world.as_(system("tests")) as tx:
        second = add_person(tx, "admin", world.tenant)
    with world.as_(world.admin) as tx:
        people.end_membership(tx, PersonId(second.person_id or ""), world.tenant)
    with world.as_(second) as tx, pytest.raises((Denied, NotFound)):
        lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)
    assert world.grant(grant_id).state == "approved"
