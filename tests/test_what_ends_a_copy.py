"""What ends a copy, one by one, through the one door (`lifecycle`), and that nothing undoes it.

The copy is only ordered: what is condemned is the obligation, and it is destroyed from there as
from anywhere (G7). Copies that hold something are destroyed in the tests of G6 to G8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from broker import lifecycle, people
from broker.grants import in_force, requests
from broker.grants.approval_policy import ApprovalPolicy, Given, forbids
from broker.ids import PersonId
from broker.tickets import FetchedTicket, mirror
from broker.tickets.mirror import Ticket
from broker.tx import system
from tests.stories import skip, sweep
from tests.world import SYSTEM, World, add_person, enrol

Trigger = Callable[[World, str, str], None]
NOT_ALLOWED = "the customer's policy does not allow it any more"


def close_ticket(world: World, grant_id: str, _: str) -> None:
    world.close_ticket(world.grant(grant_id).ticket_id)


def look_at_ticket(world: World, grant_id: str, fetched: FetchedTicket | None) -> None:
    """As the poll does, with what the ticket system answered."""
    with world.as_(system("tickets")) as tx:
        external_id = tx.session.get_one(Ticket, world.grant(grant_id).ticket_id).external_id
        seen = mirror.record_look(tx, SYSTEM, external_id, fetched, missing_s=300)
        lifecycle.take_look_at_ticket(tx, seen, world.broker.queue)


def delete_ticket(world: World, grant_id: str, snapshot_id: str) -> None:
    """One look that misses it ends nothing; a second one, five minutes later, does."""
    look_at_ticket(world, grant_id, None)
    sweep(world)
    assert world.snapshot(snapshot_id).state != "condemned"
    skip(world, timedelta(seconds=301))
    look_at_ticket(world, grant_id, None)


def move_ticket(world: World, grant_id: str, _: str) -> None:
    other, _admin = enrol(world, "Another tenant")
    with world.as_(system("tests")) as tx:
        from broker.tenants import get_tenant

        customer = get_tenant(tx, other).ticket_customer
        external_id = tx.session.get_one(Ticket, world.grant(grant_id).ticket_id).external_id
    look_at_ticket(world, grant_id, FetchedTicket(external_id, "Moved", customer, closed=False))


def end_by_customer(world: World, grant_id: str, _: str) -> None:
    """What was approved is refused after the fact."""
    with world.as_(world.admin) as tx:
        lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)


def end_by_vendor(world: World, grant_id: str, _: str) -> None:
    with world.as_(world.engineer) as tx:
        lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)


def end_everything_of_tenant(world: World, _grant: str, _snapshot: str) -> None:
    with world.as_(world.admin) as tx:
        lifecycle.end_all_of_tenant(tx, world.tenant, world.broker.queue)


def end_grant_behind_its_back(world: World, grant_id: str, _: str) -> None:
    """A grant that is over for a reason that condemned nothing: the sweep asks of every copy."""
    with world.as_(system("tests")) as tx:
        in_force.mark_ended(tx, requests.get_grant(tx, grant_id), "for a reason of its own")
    sweep(world)


def disable_engineer(world: World, _grant: str, _snapshot: str) -> None:
    with world.as_(world.operator) as tx:
        people.disable_person(tx, PersonId(world.engineer.person_id or ""))
    sweep(world)


def end_engineers_role(world: World, _grant: str, _snapshot: str) -> None:
    with world.as_(world.operator) as tx:
        people.end_membership(tx, PersonId(world.engineer.person_id or ""), None)
    sweep(world)


def outlive(world: World, _grant: str, _snapshot: str) -> None:
    """The copy's own time, also while its grant goes on."""
    skip(world, timedelta(seconds=86400 + 60))
    sweep(world)


def click_by(side: str) -> Trigger:
    def click(world: World, _: str, snapshot_id: str) -> None:
        actor = {"customer": world.admin, "engineer": world.engineer, "operator": world.operator}
        with world.as_(actor[side]) as tx:
            lifecycle.condemn_by_click(tx, snapshot_id, world.broker.queue)

    return click


def change_policy(world: World, _grant: str, _snapshot: str) -> None:
    """Another copy that the new policy would have allowed goes on."""
    shorter = world.order(world.approved(live_s=0, copy_s=3600))
    with world.as_(world.admin) as tx:
        policy = ApprovalPolicy(copy_max_s=3600)
        assert lifecycle.change_policy(tx, world.tenant, policy, world.broker.queue) == 1
    assert world.snapshot(shorter).state != "condemned"


