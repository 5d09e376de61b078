"""What a copy is not: how it differs from production, so that an engineer knows what it means when
a fault does not show in it. Names and sentences, no value. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from broker.engines.postgres.copying.toc import Skipped
from broker.grants.plan import Plan
from broker.snapshots.contents import SealedTable


@dataclass(frozen=True, slots=True)
class Locales:
    """How each of the two databases sorts, e.g. `C.UTF-8`."""

    source: str
    sandbox: str


def make_report(
    plan: Plan,
    tables: Sequence[SealedTable],
    skipped: Sequence[Skipped],
    drift: Sequence[str],
    locales: Locales,
) -> dict[str, Any]:
    """JSON. `masked` tells of each copied table which column got which mask; `differs` is the rest
    that holds for the whole, a sentence each.
    """
    return {
        "rows": {table.full_name: table.rows for table in sorted(tables, key=_full_name)},
        "structure_only": {t.full_name: t.note for t in plan.tables if not t.rows},
        "left_out": [f"{item.entry.kind.lower()}: {item.why}" for item in skipped],
        "drift": list(drift),
        "plan": plan.digest(),
        "masked": {
            table.full_name: masked
            for table in plan.tables
            if table.rows and (masked := {c.name: c.fate.mask for c in table.columns if not c.kept})
        },
        "differs": [*plan.remarks, *_differences(plan, locales)],
    }


def _full_name(table: SealedTable) -> str:
    return table.full_name


def _differences(plan: Plan, locales: Locales) -> list[str]:
    told = ["statistics are those of the masked rows, so other query plans may be chosen"]
    if locales.source != locales.sandbox:
        told.append(f"texts sort by {locales.sandbox}, in production by {locales.source}")
    if any(table.whose for table in plan.tables):
        told.append("only this customer's rows of shared tables are there")
    return told
