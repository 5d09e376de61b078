"""Hints of tickets: followed soon, together, and before what they bring about."""

from __future__ import annotations

import sqlalchemy as sa

from broker import ticketing
from broker.settings import Times
from broker.tickets import FetchedTicket, hints
from broker.tx import system
from tests.world import World

_JOBS = sa.text("SELECT priority FROM procrastinate_jobs WHERE task_name = 'follow_hints'")


class Tickets:
    """A ticket system that, while it is asked for the first ticket, hints at a second."""

    name, at_once = "tests", 1

    def __init__(self, world: World) -> None:
        self.world, self.asked = world, list[str]()

    def find(self, external_id: str) -> FetchedTicket | None:
        if not self.asked:
            hint(self.world, "T-later")
        self.asked.append(external_id)
        return FetchedTicket(external_id, "Totals", self.world.customer, closed=True)

    def probe(self) -> None:
        """It reads well."""


def hint(world: World, external_id: str) -> None:
    with world.as_(system("webhook")) as tx:
        ticketing.take_hint(tx, world.broker.queue, "tests", external_id)


def test_many_hints_wait_for_one_job_which_goes_before_copies(world: World) -> None:
    for number in range(3):
        hint(world, f"T-{number}")
    with world.as_(system("tests")) as tx:
        assert tx.session.scalars(_JOBS).all() == [1]
        assert len(hints.list_hints(tx, "tests", 10)) == 3


def test_a_hint_that_comes_meanwhile_is_followed_too(world: World) -> None:
    hint(world, "T-first")
    tickets = Tickets(world)
    followed = ticketing.follow_hints(world.broker.database, world.broker.queue, tickets, Times())
    assert (followed, tickets.asked) == (2, ["T-first", "T-later"])
    with world.as_(system("tests")) as tx:
        assert hints.list_hints(tx, "tests", 10) == []


def test_hints_are_followed_by_one_job_at_a_time_and_what_comes_meanwhile_is_left_to_it(
    world: World,
) -> None:
    hint(world, "T-first")
    database, queue = world.broker.database, world.broker.queue
    tickets = Tickets(world)
    with database.exclusive("hints of tests"):
        assert ticketing.follow_hints(database, queue, tickets, Times()) == 0
    assert tickets.asked == []
    assert ticketing.follow_hints(database, queue, tickets, Times()) == 2
