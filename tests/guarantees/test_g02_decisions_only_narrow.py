"""G2. A decision only narrows what was asked. Nothing widens later: an extension is a new decision.

The rules of narrowing have tests of their own; here is what they give on real servers.
"""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from broker.errors import Invalid
from broker.grants import requests, shown_plans
from broker.grants.narrowing import Narrowing, narrow_plan
from broker.grants.plan import Plan
from broker.states import StateConflict
from broker.tx import system
from tests.stories import control_superuser
from tests.world import World, connect


def kept(plan: Plan) -> set[str]:
    return {
        f"{table.full_name}.{column.name}"
        for table in plan.tables
        if table.rows
        for column in table.columns
        if column.kept
    }


def plan_of(world: World, grant_id: str, *, given: bool) -> Plan:
    with world.as_(system("tests")) as tx:
        grant = requests.get_grant(tx, grant_id)
        digest = grant.given_digest if given else grant.asked_digest
        return shown_plans.get_plan(tx, grant_id, digest)


def test_what_was_narrowed_away_is_neither_in_the_views_nor_in_the_copy(world: World) -> None:
    narrowing = Narrowing(
        tables_out=frozenset({"crm.notes"}),
        columns_masked=frozenset({"crm.orders.reference"}),
        live_s=600,
    )
    grant_id = world.approved(narrowing, live_s=3600)
    grant = world.grant(grant_id)
    assert (grant.given_live_s, grant.given_copy_s) == (600, grant.asked_copy_s)
    asked, given = (plan_of(world, grant_id, given=flag) for flag in (False, True))
    assert kept(given) < kept(asked)

    lease_id, password = world.lease(grant_id)
    snapshot_id = world.order(grant_id)
    world.work()
    with world.login(lease_id, password) as session:
        with pytest.raises(psycopg.errors.UndefinedTable):
            session.execute("SELECT * FROM notes")
        seen = {v for (v,) in session.execute("SELECT reference FROM orders").fetchall()}
    with connect(world.live, world.crm) as connection:
        real = {v for (v,) in connection.execute("SELECT reference FROM crm.orders").fetchall()}
    assert seen
    assert not seen & real
    snapshot = world.snapshot(snapshot_id)
    assert snapshot.state == "ready", snapshot.stuck_reason
    with connect(world.test, snapshot.sandbox) as connection:
        assert connection.execute("SELECT count(*) FROM crm.notes").fetchone() == (0,)
        copied = {v for (v,) in connection.execute("SELECT reference FROM crm.orders").fetchall()}
    assert copied
    assert not copied & real


@pytest.mark.parametrize(
    "wider",
    [
        Narrowing(live_s=3601),
        Narrowing(copy_s=86401),
        Narrowing(live_s=-1),
        Narrowing(live_s=0, copy_s=0),
        Narrowing(tables_out=frozenset({"crm.unknown"})),
    ],
)
def test_a_decision_that_would_give_more_or_nothing_is_refused(
    world: World, wider: Narrowing
) -> None:
    grant_id = world.request(live_s=3600, copy_s=86400)
    world.work()
    with pytest.raises(Invalid):
        world.approve(grant_id, wider)
    assert world.grant(grant_id).state == "requested"


def test_nothing_is_decided_twice(world: World) -> None:
    grant_id = world.approved(Narrowing(live_s=600))
    before = world.grant(grant_id)
    with pytest.raises(StateConflict, match="already approved"):
        world.approve(grant_id)
    after = world.grant(grant_id)
    assert (after.given_digest, after.ends_at) == (before.given_digest, before.ends_at)


def test_also_by_sql_no_more_time_is_given_than_was_asked(world: World) -> None:
    grant_id = world.approved(live_s=3600)
    with control_superuser(world) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("UPDATE access_grant SET given_live_s = asked_live_s + 1")
    assert world.grant(grant_id).given_live_s == 3600


def test_every_single_narrowing_keeps_no_more_than_was_asked(world: World) -> None:
    grant_id = world.request()
    world.work()
    asked = plan_of(world, grant_id, given=False)
    narrowings = [Narrowing(tables_out=frozenset({table.full_name})) for table in asked.tables]
    narrowings += [Narrowing(columns_masked=frozenset({name})) for name in sorted(kept(asked))]
    narrowed = 0
    for narrowing in narrowings:
        try:
            given = narrow_plan(asked, narrowing)
        except Invalid:
            continue  # a key that joins tables, or a partition: only the whole table goes
        narrowed += given != asked
        assert kept(given) <= kept(asked)
        assert replace(given, tables=()) == replace(asked, tables=())
    assert narrowed > sum(not table.partition_of for table in asked.tables)
