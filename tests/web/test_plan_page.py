"""A plan as its page shows it: filters, ticks, and asked beside given."""

from __future__ import annotations

from dataclasses import replace

from broker.engines import Fate
from broker.engines.ownership import SHARED
from broker.grants.narrowing import Narrowing, narrow_plan
from broker.grants.plan import ColumnPlan, Plan, TablePlan
from broker.web.plan_page import TABLES_AT_ONCE, Filter, compare, find_more, show_plan


def column(name: str, *, kept: bool) -> ColumnPlan:
    mask = "keep" if kept else "null"
    return ColumnPlan(name, "text", Fate(mask, name, "because"), fallback="null" if kept else "")


def table(name: str, *columns: ColumnPlan, rows: bool = True, root: str = "") -> TablePlan:
    return TablePlan("crm", name, rows, columns, 100, 8192, partition_of=root)


PLAN = Plan(
    1,
    (
        table("contacts", column("id", kept=True), column("email", kept=False)),
        table("notes", column("text", kept=False)),
        table("files", column("size", kept=True), rows=False),
        table("orders", column("status", kept=True), column("email", kept=False)),
        table("orders_2025", column("status", kept=True), root="crm.orders"),
        table("orders_2026", column("status", kept=True), root="crm.orders"),
    ),
)


def names(wanted: Filter) -> list[str]:
    return [shown.plan.name for shown in show_plan(PLAN, wanted, Narrowing()).tables]


def test_partitions_stand_under_their_root_with_their_rows() -> None:
    shown = show_plan(PLAN, Filter(), Narrowing())
    assert [item.plan.name for item in shown.tables] == ["contacts", "notes", "files", "orders"]
    assert (shown.tables[3].partitions, shown.tables[3].rows_estimated) == (2, 300)
    assert (shown.with_rows, shown.all_tables, shown.kept, shown.masked) == (3, 4, 2, 3)


def test_a_search_finds_tables_by_their_name_and_by_their_columns() -> None:
    assert names(Filter("CONTACT")) == ["contacts"]
    assert names(Filter(" email ")) == ["contacts", "orders"]
    found = show_plan(PLAN, Filter("email"), Narrowing()).tables[0]
    assert [item.plan.name for item in found.columns] == ["email"]
    assert names(Filter("nothing")) == []


def test_only_of_a_table_with_rows_of_others_are_a_customers_rows_said_to_be_shown_alone() -> None:
    owned = replace(PLAN.tables[0], whose="rows with this customer's tenant")
    common = replace(PLAN.tables[1], whose=SHARED)
    shown = show_plan(replace(PLAN, tables=(owned, common, PLAN.tables[3])), Filter(), Narrowing())
    assert [table.own_rows for table in shown.tables] == [True, False, False]


def test_only_kept_leaves_out_tables_without_rows() -> None:
    assert names(Filter(only_kept=True)) == ["contacts", "orders"]


def test_ticks_that_are_not_on_the_page_come_back_hidden() -> None:
    ticked = Narrowing(frozenset({"crm.notes"}), frozenset({"crm.orders.status"}))
    shown = show_plan(PLAN, Filter("contacts"), ticked)
    assert (shown.hidden_out, shown.hidden_mask) == (("crm.notes",), ("crm.orders.status",))
    whole = show_plan(PLAN, Filter(), ticked)
    assert (whole.hidden_out, whole.hidden_mask) == ((), ())
    assert whole.tables[1].ticked
    assert whole.tables[3].columns[0].ticked


def test_a_large_schema_comes_in_parts_and_can_be_shown_whole() -> None:
    many = Plan(1, tuple(table(f"t{n:03}", column("a", kept=True)) for n in range(200)))
    ticked = Narrowing(frozenset({"crm.t199"}))
    first = show_plan(many, Filter(), ticked)
    assert (len(first.tables), first.more) == (TABLES_AT_ONCE, 200 - TABLES_AT_ONCE)
    assert first.hidden_out == ("crm.t199",)
    assert len(show_plan(many, Filter(whole=True), ticked).tables) == 200


def test_asked_beside_given_names_what_was_taken_away() -> None:
    narrowing = Narrowing(frozenset({"crm.notes"}), frozenset({"crm.orders.status"}))
    taken = compare(PLAN, narrow_plan(PLAN, narrowing))
    assert taken.tables_out == ("crm.notes",)
    assert taken.columns_masked == ("crm.orders.status",)
    assert compare(PLAN, PLAN).tables_out == ()


def test_more_than_last_time_is_told_and_less_is_not() -> None:
    last = narrow_plan(
        PLAN,
        Narrowing(
            tables_out=frozenset({"crm.notes"}), columns_masked=frozenset({"crm.contacts.id"})
        ),
    )
    more = find_more(last, PLAN)
    assert (more.tables, more.columns, more.rows) == (("crm.notes",), ("crm.contacts.id",), ())
    assert more
    assert not find_more(PLAN, last)
    fresh = replace(PLAN, tables=PLAN.tables[:1])
    assert find_more(fresh, PLAN).tables == ("crm.notes", "crm.orders")  # there was none then
