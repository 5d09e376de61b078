"""A decision narrows what was asked; it can't widen it, for there is no way to say so (G2).

A `Narrowing` names tables to leave out, kept columns to mask, rows to which a table is restricted,
shorter windows and a later start, and may take `develop` away from a copy's logins. It has no field
that adds; what it names must exist, and a window longer than the one asked is refused.
`is_within` is the second barrier: whatever led to a plan, it is compared with the one asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from broker.errors import Invalid
from broker.grants.plan import USUAL_COPY, ColumnPlan, Plan, TablePlan, mask_kept
from broker.languages import mark
from broker.restricting import MAX_OF_A_TABLE, RowsOnly, find_fault

LEFT_OUT = mark("left out by the decision")


@dataclass(frozen=True, slots=True)
class Windows:
    """Seconds of live access, of a copy's life, of tokens for a platform, of sessions on
    a storage; 0 is "not at all".

    They begin at `starts_at`, or with the approval when that is None or earlier.
    """

    live_s: int
    copy_s: int
    platform_s: int = 0
    storage_s: int = 0
    starts_at: datetime | None = None

    @property
    def are_none(self) -> bool:
        return self.live_s == self.copy_s == self.platform_s == self.storage_s == 0


NOT_AT_ALL = Windows(0, 0)


@dataclass(frozen=True, slots=True)
class Narrowing:
    """`columns_masked` holds full names, `schema.table.column`; None leaves a window as asked."""

    tables_out: frozenset[str] = frozenset()
    columns_masked: frozenset[str] = frozenset()
    rows_only: frozenset[RowsOnly] = frozenset()
    live_s: int | None = None
    copy_s: int | None = None
    platform_s: int | None = None
    storage_s: int | None = None
    starts_at: datetime | None = None
    no_develop: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """When a later start may lie: not before now, nor after what a request may ask for."""

    now: datetime
    latest: datetime


def narrow_start(asked: datetime | None, narrowing: Narrowing, span: Span) -> datetime | None:
    """The later start that this person gives, or the one asked. Raises Invalid naming the field."""
    start = narrowing.starts_at
    if start is None or start == asked:
        return asked
    if start < (asked or span.now):
        problem = f"a decision only moves the start later: not before {asked or span.now:%c} UTC"
    elif start > span.latest:
        problem = f"a start lies within 7 days of the request: by {span.latest:%c} UTC"
    else:
        return start
    raise Invalid("it can't start then", fields={"starts_at": problem})


def narrow_windows(asked: Windows, narrowing: Narrowing) -> Windows:
    """Raises Invalid for a longer window, a negative one, or when nothing is left."""
    live = asked.live_s if narrowing.live_s is None else narrowing.live_s
    copy = asked.copy_s if narrowing.copy_s is None else narrowing.copy_s
    platform = asked.platform_s if narrowing.platform_s is None else narrowing.platform_s
    storage = asked.storage_s if narrowing.storage_s is None else narrowing.storage_s
    given = replace(asked, live_s=live, copy_s=copy, platform_s=platform, storage_s=storage)
    if not _are_within(given, asked):
        raise Invalid(
            "a decision can only shorten what was asked: "
            f"{asked.live_s} s of live access, {asked.copy_s} s for a copy, "
            f"{asked.platform_s} s on the platform, {asked.storage_s} s on the storage"
        )
    if given.are_none:
        raise Invalid("nothing would be left of this request; refuse it instead")
    return given


def _are_within(given: Windows, asked: Windows) -> bool:
    return (
        0 <= given.live_s <= asked.live_s
        and 0 <= given.copy_s <= asked.copy_s
        and 0 <= given.platform_s <= asked.platform_s
        and 0 <= given.storage_s <= asked.storage_s
    )


def narrow_plan(plan: Plan, narrowing: Narrowing) -> Plan:
    """The plan with tables without rows and columns masked. Raises Invalid for unknown names."""
    parts = {table.full_name: table.partition_of for table in plan.tables if table.partition_of}
    restricted = {one.table for one in narrowing.rows_only}
    named = narrowing.tables_out | {name.rpartition(".")[0] for name in narrowing.columns_masked}
    named |= restricted
    for name in sorted(named & set(parts)):
        # Live access reads a partition through its root: narrowing it alone would be no narrowing.
        raise Invalid(f"{name} is a part of {parts[name]}; name {parts[name]} instead")
    known = {table.full_name for table in plan.tables}
    columns = {f"{t.full_name}.{c.name}" for t in plan.tables for c in t.columns}
    unknown = (narrowing.tables_out - known) | (narrowing.columns_masked - columns)
    unknown |= {name for one in narrowing.rows_only if (name := _column_of(one)) not in columns}
    if unknown:
        raise Invalid(f"the plan has no {', '.join(sorted(unknown))}")
    narrowed = tuple(_narrow_table(table, narrowing) for table in plan.tables)
    if any(table.rows for table in plan.tables) and not any(table.rows for table in narrowed):
        raise Invalid("no table would be left of this request; refuse it instead")
    for table in narrowed:
        _check_only(table)
    copy = replace(plan.copy, develop=False) if narrowing.no_develop else plan.copy
    return replace(plan, tables=narrowed, copy=copy)


def _column_of(one: RowsOnly) -> str:
    return f"{one.table}.{one.restriction.column}"


def _check_only(table: TablePlan) -> None:
    """By columns that are shown in clear alone: the values would tell what a mask hides. Raises
    Invalid naming the field.
    """
    for one in table.only:
        column = next(column for column in table.columns if column.name == one.column)
        fault = find_fault(one, column)
        if not table.rows:
            fault = f"no row of {table.full_name} is given; leave the restriction out"
        elif not column.kept:
            fault = f"{one.column} is masked, and what it is restricted to would be told; choose a "
            fault += "column that is shown in clear, or leave the table out"
        elif len(table.only) > MAX_OF_A_TABLE:
            fault = f"{MAX_OF_A_TABLE} restrictions of a table at most"
        if fault:
            problem = {"rows": f"{table.full_name}: {fault}"}
            raise Invalid("the rows can't be restricted like this", fields=problem)


def is_within(given: Plan, asked: Plan) -> bool:
    """Whether `given` shows no row, and no column in clear, that `asked` does not."""
    if _without_parts(given) != _without_parts(asked) or not given.copy.is_within(asked.copy):
        return False
    return len(given.tables) == len(asked.tables) and all(
        _is_table_within(one, other) for one, other in zip(given.tables, asked.tables, strict=True)
    )


def _without_parts(plan: Plan) -> Plan:
    return replace(plan, tables=(), copy=USUAL_COPY)


def _is_table_within(given: TablePlan, asked: TablePlan) -> bool:
    alike = replace(given, rows=asked.rows, note=asked.note, columns=asked.columns, only=asked.only)
    if alike != asked or given.rows > asked.rows or len(given.columns) != len(asked.columns):
        return False
    if given.rows and not set(asked.only) <= set(given.only):
        return False
    pairs = zip(given.columns, asked.columns, strict=True)
    return all(
        (one.name, one.type) == (other.name, other.type)
        and (not given.rows or one == other or _is_masked_of(one, other))
        for one, other in pairs
    )


def _is_masked_of(given: ColumnPlan, asked: ColumnPlan) -> bool:
    return given.fate.mask == asked.fallback and not given.raw


def _narrow_table(table: TablePlan, narrowing: Narrowing) -> TablePlan:
    root = table.partition_of or table.full_name
    if {table.full_name, root} & narrowing.tables_out:
        return replace(table, rows=False, note=LEFT_OUT)

    def narrowed(column: ColumnPlan) -> ColumnPlan:
        names = {f"{table.full_name}.{column.name}", f"{root}.{column.name}"}
        if not names & narrowing.columns_masked:
            return column
        masked = mask_kept(column, "masked by the decision")
        if masked is None:
            raise Invalid(
                f"{root}.{column.name} joins tables or its constraints allow no mask; "
                f"leave {root} out instead"
            )
        return masked

    mine = {one.restriction for one in narrowing.rows_only if one.table == root}
    return replace(
        table,
        columns=tuple(narrowed(column) for column in table.columns),
        only=tuple(sorted({*table.only, *mine})),
    )


def meet_windows(given: Sequence[Windows]) -> Windows:
    """The shortest of each, from the latest start. Raises Invalid when nothing is left."""
    starts = [one.starts_at for one in given if one.starts_at is not None]
    met = Windows(
        min(one.live_s for one in given),
        min(one.copy_s for one in given),
        min(one.platform_s for one in given),
        min(one.storage_s for one in given),
        max(starts, default=None),
    )
    if met.are_none:
        raise Invalid(
            "nothing is left that all who approve would give: one gives only live access, another "
            "only a copy; give a part of what they gave, or refuse"
        )
    return met


def meet_plans(given: Sequence[Plan]) -> Plan:
    """What every one of them shows: all are narrowed from one plan. Raises Invalid for nothing."""
    first, *others = given
    met = first
    first_has_rows = any(table.rows for table in first.tables)
    for other in others:
        tables = zip(met.tables, other.tables, strict=True)
        met = replace(
            met,
            tables=tuple(_meet_tables(one, two) for one, two in tables),
            copy=met.copy.meet(other.copy),
        )
    if first_has_rows and not any(table.rows for table in met.tables):
        raise Invalid(
            "no table is left that all who approve would show; show a part of what they showed, "
            "or refuse"
        )
    for table in met.tables:
        _check_only(table)  # what one restricts by, another may have masked
    return met


def _meet_tables(one: TablePlan, two: TablePlan) -> TablePlan:
    if not (one.rows and two.rows):
        return two if one.rows else one
    pairs = zip(one.columns, two.columns, strict=True)
    only = tuple(sorted({*one.only, *two.only}))
    return replace(one, columns=tuple(b if a.kept else a for a, b in pairs), only=only)
