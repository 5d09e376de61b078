"""Ownership against brute force: made-up foreign-key graphs, circles too, with made-up rows, on a
real server. Whatever the graph, no row comes out that leads to another tenant (G12).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from broker.embedded import EmbeddedServer
from broker.engines import Catalogue, Column, Constraint, Table
from broker.engines.ownership import Owned, find_owned
from broker.engines.postgres.tenant_rows import condition, literal_key, relation
from broker.tenancy import from_document
from tests.conftest import admin

OWN = 7
TENANCY = from_document(
    {"form": "rows", "columns": ["tenant"], "type": "integer", "value": str(OWN)}
)
ROWS = 4  # of each table
Row = tuple[int, int]  # table, number


@dataclass(frozen=True)
class Database:
    """`keyed` tables hold a tenant; `edges` are foreign keys, from table to table; `points` says
    for each row where its foreign keys lead, None for nowhere; `tenants` whose a keyed row is.
    """

    size: int
    keyed: frozenset[int]
    edges: tuple[tuple[int, int, bool], ...]  # from, to, whether it may be NULL
    points: dict[tuple[Row, int], int | None]  # row, number of the edge
    tenants: dict[Row, int]

    def catalogue(self) -> Catalogue:
        return Catalogue(170000, tuple(self._table(n) for n in range(self.size)))

    def _table(self, number: int) -> Table:
        mine = [(k, edge) for k, edge in enumerate(self.edges) if edge[0] == number]
        columns = [Column("id", "integer", "integer", not_null=True)]
        columns += [Column("tenant", "integer", "integer")] if number in self.keyed else []
        columns += [Column(f"e{k}", "integer", "integer", not_null=not e[2]) for k, e in mine]
        keys = [
            Constraint(f"k{k}", "foreign", (f"e{k}",), ("s", f"t{edge[1]}"), ("id",))
            for k, edge in mine
        ]
        return Table("s", f"t{number}", "table", tuple(columns), tuple(keys))

    def store(self, connection: psycopg.Connection) -> None:
        connection.execute("CREATE SCHEMA s")
        for number, table in enumerate(self.catalogue().tables):
            names = ", ".join(f"{column.name} int" for column in table.columns)
            rows = ", ".join(self._row((number, n), table) for n in range(ROWS))
            text = f"CREATE TABLE s.t{number} ({names}); INSERT INTO s.t{number} VALUES {rows}"
            connection.execute(text.encode())

    def _row(self, row: Row, table: Table) -> str:
        values: dict[str, int | None] = {"id": row[1], "tenant": self.tenants.get(row)}
        values |= {f"e{k}": to for (one, k), to in self.points.items() if one == row}
        written = (values[column.name] for column in table.columns)
        return f"({', '.join('NULL' if v is None else str(v) for v in written)})"

    # What brute force says. A keyed row is its tenant's, whatever it points at.

    def steps(self, row: Row, edges: frozenset[int]) -> list[Row]:
        if row[0] in self.keyed:
            return []
        pointed = ((k, self.points.get((row, k))) for k in sorted(edges))
        return [(self.edges[k][1], to) for k, to in pointed if to is not None]

    def closure(self, row: Row, edges: frozenset[int]) -> set[Row]:
        seen, ahead = {row}, [row]
        while ahead:
            fresh = set(self.steps(ahead.pop(), edges)) - seen
            seen |= fresh
            ahead += fresh
        return seen

    def reaches(self, start: int) -> set[int]:
        """Tables that some chain of foreign keys of tables without a key leads to."""
        seen: set[int] = set()
        ahead = [start]
        while ahead:
            here = ahead.pop()
            if here in self.keyed:
                continue
            fresh = {to for one, to, _ in self.edges if one == here} - seen
            seen |= fresh
            ahead += fresh
        return seen

    def owned_edges(self) -> frozenset[int]:
        """Those from one table to another that a key can be reached from."""
        good = {n for n in range(self.size) if n in self.keyed or self.reaches(n) & self.keyed}
        return frozenset(k for k, (one, to, _) in enumerate(self.edges) if to in good and one != to)

    def straight_edges(self) -> frozenset[int]:
        """Of those the ones in no circle."""
        return frozenset(
            k for k in self.owned_edges() if self.edges[k][0] not in self.reaches(self.edges[k][1])
        )


@st.composite
def databases(draw: st.DrawFn, *, circles: bool) -> Database:
    size = draw(st.integers(3, 5))
    keyed = draw(st.sampled_from([frozenset({0}), frozenset({0, 1})]))
    pairs = [(a, b) for a in range(size) for b in range(size) if circles or b < a]
    chosen = draw(st.lists(st.sampled_from(pairs), min_size=3, max_size=7))
    edges = tuple((a, b, draw(st.booleans())) for a, b in chosen)
    number = st.integers(0, ROWS - 1)
    points = {
        ((edge[0], n), k): draw(st.none() | number if edge[2] else number)
        for k, edge in enumerate(edges)
        for n in range(ROWS)
    }
    tenants = {(t, n): draw(st.sampled_from([OWN, OWN, 9])) for t in keyed for n in range(ROWS)}
    return Database(size, keyed, edges, points, tenants)


@pytest.fixture(scope="module")
def connection(live_server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    with admin(live_server) as connection:
        yield connection


def find_visible(connection: psycopg.Connection, database: Database) -> set[Row]:
    """What the conditions let out, by PostgreSQL itself."""
    owned: Owned = find_owned(database.catalogue(), TENANCY, ["s"])
    tables = {(t.schema, t.name): t for t in owned.catalogue.tables}
    seen: set[Row] = set()
    with connection.transaction(force_rollback=True):
        database.store(connection)
        for number, table in enumerate(owned.catalogue.tables):
            where = condition(table, owned.whose, tables, literal_key)
            assert where is not None
            query = sql.SQL("SELECT t.id FROM {} WHERE {}").format(relation(table, "t"), where)
            seen |= {(number, n) for (n,) in connection.execute(query).fetchall()}
    return seen


# The connection is one for all examples, and each is rolled back; a busy machine is slow.
ON_A_SERVER = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@ON_A_SERVER
@given(database=databases(circles=False))
def test_without_circles_a_row_is_the_tenants_when_all_its_ways_end_with_the_tenant(
    connection: psycopg.Connection, database: Database
) -> None:
    edges = database.owned_edges()
    expected = set()
    for row in [(t, n) for t in range(database.size) for n in range(ROWS)]:
        ends = [one for one in database.closure(row, edges) if not database.steps(one, edges)]
        if all(database.tenants.get(one) == OWN for one in ends):
            expected.add(row)
    assert find_visible(connection, database) == expected


@ON_A_SERVER
@given(database=databases(circles=True))
def test_with_circles_every_row_leads_to_the_tenant_and_none_straight_to_another(
    connection: psycopg.Connection, database: Database
) -> None:
    every, straight = database.owned_edges(), database.straight_edges()
    for row in find_visible(connection, database):
        whose = {database.tenants.get(one) for one in database.closure(row, every)}
        assert OWN in whose
        ahead = {database.tenants.get(one) for one in database.closure(row, straight)}
        assert ahead <= {OWN, None}
