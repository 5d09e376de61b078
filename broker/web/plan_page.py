"""A plan as its page shows it: filtered, with what the reader ticked, and asked beside given. Pure.

What must stay true: a filter hides tables and columns but loses no choice. What was ticked and is
not on the page comes back as hidden fields, so that a decision is about all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from broker.engines.ownership import SHARED
from broker.grants.narrowing import Narrowing
from broker.grants.plan import ColumnPlan, Plan, TablePlan
from broker.restricting import say

TABLES_AT_ONCE = 60


@dataclass(frozen=True, slots=True)
class Filter:
    """`text` is looked for in names; `whole` shows every table of a large schema at once."""

    text: str = ""
    only_kept: bool = False
    whole: bool = False

    @property
    def narrows(self) -> bool:
        return bool(self.text) or self.only_kept


@dataclass(frozen=True, slots=True)
class ColumnShown:
    full_name: str
    plan: ColumnPlan
    ticked: bool  # "mask it"

    @property
    def can_be_masked(self) -> bool:
        return self.plan.kept and bool(self.plan.fallback)


@dataclass(frozen=True, slots=True)
class TableShown:
    """`partitions` is how many stand under it; `rows_estimated` counts theirs too."""

    plan: TablePlan
    columns: tuple[ColumnShown, ...]
    partitions: int
    rows_estimated: int
    ticked: bool  # "leave it out"

    @property
    def own_rows(self) -> bool:
        """Whether the customer's rows alone are shown of a table that others have rows in."""
        return self.plan.whose not in ("", SHARED)

    @property
    def only(self) -> str:
        """Which rows a decision left, as a sentence; "" for all."""
        return say(self.plan.only)

    @property
    def kept_names(self) -> list[str]:
        return [column.name for column in self.plan.columns if column.kept and self.plan.rows]

    @property
    def kept(self) -> int:
        return len(self.kept_names)

    @property
    def raw(self) -> int:
        """How many of them are in clear only because they were asked by name."""
        return sum(column.raw for column in self.plan.columns if self.plan.rows)


@dataclass(frozen=True, slots=True)
class PlanShown:
    """`hidden_out` and `hidden_mask` are ticked names that this page does not show."""

    tables: tuple[TableShown, ...]
    more: int
    all_tables: int
    with_rows: int
    kept: int
    raw: int
    masked: int
    kind: str
    remarks: tuple[str, ...]
    hidden_out: tuple[str, ...]
    hidden_mask: tuple[str, ...]
    develop: bool
    server: str  # of the copy: shared or dedicated


@dataclass(frozen=True, slots=True)
class Difference:
    """What a decision took away from what was asked: full names, and sentences of rows."""

    tables_out: tuple[str, ...]
    columns_masked: tuple[str, ...]
    rows_only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class More:
    """What a plan shows that another did not: full names, and restrictions that are not in it."""

    tables: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.tables or self.columns or self.rows)


def show_plan(plan: Plan, wanted: Filter, ticked: Narrowing) -> PlanShown:
    partitions: dict[str, list[TablePlan]] = {}
    for table in plan.tables:
        if table.partition_of:
            partitions.setdefault(table.partition_of, []).append(table)
    roots = [table for table in plan.tables if not table.partition_of]
    matching = [
        _show_table(table, columns, partitions.get(table.full_name, []), ticked)
        for table in roots
        if (columns := _matching(table, wanted)) is not None
    ]
    shown = matching if wanted.whole else matching[:TABLES_AT_ONCE]
    on_page = {table.plan.full_name for table in shown}
    columns_on_page = {column.full_name for table in shown for column in table.columns}
    columns = [column for table in roots if table.rows for column in table.columns]
    kept = sum(column.kept for column in columns)
    return PlanShown(
        tables=tuple(shown),
        more=len(matching) - len(shown),
        all_tables=len(roots),
        with_rows=sum(table.rows for table in roots),
        kept=kept,
        raw=sum(column.raw for column in columns),
        kind=plan.kind,
        masked=len(columns) - kept,
        remarks=plan.remarks,
        hidden_out=tuple(sorted(ticked.tables_out - on_page)),
        hidden_mask=tuple(sorted(ticked.columns_masked - columns_on_page)),
        develop=plan.copy.develop,
        server=plan.copy.server,
    )


def _matching(table: TablePlan, wanted: Filter) -> Sequence[ColumnPlan] | None:
    """The columns to show, or None when the table is not to be shown."""
    columns: Sequence[ColumnPlan] = table.columns
    text = wanted.text.strip().lower()
    if text and text not in table.full_name.lower():
        columns = [column for column in columns if text in column.name.lower()]
        if not columns:
            return None
    if wanted.only_kept:
        columns = [column for column in columns if column.kept and table.rows]
        if not columns:
            return None
    return columns


def _show_table(
    table: TablePlan,
    columns: Iterable[ColumnPlan],
    partitions: Sequence[TablePlan],
    ticked: Narrowing,
) -> TableShown:
    named = ((f"{table.full_name}.{column.name}", column) for column in columns)
    return TableShown(
        plan=table,
        columns=tuple(
            ColumnShown(name, column, name in ticked.columns_masked) for name, column in named
        ),
        partitions=len(partitions),
        rows_estimated=table.estimated_rows + sum(p.estimated_rows for p in partitions),
        ticked=table.full_name in ticked.tables_out,
    )


def compare(asked: Plan, given: Plan) -> Difference:
    """What stands in `asked` and not in `given`; partitions go with their root."""
    out: list[str] = []
    masked: list[str] = []
    only: list[str] = []
    for table in asked.tables:
        after = given.find_table(table.full_name)
        if table.partition_of or not table.rows or after is None:
            continue
        if not after.rows:
            out.append(table.full_name)
            continue
        if after.only != table.only:
            only.append(f"{table.full_name}: {say(after.only)}")
        kept = {column.name for column in after.columns if column.kept}
        masked += [
            f"{table.full_name}.{column.name}"
            for column in table.columns
            if column.kept and column.name not in kept
        ]
    return Difference(tuple(out), tuple(masked), tuple(only))


def find_more(before: Plan, now: Plan) -> More:
    """What stands in `now` and did not in `before`; partitions go with their root."""
    tables: list[str] = []
    columns: list[str] = []
    rows: list[str] = []
    for table in now.tables:
        if table.partition_of or not table.rows:
            continue
        known = before.find_table(table.full_name)
        if known is None or not known.rows:
            tables.append(table.full_name)
            continue
        if known.only and known.only != table.only:
            rows.append(f"{table.full_name}: {say(known.only)}")
        kept = {column.name for column in known.columns if column.kept}
        columns += [
            f"{table.full_name}.{column.name}"
            for column in table.columns
            if column.kept and column.name not in kept
        ]
    return More(tuple(tables), tuple(columns), tuple(rows))
