"""A sweep reads what is due: neither what lives nor what has long ended, however much there is.

Held by the plans that PostgreSQL makes, not by time. The crowd is that of the benchmark; small,
but large enough that a plan by index is the cheaper one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from benchmarks import _sweeping as crowd
from broker import people, sweeps
from broker.db import Database
from broker.grants.queries import list_grants
from broker.jobs import Queue
from broker.paging import Page
from broker.settling import settle
from broker.snapshots.queries import list_snapshots
from broker.tx import Actor, system
from tests.world import APP_ROLE, ControlTemplate, connect

LIVE, ENDED, DUE = 2_000, 20_000, 10
CROWDED = ("ticket", "access_grant", "snapshot", "lease", "later_look")
Statements = dict[str, Any]


@pytest.fixture(scope="module")
def control(control_template: ControlTemplate) -> Iterator[tuple[Database, Callable[[], Any]]]:
    """A crowded control database, and how a superuser connects to it."""
    with control_template.clone() as name:
        database = Database(control_template.dsn(APP_ROLE, name))
        with database.begin(system("tests")) as tx:
            person = people.add_person(tx, side="vendor", email="e@vendor.test", name="Eve")
            people.add_membership(tx, person, "engineer", None)

        @contextmanager
        def by_hand() -> Iterator[psycopg.Connection]:
            with connect(control_template.server, name) as connection:
                connection.cursor_factory = psycopg.ClientCursor
                yield connection

        with by_hand() as connection:
            crowd.insert_fixed(connection)
            crowd.insert(connection, person, 1, LIVE, live=True)
            crowd.insert(connection, person, LIVE + 1, LIVE + ENDED, live=False)
        yield database, by_hand
        database.close()


@contextmanager
def noting(database: Database) -> Iterator[Statements]:
    """Each statement that is sent meanwhile, with its parameters."""
    sent: Statements = {}

    def note(_c: object, _k: object, text: str, values: Any, *_: object) -> None:
        if text.lstrip().startswith(("SELECT", "UPDATE")):
            sent[text] = values

    sa.event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", note)


def sweep(database: Database) -> Statements:
    with noting(database) as sent:
        sweeps.sweep_ends(database, Queue(), 0)
        sweeps.sweep_retries(database, Queue(), 0)
    return sent


def check_plans(database: Database, sent: Statements) -> None:
    scans = re.compile(rf"Seq Scan on ({'|'.join(CROWDED)})\b")
    with database.engine.connect() as connection:
        for text, values in sent.items():
            plan = connection.exec_driver_sql(f"EXPLAIN {text}", values).scalars().all()
            whole = [line for line in plan if scans.search(line)]
            assert not whole, f"{text}\n" + "\n".join(plan)


def test_the_newest_of_many_are_found_without_reading_all(control: tuple[Any, Any]) -> None:
    """As the vendor's people read them: of every tenant, and the page after."""
    database, by_hand = control
    with by_hand() as connection:
        (person,) = connection.execute("SELECT id FROM person WHERE side = 'vendor'").fetchone()
        connection.execute("ANALYZE")
    with noting(database) as sent, database.begin(Actor("vendor", "token", person)) as tx:
        for listed, instant in ((list_grants, "requested_at"), (list_snapshots, "ordered_at")):
            last = listed(tx)[-1]
            assert len(listed(tx, page=Page(after=(getattr(last, instant), last.id)))) == 50
    assert len(sent) >= 4
    check_plans(database, sent)


def test_no_statement_of_a_sweep_reads_a_whole_table(control: tuple[Any, Any]) -> None:
    database, by_hand = control
    with by_hand() as connection:
        crowd.make_due(connection, DUE)
        connection.execute("SET session_replication_role = replica")
        # What ended and is not settled: a ticket, and grants with a login and a copy.
        connection.execute(
            "UPDATE ticket SET ended_at = now() WHERE id IN "
            "(SELECT ticket_id FROM access_grant WHERE state = 'approved' LIMIT 5)"
        )
        connection.execute(
            "UPDATE access_grant SET state = 'ended' WHERE id IN (SELECT grant_id FROM lease "
            "WHERE state = 'issued' ORDER BY id DESC LIMIT 5)"
        )
    sent = sweep(database)
    assert len(sent) > 20
    check_plans(database, sent)


def count_read(by_hand: Callable[[], Any], database: Database) -> int:
    """Rows of the crowd that were read so far, by whatever plan."""
    with database.begin(system("tests")) as tx:  # the only session: it tells what it has read
        tx.session.execute(sa.text("SELECT pg_stat_force_next_flush()"))
    query = (
        "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables WHERE relname = ANY(%s)"
    )
    with by_hand() as connection:
        return int(connection.execute(query, [list(CROWDED)]).fetchone()[0])


