"""Parts of a database on a real server: keys of every type, copies, migrations, and what comes
between a plan and its use (G1, G12).
"""

from __future__ import annotations

import secrets
from dataclasses import replace

import psycopg
import pytest

from broker import lifecycle
from broker.grants import preflights
from broker.grants.narrowing import Narrowing
from tests.shared_database import register_part, share
from tests.stories import control_superuser
from tests.world import World, connect

KEY, OTHER = "7f1d8e0a-4a7b-4f1e-9a52-3a3f6f9b2c11", "00000000-0000-4000-8000-000000000009"
_SCHEMA = f"""
CREATE SCHEMA k;
CREATE TABLE k.accounts (id int PRIMARY KEY, tenant uuid NOT NULL, reference text);
CREATE INDEX ON k.accounts (tenant);
CREATE TABLE k.orders (
    id int PRIMARY KEY, account_id int NOT NULL REFERENCES k.accounts, reference text);
CREATE TABLE k.counters (id int PRIMARY KEY, tenant_no bigint NOT NULL, reference text);
CREATE TABLE k.parts (tenant_no bigint NOT NULL, reference text) PARTITION BY LIST (tenant_no);
CREATE TABLE k.parts_a PARTITION OF k.parts FOR VALUES IN (-7);
CREATE TABLE k.parts_b PARTITION OF k.parts FOR VALUES IN (8);
INSERT INTO k.accounts VALUES (1, '{KEY}', 'own'), (2, '{OTHER}', 'zq009');
INSERT INTO k.orders VALUES (1, 1, 'own'), (2, 1, 'own'), (3, 2, 'zq009');
INSERT INTO k.counters VALUES (1, -7, 'own'), (2, 8, 'zq009');
INSERT INTO k.parts VALUES (-7, 'own'), (8, 'zq009');
CREATE SCHEMA own_part; CREATE SCHEMA zq009_part;
CREATE TABLE own_part.people (id int PRIMARY KEY, reference text);
CREATE TABLE own_part.visits (id int PRIMARY KEY, person int REFERENCES own_part.people);
CREATE TABLE zq009_part.people (id int PRIMARY KEY, reference text);
INSERT INTO own_part.people VALUES (1, 'own'), (2, 'own');
INSERT INTO own_part.visits VALUES (1, 1);
INSERT INTO zq009_part.people VALUES (1, 'zq009');
"""
ROWS = {
    "form": "rows",
    "columns": ["tenant"],
    "type": "uuid",
    "value": KEY,
    "tables": [
        {"table": f"k.{name}", "column": "tenant_no", "type": "integer", "value": "-7"}
        for name in ("counters", "parts")
    ],
}


@pytest.fixture(scope="module")
def keyed(anyone: World) -> World:
    """A world whose tenant has rows by a uuid in some tables, by a number in others."""
    dbname = f"keys_{secrets.token_hex(4)}"
    with connect(anyone.live) as connection:
        connection.execute(f"CREATE DATABASE {dbname}")
    with connect(anyone.live, dbname) as connection:
        connection.execute(_SCHEMA)
    login = share(anyone, dbname, ["k", "own_part", "zq009_part"])
    return replace(register_part(anyone, dbname, login, ROWS, ["k"]), crm=dbname)


def issued(world: World, grant_id: str) -> tuple[str, psycopg.Connection]:
    lease_id, password = world.lease(grant_id)
    world.work()
    assert world.find_lease(lease_id).state == "issued", world.find_lease(lease_id).stuck_reason
    return lease_id, world.login(lease_id, password)


def stuck(world: World, grant_id: str) -> str:
    lease_id, _ = world.lease(grant_id)
    world.work()
    lease = world.find_lease(lease_id)
    assert lease.state == "pending"
    return lease.stuck_reason or ""


def end(world: World, grant_id: str) -> None:
    with world.as_(world.admin) as tx:
        lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)
    world.work()


