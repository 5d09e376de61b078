"""The views of a scope: what one plan allows of one catalogue. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from broker.engines import Column, Table
from broker.engines.ownership import Owned
from broker.engines.postgres import restricted_rows, scopes, tenant_rows
from broker.engines.postgres.masks import live_select, table_key
from broker.engines.postgres.scopes import View
from broker.grants.plan import Plan, TablePlan
from broker.tenancy import KeyValue, Tenancy

_NAME_BYTES = 63


def list_views(plan: Plan, owned: Owned, scope: str, keys: Sequence[KeyValue]) -> tuple[View, ...]:
    """A view for each table with rows; partitions are read through their root.

    A column that came after the plan is not in the view; a table that changed otherwise, or now
    tells otherwise whose its rows are, or has lost the column by which its rows were restricted, is
    left out rather than guessed at. `keys` are those of `list_keys`.
    """
    tables = owned.catalogue.tables
    read_key = tenant_rows.table_keys(scope, keys)
    by_name = {(table.schema, table.name): table for table in tables}
    taken = set(scopes.OWN_NAMES)
    count = Counter(table.name for table in tables)
    views: list[View] = []
    for table in tables:
        planned = plan.find_table(table.full_name)
        if planned is None or not planned.rows or table.kind == "partition":
            continue
        whose = owned.whose.get((table.schema, table.name))
        if (whose.sentence if whose else "") != planned.whose or (whose and whose.refusal):
            continue
        if not restricted_rows.fits(table, planned.only):
            continue
        known = _known_columns(planned, table.columns)
        shown = Table(
            schema=table.schema,
            name=table.name,
            kind=table.kind,
            columns=known,
            constraints=table.constraints,
            partition_key=table.partition_key,
        )
        where = restricted_rows.both(
            tenant_rows.condition(table, owned.whose, by_name, read_key),
            restricted_rows.condition(table, planned.only, restricted_rows.of_live(read_key)),
        )
        select, columns = live_select(shown, planned.fates(), table_key(scope), where)
        name = _view_name(table, taken, alone=count[table.name] == 1)
        views.append(View(name, select, columns))
    return tuple(views)


def list_keys(plan: Plan, tenancy: Tenancy) -> tuple[KeyValue, ...]:
    """Every value that the views read, each once, in order."""
    keys = set(tenancy.values())
    for table in plan.tables:
        columns = {column.name: column for column in table.columns}
        for one in table.only:
            keys |= set(one.keys(columns[one.column]))
    return tuple(sorted(keys))


def _view_name(table: Table, taken: set[str], *, alone: bool) -> str:
    """The table's name if no other schema has one of it; never one that is taken or too long."""
    wished = [table.name] if alone else []
    wished += [f"{table.schema}_{table.name}", f"{table.name}_view"]
    wished += [f"view_{number}" for number in range(1, len(taken) + 2)]
    name = next(n for n in wished if n not in taken and len(n.encode()) <= _NAME_BYTES)
    taken.add(name)
    return name


def _known_columns(planned: TablePlan, columns: Sequence[Column]) -> tuple[Column, ...]:
    types = {column.name: column.type for column in planned.columns}
    return tuple(column for column in columns if types.get(column.name) == column.type)
