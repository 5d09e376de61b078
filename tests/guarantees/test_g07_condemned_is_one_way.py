"""G7. Condemned is one-way. A condemned copy ends destroyed; until then it is retried for ever,
counted, and named with its reason. Nothing drops off the list.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from broker.lateness import Late, list_late
from broker.tx import Tx, system
from tests.stories import control_superuser, ready_copy, shut_out, skip, sweep, unmounted
from tests.world import World

PLACES = {
    "store": lambda world: unmounted(world.broker.settings.store.folder or Path()),
    "test server": lambda world: shut_out(world, "test"),
}


def late_copies(tx: Tx, after_s: int) -> list[Late]:
    return [late for late in list_late(tx, after_s=after_s) if late.what == "snapshot"]


@pytest.mark.parametrize("place", PLACES)
def test_a_condemned_copy_is_retried_until_it_is_destroyed(world: World, place: str) -> None:
    grant_id, snapshot_id = ready_copy(world)
    away: AbstractContextManager[None] = PLACES[place](world)
    waits: list[float] = []
    with away:
        world.close_ticket(world.grant(grant_id).ticket_id)
        world.work()
        stuck_since = world.snapshot(snapshot_id).stuck_since
        for number in range(1, 13):
            snapshot = world.snapshot(snapshot_id)
            assert (snapshot.state, snapshot.attempts) == ("condemned", number)
            assert snapshot.stuck_reason
            assert snapshot.stuck_since == stuck_since is not None
            assert snapshot.next_try_at is not None
            with world.as_(system("tests")) as tx:
                waits.append((snapshot.next_try_at - tx.at).total_seconds())
            skip(world, timedelta(seconds=301 * number))
            with world.as_(system("tests")) as tx:
                (late,) = late_copies(tx, after_s=1)
            assert (late.id, late.reason) == (snapshot_id, snapshot.stuck_reason)
            sweep(world)
    assert max(waits) <= 300
    skip(world, timedelta(hours=2))
    sweep(world)
    snapshot = world.snapshot(snapshot_id)
    assert (snapshot.state, snapshot.stuck_reason) == ("destroyed", None)
    assert world.kinds().count("snapshot.stuck") == 1
    with world.as_(system("tests")) as tx:
        assert late_copies(tx, after_s=0) == []


def test_also_by_sql_no_copy_comes_back(world: World) -> None:
    grant_id, snapshot_id = ready_copy(world)
    with unmounted(world.broker.settings.store.folder or Path()):
        world.close_ticket(world.grant(grant_id).ticket_id)
        world.work()
    for state, moves in (
        ("condemned", ("ordered", "copying", "ready")),
        ("destroyed", ("ordered", "copying", "ready", "condemned")),
    ):
        assert world.snapshot(snapshot_id).state == state
        for to in moves:
            with (
                control_superuser(world) as connection,
                pytest.raises(psycopg.errors.RaiseException, match="can't become"),
            ):
                connection.execute("UPDATE snapshot SET state = %s", [to])
        skip(world, timedelta(seconds=301))
        sweep(world)


def test_reopening_the_ticket_resurrects_nothing(world: World) -> None:
    grant_id, snapshot_id = ready_copy(world)
    ticket_id = world.grant(grant_id).ticket_id
    with unmounted(world.broker.settings.store.folder or Path()):
        world.close_ticket(ticket_id)
        world.work()
        with world.as_(system("tests")) as tx:
            from broker.tickets.mirror import Ticket

            external_id = tx.session.get_one(Ticket, ticket_id).external_id
        world.ticket(external_id=external_id, closed=False)
        world.work()
        assert world.snapshot(snapshot_id).state == "condemned"
    skip(world, timedelta(seconds=301))
    sweep(world)
    assert world.snapshot(snapshot_id).state == "destroyed"
    assert world.grant(grant_id).state == "ended"
