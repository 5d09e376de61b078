"""What a snapshot sees, and what it makes others wait for."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from broker.embedded import EmbeddedServer
from broker.engines import Target
from broker.engines.postgres.connect import connect
from broker.engines.postgres.copying import CopyFailed, SourceBusy, SourceChanged
from broker.engines.postgres.copying.exporter import Exporter
from broker.engines.postgres.copying.rows import RowSource, RowTarget, copy_rows
from tests.conftest import new_database, superuser
from tests.engines.copying_world import make_account, opened_sandbox, plain_select

TABLE = ("public", "t")
ROWS = 300_000  # more than fits in pipes and sockets
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"  # noqa: E501  # one statement


@pytest.fixture
def source(live_server: EmbeddedServer) -> Target:
    target = superuser(live_server, new_database(live_server))
    with connect(target) as connection:
        connection.execute(f"CREATE TABLE public.t AS SELECT n FROM generate_series(1, {ROWS}) n")
    return target


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"


def somebody_waits(source: Target) -> bool:
    with connect(source) as watcher:
        return watcher.execute(WAITING).fetchone() != (0,)


def truncate(source: Target) -> None:
    with connect(source, options={"lock_timeout": "0"}) as connection:
        connection.execute("TRUNCATE public.t")


def test_a_truncate_during_the_read_waits_and_every_row_is_copied(
    source: Target, test_server: EmbeddedServer
) -> None:
    """Without the lock a reader would see no rows and no error."""
    started: list[Future[None]] = []
    with opened_sandbox(test_server) as sandbox, sandbox.connect() as into:
        into.execute("CREATE TABLE public.t (n int)")
        with ThreadPoolExecutor() as pool, Exporter(source, [TABLE]) as exporter:

            def interfere(so_far: int) -> None:
                if so_far and not started:
                    started.append(pool.submit(truncate, source))
                    wait_for(lambda: somebody_waits(source))

            reading = read_all(exporter, source)
            copied = copy_rows(reading, RowTarget(into, TABLE, ["n"]), checkpoint=interfere)
            assert copied.rows == ROWS
            assert not started[0].done()
            exporter.connection.close()
            started[0].result(30)


def test_a_reader_that_starts_behind_a_waiting_truncate_yields_instead_of_finding_no_rows(
    source: Target, test_server: EmbeddedServer
) -> None:
    with opened_sandbox(test_server) as sandbox, sandbox.connect() as into:
        into.execute("CREATE TABLE public.t (n int)")
        with ThreadPoolExecutor() as pool, Exporter(source, [TABLE]) as exporter:
            truncating = pool.submit(truncate, source)
            wait_for(lambda: somebody_waits(source))
            with pytest.raises(SourceBusy, match="start over"):
                copy_rows(read_all(exporter, source), RowTarget(into, TABLE, ["n"]))
            exporter.connection.close()
            truncating.result(30)


def read_all(exporter: Exporter, source: Target) -> RowSource:
    select = plain_select(["n"], TABLE)
    return RowSource(source, exporter.snapshot_id, select, exporter.reader_options)


def test_a_table_that_is_truncated_before_the_lock_means_starting_over(source: Target) -> None:
    def export() -> None:
        with Exporter(source, [TABLE]):
            pass

    with connect(source) as other, ThreadPoolExecutor() as pool:
        other.execute("BEGIN; TRUNCATE public.t")
        exporting = pool.submit(export)
        wait_for(lambda: somebody_waits(source))
        other.execute("COMMIT")
        with pytest.raises(SourceChanged):
            exporting.result(30)


def test_a_table_locked_by_the_tenant_is_a_clear_error(source: Target) -> None:
    with connect(source) as other:
        other.execute("BEGIN; LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(SourceBusy, match="try again later"), Exporter(source, [TABLE]):
            pass


def test_a_table_of_the_plan_that_is_gone_means_planning_again(source: Target) -> None:
    with pytest.raises(SourceChanged, match="plan again"), Exporter(source, [("public", "no")]):
        pass


def test_a_table_that_our_login_may_not_read_is_a_clear_error(
    source: Target, live_server: EmbeddedServer
) -> None:
    reader = replace(make_account(live_server), dbname=source.dbname)
    with pytest.raises(CopyFailed, match="grant it SELECT"), Exporter(reader, [TABLE]):
        pass


def test_no_tables_in_scope_still_give_a_snapshot(source: Target) -> None:
    with Exporter(source, []) as exporter:
        assert exporter.snapshot_id


def test_ids_are_those_of_the_catalogue(source: Target) -> None:
    with connect(source) as connection:
        connection.execute("ALTER TABLE public.t ADD CONSTRAINT pk PRIMARY KEY (n)")
    with Exporter(source, [TABLE]) as exporter:
        oid = exporter.connection.execute(
            "SELECT oid FROM pg_constraint WHERE conname = 'pk'"
        ).fetchone()
        assert exporter.constraint_oids()["public", "t", "pk"] == (2606, *(oid or ()))
        assert exporter.relation_oids()["public", "t"].catalogue == 1259
