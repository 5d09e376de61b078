"""Drills of revocation: allowed by the tenant, attacked in earnest, timed, and gone after it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from broker import janitor, sweeps
from broker.engines import Target
from broker.engines.postgres import revoking
from broker.engines.postgres.leases import ScopeExceeded
from broker.engines.postgres.revoking import Ended
from broker.errors import BrokerError, Conflict, Denied, Invalid
from broker.grants import drill_steps, drills
from broker.grants.drills import DrillsNotAllowed, DrillsView
from broker.tx import Actor, system
from tests.world import World, add_person, connect, enrol


@pytest.fixture(scope="module")
def world(module_world: World) -> World:
    return module_world


def allow(world: World, *, every_s: int | None = None, allowed: bool = True) -> None:
    with world.as_(world.admin) as tx:
        drills.allow(tx, world.database_id, allowed=allowed, every_s=every_s)


def order(world: World, actor: Actor) -> str:
    with world.as_(actor) as tx:
        return drills.order(tx, world.database_id, world.broker.queue)


def views(world: World) -> DrillsView:
    with world.as_(world.admin) as tx:
        return drills.get_views(tx, world.database_id)


def ours_on_the_server(world: World) -> list[str]:
    query = "SELECT rolname::text FROM pg_roles WHERE rolname ~ '^sab_[ls]_'"
    return [name for (name,) in world.find_on_server(world.live, query)]


def test_without_the_tenants_word_no_drill_runs(world: World) -> None:
    with pytest.raises(DrillsNotAllowed, match="allow-drills"):
        order(world, world.operator)
    with world.as_(system("tests")) as tx:
        auditor = add_person(tx, "auditor", world.tenant)
    _, stranger = enrol(world, "Other tenant")
    for actor in (world.operator, world.engineer, auditor, stranger):
        with world.as_(actor) as tx, pytest.raises(BrokerError):
            drills.allow(tx, world.database_id, allowed=True, every_s=None)
    with pytest.raises(Denied):
        order(world, world.engineer)
    with pytest.raises(Invalid):
        allow(world, every_s=60)


def test_a_drill_is_attacked_revoked_timed_and_leaves_nothing(world: World) -> None:
    allow(world)
    drill_id = order(world, world.operator)
    with pytest.raises(Conflict, match="under way"):
        order(world, world.admin)
    world.work()
    (seen, *_) = views(world).drills
    assert (seen.id, seen.state, seen.problem) == (drill_id, "passed", None)
    assert 0 <= (seen.refused_s or 0) <= (seen.dead_s or 0) <= (seen.gone_s or 0)
    assert views(world).p95_dead_s == seen.dead_s
    assert ours_on_the_server(world) == []
    said = [entry["kind"] for entry in world.entries() if entry["subject"] == drill_id]
    assert said == ["drill.ordered", "drill.passed"]


def test_a_drill_that_broke_off_is_cleaned_up_and_called_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(world)
    drill_id = order(world, world.admin)
    with monkeypatch.context() as patched:  # the process dies when the login was just made
        patched.setattr(drill_steps, "Attack", None)
        with pytest.raises(TypeError):
            drill_steps.run(world.broker.database, world.ports.keys, drill_id)
    assert len(ours_on_the_server(world)) == 3
    assert janitor.look_everywhere(world.ports) == 0  # explained: its own machinery ends it
    drill_steps.run(world.broker.database, world.ports.keys, drill_id)
    (seen, *_) = views(world).drills
    assert (seen.state, seen.dead_s) == ("failed", None)
    assert "broke off" in (seen.problem or "")
    assert ours_on_the_server(world) == []


def test_an_end_that_leaves_somebody_in_is_a_drill_that_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revocation that says it is done and did nothing: the attackers say otherwise."""
    allow(world)
    drill_id, real = order(world, world.admin), revoking.revoke
    calls: list[str] = []

    def lies_once(target: Target, role: str) -> Ended:
        calls.append(role)
        at = datetime.now(UTC) - timedelta(minutes=1)
        return Ended(at, at, at) if len(calls) == 1 else real(target, role)

    monkeypatch.setattr(revoking, "revoke", lies_once)
    drill_steps.run(world.broker.database, world.ports.keys, drill_id)
    (seen, *_) = views(world).drills
    assert (seen.state, seen.dead_s) == ("failed", None)
    assert "an attacker's connection" in (seen.problem or "") or "signed in after" in (
        seen.problem or ""
    )
    assert ours_on_the_server(world) == []


def test_a_drill_that_could_read_something_is_not_fought(world: World) -> None:
    """By a grant to PUBLIC: the role is gone before anybody can use it."""
    allow(world)
    drill_id = order(world, world.admin)
    with connect(world.live, world.crm) as connection:
        connection.execute("GRANT SELECT ON crm.companies TO PUBLIC")
        drill_steps.run(world.broker.database, world.ports.keys, drill_id)
        connection.execute("REVOKE SELECT ON crm.companies FROM PUBLIC")
    (seen, *_) = views(world).drills
    assert "companies" in (seen.stuck_reason or "")
    assert ScopeExceeded.type == "scope-exceeded"
    drill_steps.run(world.broker.database, world.ports.keys, drill_id)
    assert views(world).drills[0].state == "failed"
    assert ours_on_the_server(world) == []


def test_those_that_are_due_are_ordered_by_the_sweep_until_they_are_forbidden(
    world: World,
) -> None:
    allow(world, every_s=3600)
    before = len(views(world).drills)
    with world.as_(system("tests")) as tx:
        for drill in tx.session.query(drills.Drill):
            drill.ordered_at -= timedelta(hours=2)
        tx.session.get_one(drills.TenantDatabase, world.database_id).drills_since -= timedelta(
            hours=2
        )
    sweeps.sweep_checks(world.broker.database, world.broker.queue, 1)
    sweeps.sweep_checks(world.broker.database, world.broker.queue, 1)
    assert len(views(world).drills) == before + 1
    world.work()
    assert views(world).drills[0].state == "passed"
    allow(world, allowed=False)
    with pytest.raises(DrillsNotAllowed):
        order(world, world.operator)
    assert world.kinds().count("drills.forbidden") == 1
