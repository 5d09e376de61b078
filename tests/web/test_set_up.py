"""The page that sets a new broker up: each step counts by what was seen."""

from __future__ import annotations

from broker import first_steps
from broker.grants import preflights
from broker.tx import system
from tests.stories import control_superuser
from tests.web.browser import Browser
from tests.world import World, add_person


def states(world: World) -> dict[str, str]:
    with world.as_(world.operator) as tx:
        return {step.name: step.state for step in first_steps.list_steps(tx)}


def test_a_step_is_done_once_it_was_seen_and_not_before(world: World, operator: Browser) -> None:
    with control_superuser(world) as connection:
        connection.execute("DELETE FROM preflight")
    first = states(world)
    assert first["tenant"] == first["worker"] == "done"
    assert (first["people"], first["tickets"], first["copy"]) == ("open", "open", "open")
    assert first["database"] == "wrong"  # registered, and nobody has looked yet
    assert "next</strong>" in operator.page("/set-up")

    with world.as_(system("tests")) as tx:
        add_person(tx, "operator", None)
        preflights.ask(tx, world.database_id, world.broker.queue)
    world.ticket()
    world.work()
    after = states(world)
    assert (after["people"], after["tickets"], after["database"]) == ("done", "done", "done")
