"""The bell wakes who waits for one thing, and nobody else; it is heard again after a lost line."""

from __future__ import annotations

import sqlalchemy as sa

from broker.bell import ring
from broker.tx import system
from tests.world import World

TESTS = system("tests")
TRIES = 600
A_MOMENT_S = 0.05


def ring_until_heard(world: World, identity: str) -> bool:
    """Rings again and again: what rings before the listener is there is lost, as it may be."""
    with world.broker.database.bell.heard(identity) as rung:
        for _ in range(TRIES):
            with world.as_(TESTS) as tx:
                ring(tx, identity)
            if rung.wait(A_MOMENT_S):
                return True
    return False


def test_who_waits_for_a_thing_is_woken_and_nobody_else(world: World) -> None:
    with world.broker.database.bell.heard("lse_other") as other:
        assert ring_until_heard(world, "lse_one")
        assert not other.is_set()


def test_a_change_that_is_rolled_back_wakes_nobody(world: World) -> None:
    bell = world.broker.database.bell
    with bell.heard("lse_undone") as undone:
        with world.as_(TESTS) as tx:
            ring(tx, "lse_undone")
            tx.session.rollback()
        assert ring_until_heard(world, "lse_later")  # notices come in order
        assert not undone.is_set()


def test_a_lost_line_is_taken_up_again(world: World) -> None:
    assert ring_until_heard(world, "lse_before")
    with world.as_(TESTS) as tx:
        cut = tx.session.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
        ).all()
    assert cut == [(True,)]
    assert ring_until_heard(world, "lse_after")
