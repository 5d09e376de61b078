"""What ends a copy, one by one, through the one door (`lifecycle`), and that nothing undoes it.

The copy is only ordered: what is condemned is the obligation, and it is destroyed from there as
from anywhere (G7). Copies that hold something are destroyed in the tests of G6 to G8.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from broker import lifecycle, people
from broker.grants import requests
from broker.ids import PersonId
from broker.tickets import FetchedTicket, mirror
from broker.tickets.mirror import Ticket
from broker.tx import system
from tests.stories import skip, sweep
from tests.world import SYSTEM, World, enrol

Trigger = Callable[[World, str, str], None]


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
        requests.mark_ended(tx, requests.get_grant(tx, grant_id), "for a reason of its own")
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
    told = [entry for entry in world.entries() if entry["kind"] == "snapshot.condemned"]
    assert [(entry["subject"], entry["facts"]["why"]) for entry in told] == [(snapshot_id, why)]
