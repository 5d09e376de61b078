"""Which rows of the source a copy has: all, or those of the tenant in a database that it shares,
and of these the ones that the decision left.

What must stay true: the same condition chooses the rows that are read, counted and sampled; and a
foreign key of one of these rows at a row that is not among them leaves that key out of the copy,
named in its report: the row stays whole, and the other is not read.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from broker.engines import Constraint, Table
from broker.engines.ownership import Owned, find_path
from broker.engines.postgres import restricted_rows
from broker.engines.postgres.tenant_rows import (
    condition,
    literal_key,
    points_elsewhere,
    relation,
)
from broker.grants.plan import Plan
from broker.tenancy import ROWS

Connection = psycopg.Connection[tuple[Any, ...]]


class Part:
    """`connection` is the exporter's: what it is asked is of the one snapshot. `plan` is the one
    that is carried out.
    """

    def __init__(self, owned: Owned, connection: Connection, plan: Plan) -> None:
        self._owned, self._connection, self._plan = owned, connection, plan
        row = connection.execute("SELECT pg_catalog.statement_timestamp()").fetchone()
        assert row is not None  # noqa: S101  # for the type checker: it has no FROM
        self._reading = restricted_rows.of_copy(row[0])
        self._tables = {(t.schema, t.name): t for t in owned.catalogue.tables}

    @property
    def is_whole(self) -> bool:
        """Whether every row of the schemas is the tenant's."""
        return self._owned.form != ROWS

    def condition(self, table: Table) -> sql.Composed | None:
        mine = condition(table, self._owned.whose, self._tables, literal_key)
        return restricted_rows.both(mine, self._given(table, "t"))

    def _given(self, table: Table, alias: str) -> sql.Composed | None:
        planned = self._plan.find_table(table.full_name)
        only = planned.only if planned is not None else ()
        return restricted_rows.condition(table, only, self._reading, alias)

    def count(self, table: Table, reader: Connection) -> int:
        """What the source holds, asked of the source: not what our own stream says it carried.
        `reader` stands on the same snapshot.
        """
        query = sql.SQL("SELECT pg_catalog.count(*) FROM {} WHERE {}").format(
            relation(table, "t"), self.condition(table) or sql.SQL("true")
        )
        row = reader.execute(query).fetchone()
        return int(row[0]) if row else 0

    def is_left(self, table: Table, constraint: Constraint) -> bool:
        """Whether the foreign key could not hold among the rows of the copy."""
        target = self._tables.get(constraint.target) if constraint.target else None
        if target is None or (self.is_whole and self._given(target, "t") is None):
            return False
        path = find_path(table, constraint, target)
        if path is None:
            return self.condition(target) is not None  # its types are not ours to compare
        query = points_elsewhere(
            table, path, self._owned.whose, self._tables, literal_key, self._given
        )
        row = self._connection.execute(query).fetchone()
        return row is None or bool(row[0])
