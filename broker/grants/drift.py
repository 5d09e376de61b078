"""What a copy may read of a plan that was approved a while ago: drift only masks more. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from broker.errors import Conflict
from broker.grants.plan import ColumnPlan, Plan, TablePlan, mask_kept
from broker.grants.scope_kinds import RAW


def more_masked(approved: Plan, fresh: Plan) -> tuple[Plan, tuple[str, ...]]:
    """What a copy may read now: the approved plan, and for all that changed since, less.

    A column or table that was not in the approved plan is masked or left without rows; one that
    is gone is dropped. Drift can only mask more; each difference comes back as a sentence.
    """
    if approved.kind == RAW:  # no request can ask it; what is to be masked never leaves (G4)
        raise Conflict("a copy is never made of a plan with raw columns; make a new request")
    drift: list[str] = []
    tables = [_meet(approved.find_table(table.full_name), table, drift) for table in fresh.tables]
    names = {table.full_name for table in fresh.tables}
    drift += [f"{t.full_name} is gone" for t in approved.tables if t.full_name not in names]
    met = replace(fresh, tables=tuple(tables), structure=approved.structure, copy=approved.copy)
    return met, tuple(drift)


def _meet(old: TablePlan | None, table: TablePlan, drift: list[str]) -> TablePlan:
    if old is None:
        drift.append(f"{table.full_name} is new: structure only")
        return replace(table, rows=False, note="new since the plan was approved")
    if not (old.rows and table.rows):
        return replace(table, rows=False, note=old.note or table.note)
    if old.whose != table.whose:
        drift.append(f"{table.full_name} tells otherwise whose its rows are: structure only")
        return replace(table, rows=False, note="whose its rows are changed since the approval")
    if any(_is_changed(old, table, one.column) for one in old.only):
        drift.append(f"{table.full_name} has lost what its rows are chosen by: structure only")
        return replace(table, rows=False, note="what its rows are chosen by changed since")
    columns: list[ColumnPlan] = []
    for column in table.columns:
        before = next((c for c in old.columns if c.name == column.name), None)
        known = {one.name for one in table.columns}
        if before is not None and before.type == column.type and _has_subject(before, known):
            columns.append(replace(column, fate=before.fate, obstacles=before.obstacles))
            continue
        where = f"{table.full_name}.{column.name}"
        change = "is new" if before is None else "changed its type"
        if before is not None and not _has_subject(before, known):
            change = f"has lost {before.fate.subject}, by which it was shifted"
        masked = mask_kept(column, f"{change} since the plan was approved")
        if masked is None:
            drift.append(f"{where} {change} and can't be masked: structure only")
            return replace(table, rows=False, note=f"{column.name} {change} and can't be masked")
        drift.append(f"{where} {change}: {masked.fate.mask}")
        columns.append(masked)
    return replace(table, columns=tuple(columns), only=old.only)


def _has_subject(before: ColumnPlan, known: Collection[str]) -> bool:
    return not before.fate.subject or before.fate.subject in known


def _is_changed(old: TablePlan, table: TablePlan, name: str) -> bool:
    before, now = (
        next(((c.type, c.enum) for c in one.columns if c.name == name), None)
        for one in (old, table)
    )
    return before is None or now != before
