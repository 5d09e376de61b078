"""Canaries: a copy in which a real value stands where a mask should be is never ready (G4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from psycopg import sql

from broker.embedded import EmbeddedServer
from broker.engines import Column, Fate, Table, Target
from broker.engines.postgres.connect import connect
from broker.engines.postgres.copying import CopyFailed
from broker.engines.postgres.copying.exporter import Exporter
from broker.grants.plan import ColumnPlan, TablePlan
from broker.snapshots import spot
from tests.conftest import new_database, superuser
from tests.engines.copying_world import Sandbox, opened_sandbox

COLUMNS = (Column("id", "integer", "integer"), Column("mail", "text", "text"))
FATES = (Fate("keep", "", ""), Fate("email", "l", ""))
PLANNED = TablePlan(
    "public", "t", rows=True, estimated_rows=0, size_bytes=0,
    columns=tuple(ColumnPlan(c.name, c.type, f) for c, f in zip(COLUMNS, FATES, strict=True)),
)  # fmt: skip
TABLE = Table("public", "t", "table", COLUMNS)
MANY = "INSERT INTO public.t SELECT n, {} FROM generate_series(1, 2000) n"


@dataclass
class Both:
    source: Target
    sandbox: Sandbox

    def take(self) -> spot.Canaries:
        with Exporter(self.source, [("public", "t")]) as exporter:
            return spot.take(self.source, exporter, [(TABLE, PLANNED)], lambda _: None)

    def load(self, made: str) -> None:
        with self.sandbox.connect() as connection:
            connection.execute(sql.SQL("TRUNCATE public.t"))
            connection.execute(MANY.format(made).encode())

    def search(self, canaries: spot.Canaries) -> None:
        spot.check_none_found(canaries, self.sandbox.owner, lambda: None)


@pytest.fixture
def both(live_server: EmbeddedServer, test_server: EmbeddedServer) -> Iterator[Both]:
    source = superuser(live_server, new_database(live_server))
    with opened_sandbox(test_server) as sandbox:
        for target in (source, sandbox.owner):
            with connect(target) as connection:
                connection.execute("CREATE TABLE public.t (id int, mail text)")
        with connect(source) as connection:
            connection.execute(MANY.format("n || '@shop.example'").encode())
        yield Both(source, sandbox)


def test_one_real_value_in_a_masked_column_is_found(both: Both) -> None:
    canaries = both.take()
    assert canaries.count == 50
    both.load("md5(n::text)")
    both.search(canaries)
    both.load("n || '@shop.example'")
    with pytest.raises(CopyFailed, match=r"in masked columns: public\.t\.mail"):
        both.search(canaries)


def test_a_server_that_hashes_otherwise_is_not_searched_in_vain(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries = both.take()
    monkeypatch.setattr(spot, "PROBE", sql.SQL("SELECT -2"))
    with pytest.raises(CopyFailed, match="hash texts differently"):
        both.search(canaries)


def test_no_value_is_in_what_is_kept_of_canaries(both: Both) -> None:
    assert "@shop.example" not in repr(both.take())
