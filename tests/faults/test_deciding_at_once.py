"""Two people decide at the same instant: one wins, and the other is told who and when."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from broker import people
from broker.grants import deciding, requests
from broker.grants.narrowing import Narrowing
from broker.states import StateConflict
from broker.tx import Actor, Tx, system
from tests.world import World, add_person

Decide = Callable[[Tx, str, str], None]


def approve(tx: Tx, grant_id: str, digest: str) -> None:
    deciding.approve(tx, grant_id, digest, Narrowing())


def refuse(tx: Tx, grant_id: str, _digest: str) -> None:
    deciding.refuse(tx, grant_id, "not this time")


@pytest.mark.parametrize("second", [approve, refuse])
def test_one_decision_stands_and_the_other_names_who_and_when(world: World, second: Decide) -> None:
    with world.as_(world.admin) as tx:
        other = add_person(tx, "admin", world.tenant)
        names = {
            actor.person_id: people.get_person(tx, actor.person_id or "").name
            for actor in (world.admin, other)
        }
    grant_id = world.request()
    world.work()
    digest = world.grant(grant_id).asked_digest or ""
    together = threading.Barrier(2)

    def decide(actor: Actor, act: Decide) -> StateConflict | None:
        try:
            with world.as_(actor) as tx:
                together.wait(30)
                act(tx, grant_id, digest)
        except StateConflict as error:
            return error
        return None

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(decide, (world.admin, other), (approve, second)))
    (lost,) = [error for error in told if error is not None]
    with world.as_(system("tests")) as tx:
        grant = requests.get_grant(tx, grant_id)
    winner = (world.admin, other)[told.index(None)]
    assert grant.state_by == winner.person_id
    assert lost.facts["by"] == names[winner.person_id]
    assert lost.facts["at"] == grant.state_at.isoformat()
    assert names[winner.person_id] in lost.message
    assert grant.state in lost.message
    decided = [kind for kind in world.kinds() if kind in {"grant.approved", "grant.refused"}]
    assert decided == [f"grant.{grant.state}"]
