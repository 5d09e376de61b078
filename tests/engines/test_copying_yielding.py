"""A copy that stands in the tenant's way goes away by itself, and only itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from broker.embedded import EmbeddedServer
from broker.engines import Target
from broker.engines.postgres.connect import connect
from broker.engines.postgres.copying import CopyFailed, SourceBusy
from broker.engines.postgres.copying.exporter import Exporter
from broker.engines.postgres.copying.rows import RowSource, RowTarget, copy_rows
from broker.engines.postgres.copying.yielding import Yielding
from tests.conftest import new_database, superuser
from tests.engines.copying_world import opened_sandbox, plain_select

TABLE = ("public", "t")


@pytest.fixture
def source(live_server: EmbeddedServer) -> Target:
    target = superuser(live_server, new_database(live_server))
    with connect(target) as connection:
        connection.execute("CREATE TABLE public.t AS SELECT n FROM generate_series(1, 300000) n")
    return replace(target, application_name=f"broker test {target.dbname}")


def alter(source: Target) -> None:
    """A migration, which waits as long as it must."""
    migration = replace(source, application_name="a migration")
    with connect(migration, options={"lock_timeout": "0"}) as connection:
        connection.execute("ALTER TABLE public.t ADD COLUMN added int")


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"


def copy_meeting_a_migration(
    source: Target, into: psycopg.Connection, pool: ThreadPoolExecutor
) -> None:
    with Yielding(source, patience_s=0.1) as yielding, Exporter(source, [TABLE]) as held:
        select = plain_select(["n"], TABLE)
        reading = RowSource(source, held.snapshot_id, select, held.reader_options)

        def interfere(so_far: int) -> None:
            if so_far:
                pool.submit(alter, source)
                until(lambda: yielding.check() or False)

        copy_rows(reading, RowTarget(into, TABLE, ["n"]), checkpoint=interfere)


def test_a_copy_withdraws_for_a_migration_that_waits_for_it(
    source: Target, test_server: EmbeddedServer
) -> None:
    with opened_sandbox(test_server) as sandbox, sandbox.connect() as into:
        into.execute("CREATE TABLE public.t (n int)")
        with ThreadPoolExecutor() as pool:
            with pytest.raises(SourceBusy, match="made anew later"):
                copy_meeting_a_migration(source, into, pool)
            with connect(source) as connection:
                until(lambda: has_column(connection))
        assert into.execute("SELECT count(*) FROM public.t").fetchone() == (0,)


def has_column(connection: psycopg.Connection) -> bool:
    found = connection.execute(
        "SELECT FROM pg_attribute WHERE attrelid = 'public.t'::regclass AND attname = 'added'"
    )
    return found.fetchone() is not None


def test_it_withdraws_also_while_our_own_threads_hang(source: Target) -> None:
    """The locks go by the server's hand: nothing of ours has to come round to a check."""
    with (
        ThreadPoolExecutor() as pool,
        pytest.raises(SourceBusy),
        Yielding(source, patience_s=0.1),
        Exporter(source, [TABLE]),
    ):
        pool.submit(alter, source).result(30)


def test_a_short_wait_is_borne(source: Target) -> None:
    with ThreadPoolExecutor() as pool, Yielding(source, patience_s=60) as yielding:
        with Exporter(source, [TABLE]) as exporter:
            altering = pool.submit(alter, source)
            with connect(replace(source, application_name="a look")) as look:
                until(
                    lambda: (
                        look.execute("SELECT FROM pg_locks WHERE NOT granted").fetchone()
                        is not None
                    )
                )
            yielding.check()
            assert exporter.connection.execute("SELECT count(*) FROM public.t").fetchone()
        altering.result(30)


def test_sessions_of_another_copy_are_not_ended(source: Target) -> None:
    other = replace(source, application_name=f"{source.application_name} other")
    with connect(other) as bystander, ThreadPoolExecutor() as pool:
        with (
            pytest.raises(SourceBusy),
            Yielding(source, patience_s=0.1),
            Exporter(source, [TABLE]),
        ):
            pool.submit(alter, source).result(30)
        assert bystander.execute("SELECT 1").fetchone() == (1,)


def test_a_snapshot_is_not_held_for_longer_than_its_cap(source: Target) -> None:
    with (
        pytest.raises(CopyFailed, match="narrow the grant"),
        Yielding(source, age_max_s=0) as yielding,
        Exporter(source, [TABLE]),
    ):
        until(lambda: yielding.check() or False)


def test_an_error_that_is_not_its_own_passes_through(source: Target) -> None:
    with pytest.raises(ZeroDivisionError), Yielding(source):
        raise ZeroDivisionError
