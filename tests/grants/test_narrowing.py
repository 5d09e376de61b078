"""A decision only narrows (G2): a later start, and whatever several people take away together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import Invalid
from broker.grants import approvals, deciding, decisions, shown_plans
from broker.grants.narrowing import (
    Narrowing,
    Span,
    is_within,
    meet_plans,
    narrow_plan,
    narrow_start,
)
from broker.grants.plan import Plan
from broker.grants.requests import GrantRefused
from tests.grants.plans import PLAN
from tests.grants.test_approvals import TWO, _narrowings, admins, approve, planned, set_policy
from tests.grants.test_time import HOUR, ask, ask_of
from tests.stories import control_superuser, skip
from tests.world import World

NOW = datetime(2027, 1, 31, 6, tzinfo=UTC)
SPAN = Span(NOW, NOW + timedelta(days=7))
_hours = st.integers(-20, 200).map(lambda hours: NOW + timedelta(hours=hours))


@given(st.lists(_narrowings, min_size=1, max_size=3))
def test_whatever_people_take_away_together_stays_within_what_was_asked(
    narrowings: list[Narrowing],
) -> None:
    try:
        plans = [narrow_plan(PLAN, narrowing) for narrowing in narrowings]
        met = meet_plans(plans)
    except Invalid:
        return  # nothing would be left
    assert all(is_within(met, one) for one in plans)
    assert is_within(met, PLAN)


def _shows(plan: Plan) -> list[tuple[int, int]]:
    return [(t, c) for t, table in enumerate(plan.tables) for c, _ in enumerate(table.columns)]


@given(_narrowings, st.sampled_from(_shows(PLAN)))
def test_one_column_more_or_one_table_more_is_not_within(
    narrowing: Narrowing, place: tuple[int, int]
) -> None:
    """The second barrier can fail: each single thing that was taken away shows when it is back."""
    try:
        less = narrow_plan(PLAN, narrowing)
    except Invalid:
        return
    number, column = place
    tables = list(less.tables)
    table, whole = tables[number], PLAN.tables[number]
    columns = list(table.columns)
    columns[column] = whole.columns[column]
    back = replace(table, columns=tuple(columns), rows=whole.rows, note=whole.note)
    tables[number] = back
    wider = replace(less, tables=tuple(tables))
    assert is_within(wider, less) == (wider == less)


@given(st.none() | _hours, st.none() | _hours)
def test_a_start_only_moves_later_and_within_seven_days(
    asked: datetime | None, wished: datetime | None
) -> None:
    narrowing = Narrowing(starts_at=wished)
    bad = wished is not None and (wished < (asked or NOW) or wished > SPAN.latest)
    if bad and wished != asked:
        with pytest.raises(Invalid) as refused:
            narrow_start(asked, narrowing, SPAN)
        assert set(refused.value.facts["fields"]) == {"starts_at"}
    else:
        assert narrow_start(asked, narrowing, SPAN) == (asked if wished is None else wished)


def test_a_later_start_is_given_and_the_later_one_of_two(world: World) -> None:
    """Nothing is given before it; its clock starts then; what was asked stands beside it."""
    (second,) = admins(world, 1)
    set_policy(world, TWO)
    grant_id = planned(world)
    at = datetime.now(UTC)
    first, later = at + HOUR, at + 3 * HOUR
    approve(world, world.admin, grant_id, Narrowing(starts_at=first, copy_s=0))
    approve(world, second, grant_id, Narrowing(starts_at=later))
    grant = world.grant(grant_id)
    assert (grant.starts_at, grant.given_starts_at) == (None, later)
    assert grant.live_until == grant.ends_at == later + HOUR
    with world.as_(world.admin) as tx:
        assert [one.starts_at for one in decisions.list_decisions(tx, grant_id)] == [first, later]
    skip(world, 2 * HOUR)
    with pytest.raises(GrantRefused, match="starts at"):
        world.lease(grant_id)
    skip(world, 3 * HOUR + timedelta(seconds=1))
    lease_id, _ = world.lease(grant_id)
    world.work()
    lease = world.find_lease(lease_id)
    assert (lease.state, lease.ends_at) == ("issued", later + HOUR)
    with (
        control_superuser(world) as connection,
        pytest.raises(Exception, match="set by its approval"),
    ):
        connection.execute("UPDATE access_grant SET given_starts_at = NULL")


def test_no_earlier_and_no_far_start_and_no_empty_plan_is_given(world: World) -> None:
    start = datetime.now(UTC) + 2 * HOUR
    grant_id = ask(world, replace(ask_of(world, world.ticket()), starts_at=start))
    tables = [table.full_name for table in asked_plan(world, grant_id).tables]
    refused = {
        "earlier": Narrowing(starts_at=start - HOUR),
        "far": Narrowing(starts_at=start + timedelta(days=7)),
        "nothing": Narrowing(tables_out=frozenset(tables[:])),
    }
    for narrowing in refused.values():
        with pytest.raises(Invalid):
            world.approve(grant_id, narrowing)
    assert world.grant(grant_id).state == "requested"
    world.approve(grant_id, Narrowing(starts_at=start + HOUR))
    assert world.grant(grant_id).given_starts_at == start + HOUR


def asked_plan(world: World, grant_id: str) -> Plan:
    with world.as_(world.admin) as tx:
        plan = shown_plans.get_plan(tx, grant_id, world.grant(grant_id).asked_digest)
    roots = tuple(table for table in plan.tables if not table.partition_of)
    return replace(plan, tables=roots)


def test_no_way_of_meeting_gives_more_than_was_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second barrier, with the first one broken."""
    grant_id = planned(world)
    asked = world.grant(grant_id).asked_digest or ""
    meet = approvals.meet

    def wider(given: list) -> approvals.Given:
        met = meet(given)
        tables = [replace(table, columns=table.columns[:1]) for table in met.plan.tables]
        return replace(met, plan=replace(met.plan, tables=tuple(tables)))

    monkeypatch.setattr(approvals, "meet", wider)
    with world.as_(world.admin) as tx, pytest.raises(Invalid, match="only narrow"):
        deciding.approve(tx, grant_id, asked, Narrowing())


def test_a_plan_whose_words_were_edited_is_not_decided_on(world: World) -> None:
    grant_id = planned(world)
    with control_superuser(world) as connection:
        connection.execute(
            "UPDATE plan SET document = jsonb_set(document, '{remarks}', '[\"more\"]')"
        )
    with pytest.raises(Exception, match="not what was signed"):
        world.approve(grant_id)
