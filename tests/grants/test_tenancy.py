"""Tenants that share a database: a login, a plan and a copy have one tenant's part alone (G1, G12).

200 tenants share one database. Whatever is tried with SQL, no mark of another tenant comes out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from broker.grants.narrowing import Narrowing
from tests.shared_database import (
    OTHERS,
    OWN,
)
from tests.world import World, connect


@pytest.fixture(scope="module")
def session(own: World) -> Iterator[psycopg.Connection]:
    lease_id, password = own.lease(own.approved())
    own.work()
    assert own.find_lease(lease_id).state == "issued", own.find_lease(lease_id).stuck_reason
    with own.login(lease_id, password) as connection:
        yield connection


def everything(session: psycopg.Connection, query: str) -> str:
    """All that a statement gives back: rows, notices, or the error, each with all of its parts."""
    heard: list[str] = []

    def hear(said: psycopg.errors.Diagnostic) -> None:
        heard.extend(str(getattr(said, name)) for name in dir(said) if name[0] != "_")

    session.add_notice_handler(hear)
    try:
        with session.cursor() as cursor:
            if query.startswith("COPY"):
                with cursor.copy(query) as copy:
                    heard += [str(bytes(block)) for block in copy]
            else:
                cursor.execute(query)
                heard += [str(row) for row in (cursor.fetchall() if cursor.description else [])]
    except psycopg.Error as error:
        heard.append(str(error))
        hear(error.diag)
    finally:
        session.remove_notice_handler(hear)
    return "\n".join(heard)


def test_a_lease_reads_its_own_rows_of_every_table(session: psycopg.Connection) -> None:
    counts = {
        "accounts": 1, "customers": 10, "orders": 10, "order_lines": 20, "events": 1, "plans": 2,
        "notes": 10,
    }  # fmt: skip
    for table, count in counts.items():
        rows = session.execute(f"SELECT reference FROM {table}").fetchall()
        marks = {reference[: len(OWN)] for (reference,) in rows if table != "plans"}
        assert (table, len(rows), marks - {OWN}) == (table, count, set())


def test_a_row_that_points_at_two_tenants_is_nobodys(own: World, dbname: str) -> None:
    """One foreign key leads to this tenant's row, the other to another's."""
    with connect(own.live, dbname) as admin:
        row = admin.execute(
            "SELECT count(*) FROM shop.notes WHERE reference LIKE '%between%'"
        ).fetchone()
    assert row == (1,)  # that it is there, and not among the ten


# What a hostile engineer tries. `{v}` is a view with ten rows of this tenant; its table has 1,990
# of others'. In the first the key stands in the table, in the second a foreign key leads to it.
VIEWS = ("customers", "orders")
ATTEMPTS = (Path(__file__).parent / "attempts.sql").read_text().splitlines()


def test_no_attempt_brings_a_mark_of_another_tenant_out(
    own: World, dbname: str, session: psycopg.Connection
) -> None:
    with connect(own.live, dbname) as busy:
        busy.execute("SELECT 'zq005-statement'")
        attempts = [(a, v) for a in ATTEMPTS for v in VIEWS]
        for attempt, view in attempts:
            query = attempt.replace("{v}", view)
            heard = everything(session, query)
            found = set(OTHERS.findall(heard.replace(query, "")))
            assert not found, f"{query} gave {found}"
    session.execute("RESET ALL")


def test_an_attempt_is_really_heard(session: psycopg.Connection) -> None:
    """The ear of the test above: rows, notices and errors with a mark are found."""
    for query in ("SELECT 'zq7' || '77'", "DO 'BEGIN RAISE NOTICE ''%'', ''zq7'' || 77; END'",
                  "SELECT CAST('zq7' || '77' AS int)"):  # fmt: skip
        assert OTHERS.search(everything(session, query).replace(query, "")), query


def test_catalogues_show_no_key_and_no_mark_but_in_definitions(
    own: World, dbname: str, session: psycopg.Connection
) -> None:
    """What PostgreSQL shows every login are definitions: the threat model says so (zq004 is one).
    The other tenant's scope stands at the same time: its views do not tell its key, nor its mask's.
    """
    texts: list[str] = []
    tables = session.execute(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind IN ('r', 'v')"
        " AND c.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
        " AND has_table_privilege(c.oid, 'SELECT')"
    ).fetchall()
    for (table,) in tables:
        texts += [text for (text,) in session.execute(f"SELECT t::text FROM {table} t")]
    texts += [t for (t,) in session.execute("SELECT pg_get_viewdef(oid) FROM pg_class") if t]
    texts += [str(row) for row in session.execute("SHOW ALL")]
    whole = "\n".join(texts).lower()
    with connect(own.live, dbname) as admin:
        scopes = admin.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname ~ '^sab_s_'"
        ).fetchall()
        rows = [admin.execute(f"SELECT i, o FROM {s}.masking_key").fetchone() for (s,) in scopes]
    assert len(scopes) == 2
    assert len(tables) > 100
    assert set(OTHERS.findall(whole)) == {"zq004"}
    assert OWN not in whole  # not even its own
    assert not [row for row in rows if row and (row[0].hex() in whole or row[1].hex() in whole)]


def test_what_explain_estimates_does_not_follow_other_tenants_values(
    session: psycopg.Connection,
) -> None:
    """A leakproof condition that is pushed below the barrier is estimated by all tenants' rows: so
    a value can be searched out of the histogram, one question at a time.
    """

    def plan(condition: str, table: str) -> str:
        rows = session.execute(f"EXPLAIN SELECT * FROM {table} WHERE {condition}").fetchall()
        return "\n".join(line for (line,) in rows).replace(condition.rpartition(" ")[2], "")

    for table in ("customers", "orders", "events"):
        for sign in ("=", "<", ">"):
            plans = {
                plan(f"reference {sign} '{value}'", table)
                for value in ("a", "zq001-customer-1", "zq100", "zq100-order", "zzzz")
            }
            assert len(plans) == 1, (table, sign, plans)


def test_without_the_fence_explain_would_tell(own: World, dbname: str) -> None:
    """That the test above can fail: on the table itself the estimates differ."""
    with connect(own.live, dbname) as admin:
        explain = "EXPLAIN SELECT 1 FROM shop.customers WHERE reference < '{}'"
        plans = {
            str(admin.execute(explain.format(value)).fetchone()).replace(value, "")
            for value in ("a", "zzzz")
        }
    assert len(plans) == 2


def test_a_lease_enters_no_other_tenants_database(own: World, anyone: World) -> None:
    lease_id, password = own.lease(own.approved())
    own.work()
    role = own.find_lease(lease_id).role_name
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(
            host=own.live.host, port=own.live.port, dbname=anyone.crm, user=role,
            password=password.reveal(),
        )  # fmt: skip


def test_a_copy_has_the_rows_of_its_tenant_alone(own: World) -> None:
    out = frozenset({"shop.cases"})  # row security needs BYPASSRLS for copies
    snapshot_id = own.order(own.approved(Narrowing(tables_out=out)))
    own.work()
    snapshot = own.snapshot(snapshot_id)
    assert snapshot.state == "ready", snapshot.stuck_reason
    assert snapshot.report is not None
    assert snapshot.report["rows"] == {
        "shop.accounts": 1, "shop.customers": 10, "shop.events": 1, "shop.notes": 10,
        "shop.order_lines": 20, "shop.orders": 10, "shop.plans": 2,
    }  # fmt: skip
    with connect(own.test, snapshot.sandbox) as sandbox:
        found = set()
        for table in snapshot.report["rows"]:
            rows = sandbox.execute(f"SELECT t::text FROM {table} t").fetchall()
            found |= {mark for (row,) in rows for mark in OTHERS.findall(row)}
        keys = sandbox.execute("SELECT conname FROM pg_constraint WHERE contype = 'f'").fetchall()
        sequence = sandbox.execute("SELECT last_value FROM shop.customers_id_seq").fetchone()
        highest = sandbox.execute("SELECT max(id) FROM shop.customers").fetchone()
    assert not found
    assert ("orders_customer_id_fkey",) in keys
    assert ("customers_referred_by_fkey",) not in keys  # it pointed at another's rows
    assert sequence == highest  # not how far all tenants together have come