def test_keys_that_are_a_uuid_or_a_number_choose_rows_and_a_migration_is_free_after_it(
    keyed: World,
) -> None:
    grant_id = keyed.approved(copy_s=0)
    _, session = issued(keyed, grant_id)
    with session:
        for table, count in {"accounts": 1, "orders": 2, "counters": 1, "parts": 1}.items():
            rows = session.execute(f"SELECT reference FROM {table}").fetchall()
            assert (table, rows) == (table, [("own",)] * count)
    migration = (
        "ALTER TABLE k.accounts ALTER reference TYPE varchar(99)",
        "ALTER TABLE k.accounts RENAME COLUMN tenant TO owner",
        "ALTER TABLE k.orders DROP COLUMN reference",
        "ALTER TABLE k.counters ALTER tenant_no TYPE numeric",
        "ALTER TABLE k.orders DROP CONSTRAINT orders_account_id_fkey",
        "DROP TABLE k.counters",
        "DROP TABLE k.parts",
        "DROP SCHEMA k CASCADE",
    )
    with connect(keyed.live, keyed.crm) as owner:
        with pytest.raises(psycopg.errors.FeatureNotSupported):  # while the scope stands
            owner.execute(migration[0])
        end(keyed, grant_id)
        with owner.transaction(force_rollback=True):
            for statement in migration:
                owner.execute(statement)


def test_partitions_that_are_named_by_tenants_keys_are_a_finding(keyed: World) -> None:
    with keyed.as_(keyed.operator) as tx:
        preflights.ask_by_click(tx, keyed.database_id, keyed.broker.queue)
    keyed.work()
    with keyed.as_(keyed.operator) as tx:
        found = {finding.code for finding in preflights.get_view(tx, keyed.database_id).findings}
    assert "partition-bounds" in found


def test_a_copy_of_one_schema_has_that_schema_alone(keyed: World) -> None:
    login = share(keyed, keyed.crm, ["own_part", "zq009_part"])
    own = register_part(keyed, keyed.crm, login, {"form": "schema"}, ["own_part"])
    snapshot_id = own.order(own.approved())
    own.work()
    snapshot = own.snapshot(snapshot_id)
    assert snapshot.state == "ready", snapshot.stuck_reason
    assert snapshot.report is not None
    assert snapshot.report["rows"] == {"own_part.people": 2, "own_part.visits": 1}
    with connect(own.test, snapshot.sandbox) as sandbox:
        schemas = sandbox.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public)'"
        ).fetchall()
    assert ("own_part",) in schemas
    assert ("zq009_part",) not in schemas
    assert ("k",) not in schemas


def test_what_is_given_to_everybody_between_plan_and_login_is_refused_with_what_mends_it(
    anyone: World, keyed: World
) -> None:
    """Of its own database a tenant reads the list and the SQL; of a shared one only that it is."""
    own = anyone.approved(Narrowing(tables_out=frozenset({"crm.notes", "crm.tickets"})), copy_s=0)
    shared = keyed.approved(Narrowing(tables_out=frozenset({"k.parts"})), copy_s=0)
    with (
        connect(anyone.live, anyone.crm) as crm,
        connect(keyed.live, keyed.crm) as k,
    ):
        crm.execute("GRANT USAGE ON SCHEMA crm TO PUBLIC; GRANT SELECT ON crm.users TO PUBLIC")
        k.execute(
            "CREATE FUNCTION public.around() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
            " AS 'SELECT count(*) FROM k.accounts'"
        )
        try:
            mends = stuck(anyone, own)
            assert "crm.users" in mends
            assert "REVOKE ALL ON TABLE crm.users FROM PUBLIC" in mends
            around = stuck(keyed, shared)
            assert "1 functions that run with their owner's rights" in around
            assert "around()" not in around
        finally:
            crm.execute("REVOKE ALL ON crm.users FROM PUBLIC; REVOKE ALL ON SCHEMA crm FROM PUBLIC")
            k.execute("DROP FUNCTION public.around()")
    end(anyone, own)
    end(keyed, shared)


def test_what_was_approved_of_one_part_is_never_carried_out_of_another(keyed: World) -> None:
    """The registration is edited by hand in the control database, past its trigger."""
    grant_id = keyed.approved(Narrowing(tables_out=frozenset({"k.orders"})))
    edit = "UPDATE tenant_database SET tenancy = jsonb_set(tenancy, '{value}', %s) WHERE id = %s"

    def register(key: str) -> None:
        with control_superuser(keyed) as connection, connection.transaction():
            connection.execute("ALTER TABLE tenant_database DISABLE TRIGGER USER")
            connection.execute(edit, [f'"{key}"', keyed.database_id])
            connection.execute("ALTER TABLE tenant_database ENABLE TRIGGER USER")

    register(OTHER)
    try:
        assert "registration is not the one that was approved" in stuck(keyed, grant_id)
        snapshot_id = keyed.order(grant_id)
        keyed.work()
        snapshot = keyed.snapshot(snapshot_id)
        assert snapshot.state != "ready"
        assert "registration is not the one that was approved" in (snapshot.stuck_reason or "")
    finally:
        register(KEY)
        end(keyed, grant_id)
