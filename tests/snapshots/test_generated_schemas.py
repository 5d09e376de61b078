"""An unmasked copy of any database equals what `pg_dump | pg_restore` makes of it, as an
unprivileged owner: every row by digest, every definition by its text, every sequence.

Databases are made up by hypothesis (see `schemas`), with every feature in each. Three here;
`SOAK=1` makes a thousand, or as many as `EXAMPLES` says.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from psycopg import sql

from broker.embedded import EmbeddedServer
from broker.engines import Target
from broker.engines.postgres.connect import connect
from tests.conftest import admin, new_database, superuser
from tests.engines.copying_world import make_account
from tests.snapshots.peers import contents, copied, definitions, peer
from tests.snapshots.schemas import scripts

SOAK = os.environ.get("SOAK") == "1"
EXAMPLES = int(os.environ.get("EXAMPLES", "1000" if SOAK else "3"))
MEGABYTES = 100 if SOAK else 8
LARGE = f"repeat('0123456789abcdef', {MEGABYTES} * 65536)"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def account(test_server: EmbeddedServer) -> Target:
    return make_account(test_server)


@contextmanager
def source(server: EmbeddedServer, script: Iterable[str]) -> Iterator[Target]:
    made = superuser(server, new_database(server))
    try:
        with connect(made, options={"search_path": "public"}) as connection:
            for statement in script:
                connection.execute(statement.encode())
        yield made
    finally:
        with admin(server) as connection:
            name = sql.Identifier(made.dbname)
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def check_equal(source: Target, server: EmbeddedServer, account: Target, folder: Path) -> None:
    places = copied(source, account, folder)
    mine = superuser(server, places.snapshot.sandbox)
    try:
        with peer(source, server) as name:
            theirs = superuser(server, name)
            assert contents(mine) == contents(theirs) == contents(source)
            assert definitions(mine) == definitions(theirs)
    finally:
        places.drop_sandbox()


def test_a_copy_of_any_database_equals_what_dump_and_restore_make(
    live_server: EmbeddedServer, test_server: EmbeddedServer, account: Target, tmp_path: Path
) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=not SOAK,
        database=None,
        phases=(Phase.generate,),  # a real copy each: shrinking would take hours
        suppress_health_check=list(HealthCheck),
    )
    @given(scripts())
    def check(script: tuple[str, ...]) -> None:
        with source(live_server, script) as made:
            check_equal(made, test_server, account, tmp_path)

    check()


def test_very_large_values_arrive_whole(
    live_server: EmbeddedServer, test_server: EmbeddedServer, account: Target, tmp_path: Path
) -> None:
    """One that PostgreSQL compressed to next to nothing, one that it did not."""
    script = (
        "CREATE TABLE large (packed text, plain text STORAGE EXTERNAL)",
        f"INSERT INTO large VALUES ({LARGE}, NULL), (NULL, {LARGE} || 'end')",
    )
    with source(live_server, script) as made:
        places = copied(made, account, tmp_path)
        try:
            mine = superuser(test_server, places.snapshot.sandbox)
            assert contents(mine) == contents(made)
        finally:
            places.drop_sandbox()


@pytest.mark.skipif(not SOAK, reason="two thousand tables, compared one by one: make soak")
def test_two_thousand_tables_arrive_whole(
    live_server: EmbeddedServer, test_server: EmbeddedServer, account: Target, tmp_path: Path
) -> None:
    script = (
        statement
        for n in range(2000)
        for statement in (
            f"CREATE TABLE t{n} (id serial PRIMARY KEY, r int REFERENCES t{n // 2}, w text)",
            f"INSERT INTO t{n} (w) SELECT 'w' || n FROM generate_series(1, {n % 7}) n",
        )
    )
    with source(live_server, script) as made:
        check_equal(made, test_server, account, tmp_path)
