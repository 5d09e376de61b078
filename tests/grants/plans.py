"""A small plan for tests of rules: two tables, each with a kept and a masked column."""

from __future__ import annotations

from broker.engines import Fate
from broker.grants.plan import ColumnPlan, Plan, TablePlan

_COLUMNS = (
    ColumnPlan("id", "integer", Fate("keep", "", "joins")),
    ColumnPlan("sector", "text", Fate("keep", "", "not personal"), fallback="null"),
    ColumnPlan("total", "numeric", Fate("keep", "", "not personal"), fallback="null"),
    ColumnPlan("email", "text", Fate("email", "", "personal")),
)

PLAN = Plan(
    policy_version=1,
    tables=tuple(
        TablePlan("crm", name, rows=True, columns=_COLUMNS, estimated_rows=10, size_bytes=8192)
        for name in ("companies", "orders", "notes")
    ),
)