def test_sweep_after_sweep_reads_only_what_is_due(control: tuple[Any, Any]) -> None:
    """Also by the plan for whatever values, which a session may get that asks the same again."""
    database, by_hand = control
    sweep(database)  # what other tests left due

    @sa.event.listens_for(database.engine, "connect")
    def plan_once(connection: psycopg.Connection, _: object) -> None:
        connection.execute("SET plan_cache_mode = force_generic_plan")

    database.engine.dispose()
    before = count_read(by_hand, database)
    for _ in range(10):  # from the sixth on each statement is prepared
        sweep(database)
    assert count_read(by_hand, database) - before < LIVE
    with by_hand() as connection:
        crowd.make_due(connection, DUE)
    before = count_read(by_hand, database)
    sweep(database)
    assert count_read(by_hand, database) - before < 20 * DUE


def test_one_copy_that_can_not_be_condemned_keeps_no_other(control: tuple[Any, Any]) -> None:
    database, by_hand = control
    sweep(database)
    due = "SELECT id FROM snapshot WHERE state = 'ready' AND ends_at <= now() ORDER BY id"
    with by_hand() as connection:
        crowd.make_due(connection, DUE)
        bad = connection.execute(due).fetchone()[0]
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'refused'; END $$"
        )
        connection.execute(
            "CREATE TRIGGER refused BEFORE UPDATE ON snapshot FOR EACH ROW "
            f"WHEN (NEW.id = '{bad}') EXECUTE FUNCTION refuse()"
        )
        assert sweeps.sweep_ends(database, Queue(), 0) == DUE - 1
        assert connection.execute(due).fetchall() == [(bad,)]
        connection.execute("DROP TRIGGER refused ON snapshot")
        assert sweeps.sweep_ends(database, Queue(), 0) == 1
        assert connection.execute(due).fetchall() == []


def test_what_has_ended_is_settled_once_nothing_rests_on_it(control: tuple[Any, Any]) -> None:
    database, by_hand = control
    tables = ("ticket", "access_grant")
    over = "ended_at IS NOT NULL", "state = 'ended'"
    with by_hand() as connection:
        connection.execute("SET session_replication_role = replica")
        grant, ticket = connection.execute(
            "SELECT id, ticket_id FROM access_grant WHERE state = 'approved' ORDER BY id LIMIT 1"
        ).fetchone()
        connection.execute("UPDATE ticket SET ended_at = now() WHERE id = %s", [ticket])
    with database.begin(system("tests")) as tx:
        settle(tx)
    with by_hand() as connection:
        query = "SELECT settled_at FROM ticket WHERE id = %s"
        assert connection.execute(query, [ticket]).fetchone() == (None,)
    sweep(database)
    with by_hand() as connection:
        query = "SELECT state FROM access_grant WHERE id = %s"
        assert connection.execute(query, [grant]).fetchone() == ("ended",)
        for table, what in zip(tables, over, strict=True):
            left = f"SELECT count(*) FROM {table} WHERE {what} AND settled_at IS NULL"
            assert connection.execute(left).fetchone() == (0,)


@pytest.mark.parametrize("table", ["access_grant", "lease", "snapshot"])
def test_nothing_opens_on_what_is_settled(control: tuple[Any, Any], table: str) -> None:
    """Also for whoever writes SQL by hand, and for who read it before it was settled."""
    _, by_hand = control
    under = "ticket_id" if table == "access_grant" else "grant_id"
    with (
        by_hand() as connection,
        pytest.raises(psycopg.errors.RaiseException, match=r"has ended|is over"),
    ):
        connection.execute(
            f"INSERT INTO {table} SELECT (jsonb_populate_record(t, "
            f"jsonb_build_object('id', 'x', 'role_name', 'x'))).* FROM {table} t "
            f"WHERE {under} IN (SELECT id FROM "
            f"{'ticket' if table == 'access_grant' else 'access_grant'} "
            "WHERE settled_at IS NOT NULL) LIMIT 1"
        )


def test_who_is_under_way_is_passed_over_and_seen_by_the_next(control: tuple[Any, Any]) -> None:
    """A grant that is being asked on a ticket, which ends meanwhile, is not lost."""
    database, by_hand = control
    with by_hand() as asking, by_hand() as connection:
        ticket = connection.execute(
            "SELECT id FROM ticket WHERE ended_at IS NULL ORDER BY id LIMIT 1"
        ).fetchone()[0]
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE access_grant SET state = 'refused' WHERE ticket_id = %s", [ticket]
        )
        with asking.transaction(), asking.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = origin")
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SELECT FROM ticket WHERE id = %s FOR KEY SHARE", [ticket])  # as its key
            connection.execute("UPDATE ticket SET ended_at = now() WHERE id = %s", [ticket])
            with database.begin(system("tests")) as tx:
                settle(tx)
            query = "SELECT settled_at FROM ticket WHERE id = %s"
            assert connection.execute(query, [ticket]).fetchone() == (None,)
        with database.begin(system("tests")) as tx:
            settle(tx)
        assert connection.execute(query, [ticket]).fetchone() != (None,)
