"""The plan: table by table whether rows are read, and each column kept or masked, and why.

Pure: policy × catalogue in, plan out; the same input gives the same digest, which is what an admin
approves. A plan holds names, types and sentences: no row, no value, no literal (G1).

Where the schema makes every mask of a column impossible, the table's rows stay out and the plan
says which column and why, before anyone approves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import rfc8785

from broker.engines import Catalogue, Column, Fate, Table
from broker.errors import Invalid
from broker.grants.policy import KEEP, Policy

FindObstacle = Callable[[str, Column, Table], str | None]
FullName = tuple[str, str]
_JOINING = ("token",)  # masks that keep joins when their columns share a label


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """`obstacles` are the masks that were tried before, each with the reason it is impossible.

    `fallback` is the mask that a kept column gets when an admin wants it masked; "" when none is
    possible, so that only leaving the table out helps.
    """

    name: str
    type: str
    fate: Fate
    obstacles: tuple[str, ...] = ()
    fallback: str = ""

    @property
    def kept(self) -> bool:
        return self.fate.mask == KEEP


@dataclass(frozen=True, slots=True)
class TablePlan:
    """`rows` False: structure only, `note` says why. Partitions stand under their root."""

    schema: str
    name: str
    rows: bool
    columns: tuple[ColumnPlan, ...]
    estimated_rows: int
    size_bytes: int
    note: str = ""
    partition_of: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    def fates(self) -> dict[str, Fate]:
        return {column.name: column.fate for column in self.columns}


@dataclass(frozen=True, slots=True)
class Plan:
    policy_version: int
    tables: tuple[TablePlan, ...]
    remarks: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """JSON for storing and showing; `from_document` is its inverse."""
        return {
            "v": 1,
            "policy_version": self.policy_version,
            "remarks": list(self.remarks),
            "tables": [_table_document(table) for table in self.tables],
        }

    def digest(self) -> str:
        """SHA-256, in hex, of the document in canonical JSON (RFC 8785)."""
        return hashlib.sha256(rfc8785.dumps(self.document())).hexdigest()

    def find_table(self, full_name: str) -> TablePlan | None:
        return next((table for table in self.tables if table.full_name == full_name), None)


def _table_document(table: TablePlan) -> dict[str, Any]:
    return {
        "schema": table.schema,
        "name": table.name,
        "rows": table.rows,
        "note": table.note,
        "partition_of": table.partition_of,
        "estimated_rows": table.estimated_rows,
        "size_bytes": table.size_bytes,
        "columns": [
            {
                "name": column.name,
                "type": column.type,
                "mask": column.fate.mask,
                "label": column.fate.label,
                "why": column.fate.why,
                "obstacles": list(column.obstacles),
                "fallback": column.fallback,
            }
            for column in table.columns
        ],
    }


def from_document(document: Mapping[str, Any]) -> Plan:
    """Raises Invalid for another version."""
    if document.get("v") != 1:
        raise Invalid("this plan was written by another version of the broker")
    return Plan(
        policy_version=document["policy_version"],
        remarks=tuple(document["remarks"]),
        tables=tuple(
            TablePlan(
                schema=table["schema"],
                name=table["name"],
                rows=table["rows"],
                note=table["note"],
                partition_of=table["partition_of"],
                estimated_rows=table["estimated_rows"],
                size_bytes=table["size_bytes"],
                columns=tuple(
                    ColumnPlan(
                        name=column["name"],
                        type=column["type"],
                        fate=Fate(column["mask"], column["label"], column["why"]),
                        obstacles=tuple(column["obstacles"]),
                        fallback=column["fallback"],
                    )
                    for column in table["columns"]
                ),
            )
            for table in document["tables"]
        ),
    )


def make_plan(policy: Policy, catalogue: Catalogue, find_obstacle: FindObstacle) -> Plan:
    """Decide the fate of every column of every table. Deterministic."""
    tables = {(table.schema, table.name): table for table in catalogue.tables}
    joined = _join_classes(catalogue.tables)
    plans = tuple(
        _plan_table(policy, table, tables, joined, find_obstacle) for table in catalogue.tables
    )
    return Plan(policy.version, plans, _remarks(catalogue))


def _remarks(catalogue: Catalogue) -> tuple[str, ...]:
    return tuple(f"not copied: {sentence}" for sentence in catalogue.obstacles)


def _root(table: Table, tables: Mapping[FullName, Table]) -> Table:
    while table.parent is not None and table.parent in tables:
        table = tables[table.parent]
    return table


def _plan_table(
    policy: Policy,
    table: Table,
    tables: Mapping[FullName, Table],
    joined: Mapping[tuple[FullName, str], str],
    find_obstacle: FindObstacle,
) -> TablePlan:
    root = _root(table, tables)
    by_name = {column.name: column for column in root.columns}
    columns: list[ColumnPlan] = []
    problems: list[str] = []
    for column in table.columns:
        planned, problem = _plan_column(
            policy, root, by_name.get(column.name, column), joined, find_obstacle
        )
        columns.append(planned)
        if problem:
            problems.append(problem)
    note = "structure only: " + "; ".join(problems) if problems else ""
    return TablePlan(
        schema=table.schema,
        name=table.name,
        rows=not problems,
        columns=tuple(columns),
        estimated_rows=table.estimated_rows,
        size_bytes=table.size_bytes,
        note=note,
        partition_of=root.full_name if root is not table else "",
    )


def _plan_column(
    policy: Policy,
    table: Table,
    column: Column,
    joined: Mapping[tuple[FullName, str], str],
    find_obstacle: FindObstacle,
) -> tuple[ColumnPlan, str | None]:
    choice = policy.choose(table, column)
    label = joined.get(((table.schema, table.name), column.name))
    own_label = f"{table.full_name}.{column.name}"
    masks = choice.masks
    if label is not None and KEEP not in masks[:1]:
        masks = _JOINING  # both sides of a foreign key get the same mask, or neither gets rows
    tried: list[str] = []
    for mask in masks:
        obstacle = None if mask == KEEP else find_obstacle(mask, column, table)
        if obstacle is None:
            fate = Fate(mask, label or own_label, choice.why)
            fallback = ""
            if mask == KEEP and label is None:
                rest = (m for m in masks if m != KEEP and find_obstacle(m, column, table) is None)
                fallback = next(rest, "")
            return ColumnPlan(column.name, column.type, fate, tuple(tried), fallback), None
        tried.append(f"{mask}: {obstacle}")
    fate = Fate("null", own_label, "no mask is possible here, so the rows of this table stay out")
    problem = f"{column.name} can't be masked ({tried[-1]})"
    return ColumnPlan(column.name, column.type, fate, tuple(tried)), problem


def _join_classes(tables: Iterable[Table]) -> dict[tuple[FullName, str], str]:
    """Columns tied by foreign keys, each with the label of its class: the first name in order."""
    parent: dict[tuple[FullName, str], tuple[FullName, str]] = {}

    def find(item: tuple[FullName, str]) -> tuple[FullName, str]:
        while parent.setdefault(item, item) != item:
            item = parent[item]
        return item

    for table in tables:
        for constraint in table.constraints:
            if constraint.kind == "foreign" and constraint.target is not None:
                for mine, theirs in zip(constraint.columns, constraint.target_columns, strict=True):
                    a = find(((table.schema, table.name), mine))
                    b = find((constraint.target, theirs))
                    low, high = min(a, b), max(a, b)
                    parent[high] = low
    return {item: f"{(top := find(item))[0][0]}.{top[0][1]}.{top[1]}" for item in list(parent)}


def more_masked(approved: Plan, fresh: Plan) -> tuple[Plan, tuple[str, ...]]:
    """What a copy may read now: the approved plan, and for all that changed since, less.

    A column or table that was not in the approved plan is masked or left without rows; one that
    is gone is dropped. Drift can only mask more; each difference comes back as a sentence.
    """
    drift: list[str] = []
    tables = [_meet(approved.find_table(table.full_name), table, drift) for table in fresh.tables]
    names = {table.full_name for table in fresh.tables}
    drift += [f"{t.full_name} is gone" for t in approved.tables if t.full_name not in names]
    return replace(fresh, tables=tuple(tables)), tuple(drift)


def _meet(old: TablePlan | None, table: TablePlan, drift: list[str]) -> TablePlan:
    if old is None:
        drift.append(f"{table.full_name} is new: structure only")
        return replace(table, rows=False, note="new since the plan was approved")
    if not (old.rows and table.rows):
        return replace(table, rows=False, note=old.note or table.note)
    columns: list[ColumnPlan] = []
    for column in table.columns:
        before = next((c for c in old.columns if c.name == column.name), None)
        if before is not None and before.type == column.type:
            columns.append(replace(column, fate=before.fate, obstacles=before.obstacles))
            continue
        where = f"{table.full_name}.{column.name}"
        change = "is new" if before is None else "changed its type"
        masked = mask_kept(column, f"{change} since the plan was approved")
        if masked is None:
            drift.append(f"{where} {change} and can't be masked: structure only")
            return replace(table, rows=False, note=f"{column.name} {change} and can't be masked")
        drift.append(f"{where} {change}: {masked.fate.mask}")
        columns.append(masked)
    return replace(table, columns=tuple(columns))


def mask_kept(column: ColumnPlan, why: str) -> ColumnPlan | None:
    """The column masked, by its fallback if it was kept; None when no mask is possible."""
    if not column.kept:
        return column
    if not column.fallback:
        return None
    return replace(column, fate=replace(column.fate, mask=column.fallback, why=why), fallback="")
