"""The demo's tenant database has what it promises, at a hundredth of its size."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import psycopg
import pytest

from broker.demo.canaries import PLACES, Marks, new_marks
from broker.demo.crm import MARKED_ROWS, build_crm
from broker.embedded import EmbeddedServer
from tests.conftest import admin, new_database, superuser

SCALE = 0.01
ROWS = {
    "companies": 50,
    "contacts": 400,
    "users": 50,
    "orders": 600,
    "order_lines": 1200,
    "tickets": 250,
    "notes": 300,
    "attachments": 150,
}


@pytest.fixture(scope="module")
def marks() -> Marks:
    return new_marks()


@pytest.fixture(scope="module")
def crm(live_server: EmbeddedServer, marks: Marks) -> Iterator[psycopg.Connection]:
    name = new_database(live_server)
    build_crm(superuser(live_server, name), marks=marks, scale=SCALE)
    with admin(live_server, name) as connection:
        yield connection
    with admin(live_server) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def count(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_each_table_has_its_rows_and_the_marked_ones(crm: psycopg.Connection) -> None:
    found = {table: count(crm, f"SELECT count(*) FROM crm.{table}") for table in ROWS}
    assert found == {table: rows + MARKED_ROWS for table, rows in ROWS.items()}


def test_equal_scales_give_equal_rows(crm: psycopg.Connection, live_server: EmbeddedServer) -> None:
    digest = "SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM crm.{} t WHERE id <= {}"
    name = new_database(live_server)
    build_crm(superuser(live_server, name), marks=new_marks(), scale=SCALE)
    with admin(live_server, name) as second:
        for table, rows in ROWS.items():
            query = digest.format(table, rows).encode()
            assert second.execute(query).fetchone() == crm.execute(query).fetchone(), table


@pytest.mark.parametrize("kind", PLACES)
def test_each_canary_stands_in_several_rows_of_its_column(
    crm: psycopg.Connection, marks: Marks, kind: str
) -> None:
    schema, table, column = PLACES[kind].split(".")
    value = marks.canaries[kind]
    text = f"encode({column}, 'escape')" if kind == "bytes" else f"{column}::text"
    query = f"SELECT count(*) FROM {schema}.{table} WHERE strpos({text}, %s) > 0"
    assert crm.execute(query.encode(), (value,)).fetchone() == (MARKED_ROWS,)


def test_the_kept_mark_stands_in_the_column_that_is_approved_as_kept(
    crm: psycopg.Connection, marks: Marks
) -> None:
    query = "SELECT count(*) FROM crm.orders WHERE strpos(reference, %s) > 0"
    assert crm.execute(query, (marks.kept["reference"],)).fetchone() == (MARKED_ROWS,)


KINDS_OF_OBJECT = {
    "a partitioned table": "pg_class WHERE relkind = 'p' AND relname = 'orders'",
    "five partitions": "pg_inherits WHERE inhparent = 'crm.orders'::regclass HAVING count(*) = 5",
    "a view": "pg_class WHERE relkind = 'v' AND relname = 'active_contacts'",
    "a view with a join": "pg_views WHERE viewname = 'order_overview' AND definition LIKE '%JOIN%'",
    "a filled materialised view": "pg_class WHERE relkind = 'm' AND relispopulated",
    "an index on it": "pg_indexes WHERE tablename = 'company_revenue'",
    "a descending sequence in use": "pg_sequences WHERE increment_by < 0 AND last_value > 0",
    "a sequence never called": "pg_sequences WHERE last_value IS NULL"
    " AND sequencename = 'invoice_no'",
    "an identity column": "pg_attribute WHERE attidentity <> ''",
    "a generated column": "pg_attribute WHERE attgenerated = 's'",
    "an enum": "pg_type WHERE typtype = 'e' AND typname = 'ticket_status'",
    "a domain with a check": "pg_constraint WHERE contypid = 'crm.country_code'::regtype",
    "a trigger": "pg_trigger WHERE NOT tgisinternal",
    "a plpgsql function": "pg_proc JOIN pg_language l ON l.oid = prolang WHERE lanname = 'plpgsql'"
    " AND pronamespace = 'crm'::regnamespace",
    "a composite foreign key": "pg_constraint WHERE contype = 'f' AND cardinality(conkey) = 2",
    "a self reference": "pg_constraint WHERE contype = 'f' AND conrelid = confrelid",
    "a check on a table": "pg_constraint WHERE contype = 'c'"
    " AND conrelid = 'crm.order_lines'::regclass",
    "a unique constraint": "pg_constraint WHERE contype = 'u'"
    " AND conrelid = 'crm.contacts'::regclass",
    "a partial index": "pg_index WHERE indpred IS NOT NULL AND indrelid = 'crm.contacts'::regclass",
    "an index of another method": "pg_indexes WHERE schemaname = 'crm' AND indexdef LIKE '%gin%'",
}


@pytest.mark.parametrize("kind", KINDS_OF_OBJECT)
def test_the_crm_has(crm: psycopg.Connection, kind: str) -> None:
    row = crm.execute(f"SELECT count(*) FROM {KINDS_OF_OBJECT[kind]}".encode()).fetchone()
    assert row is not None, kind
    assert row[0] > 0, kind


def test_everything_belongs_to_a_role_that_cannot_log_in(crm: psycopg.Connection) -> None:
    owners = crm.execute(
        "SELECT DISTINCT rolname, rolcanlogin FROM pg_class c JOIN pg_roles r ON r.oid = relowner"
        " WHERE relnamespace = 'crm'::regnamespace"
    ).fetchall()
    assert owners == [("crm_app", False)]


def test_an_update_touches_updated_at(crm: psycopg.Connection) -> None:
    with crm.transaction(force_rollback=True):
        row = crm.execute(
            "UPDATE crm.contacts SET active = false WHERE id = 1 RETURNING updated_at = now()"
        ).fetchone()
    assert row == (True,)


def test_no_row_is_large_enough_to_be_compressed(crm: psycopg.Connection) -> None:
    """A compressed canary would be invisible to the scan of files."""
    for table in ROWS:
        assert count(crm, f"SELECT max(octet_length(t::text)) FROM crm.{table} t") < 1000, table


def test_the_ip_canary_has_one_text(marks: Marks) -> None:
    assert str(ipaddress.ip_address(marks.canaries["ip"])) == marks.canaries["ip"]
