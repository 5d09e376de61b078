"""Which rows of the source a copy has: all, or those of the tenant in a database that it shares.

What must stay true: the same condition chooses the rows that are read, counted and sampled; and a
foreign key of one of these rows at a row that is not the tenant's leaves that key out of the copy,
named in its report: the row stays whole, and the other's is not read.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from broker.engines import Constraint, Table
from broker.engines.ownership import Owned, find_path
from broker.engines.postgres.tenant_rows import (
    condition,
    literal_key,
    points_elsewhere,
    relation,
)
from broker.tenancy import ROWS

Connection = psycopg.Connection[tuple[Any, ...]]


class Part:
    """`connection` is the exporter's: what it is asked is of the one snapshot."""

    def __init__(self, owned: Owned, connection: Connection) -> None:
        self._owned, self._connection = owned, connection
        self._tables = {(t.schema, t.name): t for t in owned.catalogue.tables}

    @property
    def is_whole(self) -> bool:
        """Whether every row of the schemas is the tenant's."""
        return self._owned.form != ROWS

    def condition(self, table: Table) -> sql.Composed | None:
        return condition(table, self._owned.whose, self._tables, literal_key)

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
        if self.is_whole or target is None:
            return False
        path = find_path(table, constraint, target)
        if path is None:
            return self.condition(target) is not None  # its types are not ours to compare
        query = points_elsewhere(table, path, self._owned.whose, self._tables, literal_key)
        row = self._connection.execute(query).fetchone()
        return row is None or bool(row[0])
