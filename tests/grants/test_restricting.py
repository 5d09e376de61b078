"""Rows restricted by a decision: said in one safe form, only narrowing, and so in view and copy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, LiteralString

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.statements import verify_signed
from broker.engines import Fate
from broker.errors import Invalid
from broker.grants import decisions, drift, grounds, requests, statements
from broker.grants.narrowing import Narrowing, is_within, meet_plans, narrow_plan
from broker.grants.plan import ColumnPlan, from_document
from broker.ids import GrantId
from broker.restricting import Restriction, RowsOnly, find_fault, parse, rows_only
from tests.grants.plans import PLAN
from tests.grants.test_approvals import TWO, admins, approve, planned, set_policy
from tests.stories import pinned
from tests.world import World, connect

KEPT = Fate("keep", "", "not personal")
BY_SECTOR = rows_only("crm.orders", "sector", ["open", "late"])


def only(*rows: RowsOnly) -> Narrowing:
    return Narrowing(rows_only=frozenset(rows))


def test_what_a_person_writes_is_read_line_by_line() -> None:
    text = 'crm.orders.status = open, "a, b" \n\n crm.orders.placed_at last 30 days\na.b.c=1'
    assert parse(text) == {
        rows_only("crm.orders", "status", ["open", "a, b"]),
        rows_only("crm.orders", "placed_at", days=30),
        rows_only("a.b", "c", ["1"]),
    }


@pytest.mark.parametrize(
    "line",
    [
        "status = open",
        "crm.orders.status",
        "crm.orders.at last 0 days",
        "crm.orders.at last 30 weeks",
        "crm.orders.id > 5",
        "crm.orders.id IN (1, 2)",
        "1 OR 1=1",
    ],
)
def test_what_has_another_form_is_refused_with_the_form(line: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(line)
    assert "last N days" in refused.value.facts["fields"]["rows"]


@pytest.mark.parametrize(
    ("restriction", "column_type", "told"),
    [
        (Restriction("c"), "text", "one of the two"),
        (Restriction("c", ("1",), 3), "integer", "one of the two"),
        (Restriction("c", ("01",)), "integer", "whole number"),
        (Restriction("c", ("x",)), "uuid", "UUID"),
        (Restriction("c", ("",)), "text", "characters"),
        (Restriction("c", ("a",)), "crm.status", "rows are chosen by"),
        (Restriction("c", ("a",)), "public.citext", "rows are chosen by"),
        (Restriction("c", ("t",)), "boolean", "true or false"),
        (Restriction("c", days=3), "boolean", "no date or time"),
        (Restriction("c", days=3), "text", "no date or time"),
        (Restriction("c", days=4000), "date", "3650 days"),
        (Restriction("c", tuple(map(str, range(101)))), "bigint", "100 values"),
    ],
)
def test_a_column_that_can_not_be_asked_so_is_named(
    restriction: Restriction, column_type: str, told: str
) -> None:
    assert told in (find_fault(restriction, ColumnPlan("c", column_type, KEPT)) or "")


def test_an_enum_is_asked_by_its_labels_while_it_is_one() -> None:
    """A type of its name that is no enum any more may write any text for its values."""
    status = ColumnPlan("status", "crm.status", KEPT, enum=True)
    assert find_fault(Restriction("status", ("open",)), status) is None
    orders = replace(PLAN.tables[1], columns=(*PLAN.tables[1].columns, status))
    plan = replace(PLAN, tables=(PLAN.tables[0], orders))
    approved = narrow_plan(plan, only(rows_only("crm.orders", "status", ["open"])))
    assert from_document(approved.document()) == approved
    retyped = replace(orders, columns=(*orders.columns[:-1], replace(status, enum=False)))
    made, _ = drift.more_masked(approved, replace(PLAN, tables=(PLAN.tables[0], retyped)))
    assert not made.tables[1].rows


def test_rows_are_restricted_by_what_is_shown_in_clear_alone() -> None:
    by_email = only(rows_only("crm.orders", "email", ["x"]))
    masked = replace(only(BY_SECTOR), columns_masked=frozenset({"crm.orders.sector"}))
    for narrowing in (by_email, masked):
        with pytest.raises(Invalid) as refused:
            narrow_plan(PLAN, narrowing)
        assert "is masked" in refused.value.facts["fields"]["rows"]
    without = replace(PLAN, tables=tuple(replace(one, rows=False) for one in PLAN.tables))
    with pytest.raises(Invalid) as refused:
        narrow_plan(without, only(BY_SECTOR))
    assert "no row" in refused.value.facts["fields"]["rows"]
    with pytest.raises(Invalid, match=r"the plan has no crm\.orders\.other"):
        narrow_plan(PLAN, only(rows_only("crm.orders", "other", ["x"])))


_some = st.frozensets(
    st.builds(
        rows_only,
        st.sampled_from(["crm.orders", "crm.notes"]),
        st.just("sector"),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=2),
    ),
    max_size=3,
)


@given(_some, _some)
def test_restrictions_add_up_and_never_widen(
    one: frozenset[RowsOnly], two: frozenset[RowsOnly]
) -> None:
    first, second = narrow_plan(PLAN, only(*one)), narrow_plan(PLAN, only(*two))
    met = meet_plans([first, second])
    assert all(is_within(met, one) for one in (first, second))
    assert met == narrow_plan(PLAN, only(*one, *two))
    assert is_within(first, second) == (two <= one)
    assert from_document(met.document()) == met


def test_a_plan_without_any_is_written_as_before() -> None:
    assert "only" not in str(PLAN.document())


def test_one_who_masks_what_another_restricts_by_is_told() -> None:
    restricted = narrow_plan(PLAN, only(BY_SECTOR))
    masked = narrow_plan(PLAN, Narrowing(columns_masked=frozenset({"crm.orders.sector"})))
    with pytest.raises(Invalid) as refused:
        meet_plans([restricted, masked])
    assert "is masked" in refused.value.facts["fields"]["rows"]


def test_a_column_that_was_lost_gives_no_row_rather_than_all() -> None:
    approved = narrow_plan(PLAN, only(BY_SECTOR))
    orders = PLAN.tables[1]
    retyped = tuple(replace(c, type="date") if c.name == "sector" else c for c in orders.columns)
    for columns in (retyped, tuple(c for c in orders.columns if c.name != "sector")):
        fresh = replace(PLAN, tables=(PLAN.tables[0], replace(orders, columns=columns)))
        made, told = drift.more_masked(approved, fresh)
        assert not made.tables[1].rows
        assert any("rows are chosen by" in sentence for sentence in told)
    made, _ = drift.more_masked(approved, PLAN)
    assert made.tables[1].only == approved.tables[1].only


FOOD = "id IN (SELECT id FROM crm.companies WHERE sector = 'food' ORDER BY id LIMIT 3)"


@pytest.fixture
def restricted(afresh: World) -> GrantId:
    """By two admins: one gives the companies of a sector, the other three of them, orders of the
    time since the middle one, contacts that are active (a boolean) and two states of tickets (an
    enum).
    """
    first, second = admins(afresh, 2)
    set_policy(afresh, TWO)
    days, three = truth(
        afresh,
        "SELECT (SELECT current_date - percentile_disc(0.5) WITHIN GROUP (ORDER BY ordered_at)"
        " FROM crm.orders), (SELECT array_agg(id::text) FROM crm.companies WHERE " + FOOD + ")",
    )
    grant_id = planned(afresh)
    approve(afresh, first, grant_id, only(rows_only("crm.companies", "sector", ["food", "none"])))
    by_id = rows_only("crm.companies", "id", three)
    by_truth = rows_only("crm.contacts", "active", ["true"])
    by_label = rows_only("crm.tickets", "status", ["open", "closed"])
    by_days = rows_only("crm.orders", "ordered_at", days=days)
    approve(afresh, second, grant_id, only(by_id, by_truth, by_label, by_days))
    return GrantId(grant_id)


def truth(world: World, query: LiteralString) -> tuple[Any, ...]:
    with connect(world.live, world.crm) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row


_TRUE = (
    "SELECT (SELECT count(*) FROM crm.companies WHERE " + FOOD + "),"
    " (SELECT count(*) FROM crm.orders WHERE ordered_at >= (SELECT"
    " percentile_disc(0.5) WITHIN GROUP (ORDER BY ordered_at) FROM crm.orders)),"
    " (SELECT count(*) FROM crm.contacts WHERE active),"
    " (SELECT count(*) FROM crm.tickets WHERE status IN ('open', 'closed')),"
    " (SELECT count(*) FROM crm.contacts), (SELECT count(*) FROM crm.tickets),"
    " (SELECT count(*) FROM crm.orders)"
)


def test_what_two_admins_restrict_is_all_that_a_login_reads(
    afresh: World, restricted: GrantId
) -> None:
    """G2: the rows for which all hold; and their values are in no view's text."""
    companies, orders, contacts, tickets, *every = truth(afresh, _TRUE)
    assert all(
        0 < some < all_ for some, all_ in zip((contacts, tickets, orders), every, strict=True)
    )
    lease_id, password = afresh.lease(restricted)
    afresh.work()
    assert afresh.find_lease(lease_id).state == "issued", afresh.find_lease(lease_id).stuck_reason
    with afresh.login(lease_id, password) as session:
        seen = session.execute(
            "SELECT (SELECT count(*) FROM companies), (SELECT count(*) FROM orders),"
            " (SELECT count(*) FROM contacts), (SELECT count(*) FROM tickets)"
        ).fetchone()
        sectors = session.execute("SELECT DISTINCT sector FROM companies").fetchall()
        texts = session.execute(
            "SELECT string_agg(pg_get_viewdef(oid), '') FROM pg_class"
            " WHERE relkind = 'v' AND relnamespace::regnamespace::text ~ '^sab_s_'"
        ).fetchone()
    assert seen == (companies, orders, contacts, tickets)
    assert sectors == [("food",)]
    assert "food" not in str(texts)
    statements.sign_due(afresh.broker.database, afresh.ports.keys)
    with afresh.as_(afresh.admin) as tx:
        views = decisions.list_decisions(tx, restricted)
        last = decisions.read_decision_envelope(tx, views[-1].id)
        grounds.prove(tx, afresh.ports.keys, requests.get_grant(tx, restricted), "live")
    assert sorted(view.tables_restricted for view in views) == [1, 4]
    report = verify_signed(last, pinned(afresh))
    assert "only some rows" in " ".join(finding.text for finding in report.findings)
    assert b"food" not in last
    facts = [e["facts"] for e in afresh.entries() if e["kind"] == "grant.approved"][-1]
    assert facts["tables_restricted"] == 4


@pytest.mark.long
def test_a_copy_holds_these_rows_and_leaves_out_the_keys_that_point_at_others(
    afresh: World, restricted: GrantId
) -> None:
    companies, orders, contacts, tickets, *_ = truth(afresh, _TRUE)
    snapshot_id = afresh.order(restricted)
    afresh.work()
    snapshot = afresh.snapshot(snapshot_id)
    assert snapshot.state == "ready", snapshot.stuck_reason
    lease_id, password = afresh.sandbox_lease(snapshot_id)
    afresh.work()
    with afresh.login(lease_id, password) as session:
        held = session.execute(
            "SELECT (SELECT count(*) FROM crm.companies), (SELECT count(*) FROM crm.orders),"
            " (SELECT count(*) FROM crm.contacts), (SELECT count(*) FROM crm.tickets),"
            " (SELECT count(*) FROM pg_constraint WHERE confrelid = 'crm.companies'::regclass)"
        ).fetchone()
    assert held == (companies, orders, contacts, tickets, 0)
    assert "points at rows that were left out" in str(snapshot.report)