def change_policy_by_two(world: World, _: str, snapshot_id: str) -> None:
    """What is only proposed ends nothing."""
    with world.as_(system("tests")) as tx:
        other = add_person(tx, "admin", world.tenant)
    two = ApprovalPolicy(second_person=True)
    queue = world.broker.queue
    with world.as_(world.admin) as tx:
        assert lifecycle.change_policy(tx, world.tenant, two, queue) == 0
    with world.as_(world.admin) as tx:
        shorter = ApprovalPolicy(second_person=True, copy_max_s=3600)
        assert lifecycle.change_policy(tx, world.tenant, shorter, queue) == 0
    assert world.snapshot(snapshot_id).state != "condemned"
    with world.as_(other) as tx:
        assert lifecycle.confirm_policy(tx, world.tenant, 2, queue) == 1


TRIGGERS: dict[str, tuple[Trigger, str]] = {
    "the ticket was closed": (close_ticket, "the ticket has ended"),
    "the ticket was deleted": (delete_ticket, "the ticket has ended"),
    "the ticket moved to another tenant": (move_ticket, "the ticket has ended"),
    "the customer ended the grant": (end_by_customer, "ended by the customer"),
    "the vendor ended the grant": (end_by_vendor, "ended by the vendor"),
    "the customer ended everything": (end_everything_of_tenant, "the customer ended everything"),
    "the grant was over otherwise": (end_grant_behind_its_back, "its grant is ended"),
    "the person who asked was disabled": (disable_engineer, "the person who asked was disabled"),
    "the person who asked lost the role": (
        end_engineers_role,
        "the person who asked has no role any more",
    ),
    "a policy that would not have allowed it": (change_policy, NOT_ALLOWED),
    "such a policy, once another admin confirmed it": (change_policy_by_two, NOT_ALLOWED),
    "maximum life": (outlive, "its time is over"),
    "a click by the customer": (click_by("customer"), "destroyed by the tenant's wish"),
    "a click by the engineer": (click_by("engineer"), "destroyed by the vendor's wish"),
    "a click by an operator": (click_by("operator"), "destroyed by the vendor's wish"),
}


@pytest.mark.parametrize("what", TRIGGERS)
def test_a_copy_ends_with(world: World, what: str) -> None:
    trigger, why = TRIGGERS[what]
    grant_id = world.approved()
    snapshot_id = world.order(grant_id)
    trigger(world, grant_id, snapshot_id)
    snapshot = world.snapshot(snapshot_id)
    assert snapshot.condemned_why == why
    world.work()
    if world.snapshot(snapshot_id).state == "condemned":  # the copy's own job had the lock
        skip(world, timedelta(days=2))
        sweep(world)
    assert world.snapshot(snapshot_id).state == "destroyed"
    told = [
        entry
        for entry in world.entries()
        if (entry["kind"], entry["subject"]) == ("snapshot.condemned", snapshot_id)
    ]
    assert [(entry["subject"], entry["facts"]["why"]) for entry in told] == [(snapshot_id, why)]


GIVEN = Given(
    live_s=3600, copy_s=86400, platform_s=0, storage_s=0, in_clear=False, break_glass=False
)


@pytest.mark.parametrize(
    ("policy", "given", "expected"),
    [
        (ApprovalPolicy(), GIVEN, False),
        (ApprovalPolicy(live_max_s=3600, copy_max_s=86400), GIVEN, False),
        (ApprovalPolicy(live_max_s=3599), GIVEN, True),
        (ApprovalPolicy(copy_max_s=0), GIVEN, True),
        (ApprovalPolicy(copy_max_s=0), replace(GIVEN, copy_s=0), False),
        (ApprovalPolicy(live_max_s=60), replace(GIVEN, live_s=0, platform_s=61), True),
        (ApprovalPolicy(approvals=3, approvers=("psn_x",)), GIVEN, False),
        (ApprovalPolicy(masked_only=True), GIVEN, False),
        (ApprovalPolicy(masked_only=True), replace(GIVEN, in_clear=True), True),
        (ApprovalPolicy(masked_only=True), replace(GIVEN, storage_s=60), True),
        (ApprovalPolicy(), replace(GIVEN, break_glass=True), True),
        (ApprovalPolicy(break_glass=True), replace(GIVEN, break_glass=True), False),
        (
            ApprovalPolicy(break_glass=True, break_glass_max_s=60),
            replace(GIVEN, break_glass=True),
            True,
        ),
    ],
)
def test_what_a_policy_would_not_have_allowed(
    policy: ApprovalPolicy, given: Given, *, expected: bool
) -> None:
    assert forbids(policy, given) == expected
