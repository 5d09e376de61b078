"""A database that 200 tenants share, as their vendor's application would have it.

Every value of a tenant's begins with its mark; other tenants' marks are `zq` and three digits, so
that a test can look for them in whatever a login gets to see.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import replace

from broker.embedded import EmbeddedServer
from broker.engines.postgres.account import setup_sql
from broker.engines.postgres.scram import make_verifier, new_password
from broker.keys.intake import login_context, seal_login
from broker.secret import Secret
from broker.tenants import TenantDatabase, register_database
from tests.world import World, connect, enrol, looked_at

TENANTS = 200
OWN, SECOND = "own-mark", "zq001"
OTHERS = re.compile(r"zq\d{3}", re.IGNORECASE)
KEYED = {
    "form": "rows",
    "columns": ["tenant"],
    "type": "text",
    "tables": [{"table": "shop.accounts", "column": "code"}],
    "shared": ["shop.plans"],
}

_SCHEMA = """
CREATE SCHEMA shop;
CREATE TABLE shop.plans (code text PRIMARY KEY, reference text);
INSERT INTO shop.plans VALUES ('basic', 'all-may-read'), ('big', 'all-may-read');
CREATE TABLE shop.accounts (id serial PRIMARY KEY, code text UNIQUE, reference text);
CREATE TABLE shop.customers (
    id serial PRIMARY KEY, tenant text NOT NULL, reference text, email text, amount numeric,
    plan text REFERENCES shop.plans, referred_by int REFERENCES shop.customers);
CREATE INDEX ON shop.customers (tenant);
CREATE TABLE shop.orders (
    id serial PRIMARY KEY, customer_id int NOT NULL REFERENCES shop.customers, reference text);
CREATE TABLE shop.order_lines (
    id bigserial PRIMARY KEY, order_id bigint NOT NULL, reference text,
    FOREIGN KEY (order_id) REFERENCES shop.orders);
CREATE TABLE shop.notes (
    id serial PRIMARY KEY, customer_id int REFERENCES shop.customers,
    order_id int REFERENCES shop.orders, reference text);
CREATE TABLE shop.messages (id serial PRIMARY KEY, reference text);
CREATE TABLE shop.events (
    id bigserial, tenant text NOT NULL, reference text, PRIMARY KEY (id, tenant))
    PARTITION BY HASH (tenant);
CREATE TABLE shop.cases (id serial PRIMARY KEY, tenant text NOT NULL, reference text);
ALTER TABLE shop.cases ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_setting ON shop.cases USING (tenant = current_setting('app.tenant', true));
CREATE VIEW shop.everything AS SELECT * FROM shop.customers;
CREATE FUNCTION shop.count_all() RETURNS bigint LANGUAGE sql SECURITY DEFINER
    AS 'SELECT count(*) FROM shop.customers -- zq004: a definition, which nothing hides';
REVOKE EXECUTE ON FUNCTION shop.count_all FROM PUBLIC;
CREATE ROLE {app} NOLOGIN;
"""
# Marks: the tenant with number 0 is the one whose lease is tried.
_ROWS = """
CREATE TEMPORARY TABLE mark AS
    SELECT n, CASE n WHEN 0 THEN '{own}' ELSE 'zq' || lpad(n::text, 3, '0') END AS code
      FROM generate_series(0, {tenants} - 1) AS n;
INSERT INTO shop.accounts (code, reference) SELECT code, code || '-account' FROM mark ORDER BY n;
INSERT INTO shop.customers (tenant, reference, email, amount, plan)
    SELECT code, code || '-customer-' || k, code || k || '@example.org', n, 'basic'
      FROM mark, generate_series(1, 10) AS k ORDER BY k, n;
UPDATE shop.customers SET referred_by = id + 1 WHERE tenant = '{own}' AND id % 2 = 1;
INSERT INTO shop.orders (customer_id, reference)
    SELECT id, tenant || '-order' FROM shop.customers ORDER BY id;
INSERT INTO shop.order_lines (order_id, reference)
    SELECT o.id, o.reference || '-line-' || k FROM shop.orders o, generate_series(1, 2) AS k;
INSERT INTO shop.notes (customer_id, order_id, reference)
    SELECT CASE WHEN id % 3 <> 0 THEN customer_id END, CASE WHEN id % 3 <> 1 THEN id END,
           replace(reference, 'order', 'note') FROM shop.orders;
INSERT INTO shop.notes (reference) VALUES ('zq199-nobodys-note');
INSERT INTO shop.notes (customer_id, order_id, reference)
    SELECT mine.customer_id, other.id, 'zq002-note-between-two'
      FROM shop.orders mine, shop.orders other
     WHERE mine.reference = '{own}-order' AND other.reference = 'zq002-order' LIMIT 1;
INSERT INTO shop.messages (reference) SELECT code || '-message' FROM mark;
CREATE TABLE shop.events_0 PARTITION OF shop.events FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE shop.events_1 PARTITION OF shop.events FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO shop.events (tenant, reference) SELECT code, code || '-event' FROM mark;
INSERT INTO shop.cases (tenant, reference) SELECT code, code || '-case' FROM mark;
SELECT lo_from_bytea(0, 'zq003-large-object');
ANALYZE;
"""


def make_shared_database(server: EmbeddedServer) -> str:
    name = f"shared_{secrets.token_hex(4)}"
    with connect(server) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with connect(server, name) as connection:
        connection.execute(_SCHEMA.format(app=f"app_{name}"))
        connection.execute(_ROWS.format(own=OWN, tenants=TENANTS))
    return name


def share(world: World, dbname: str, schemas: list[str]) -> tuple[str, Secret[str]]:
    """The setup's SQL for a login of ours on the database."""
    password, login = new_password(), f"sab_broker_{secrets.token_hex(4)}"
    with connect(world.live, dbname) as connection:
        version = connection.info.server_version
        verifier = make_verifier(password)
        connection.execute(setup_sql(dbname, login, verifier, schemas, server_version=version))
    return login, password


def register_part(
    world: World, dbname: str, login: tuple[str, Secret[str]], part: dict, schemas: list[str]
) -> World:
    """A new tenant with its part of the database; the world with that tenant in it."""
    tenant_id, admin = enrol(world, f"Sharing tenant {secrets.token_hex(2)}")
    name, password = login
    context = login_context("database", world.live.host, world.live.port, name)
    with world.as_(world.operator) as tx:
        database_id = register_database(
            tx,
            tenant_id,
            TenantDatabase(
                name="Shop",
                host=world.live.host,
                port=world.live.port,
                dbname=dbname,
                login=name,
                sealed_password=seal_login(world.ports.keys.intake_public(), password, context),
                schemas=schemas,
                tenancy=part,
            ),
        )
        looked_at(tx, database_id)
    return replace(world, tenant=tenant_id, admin=admin, database_id=database_id)


def rows_of(mark: str) -> dict:
    return KEYED | {"value": mark}


_SCHEMAS = """
CREATE SCHEMA own_part; CREATE SCHEMA zq009_part;
CREATE TYPE zq009_part.mood AS ENUM ('zq009-fine');
CREATE TABLE zq009_part.people (id int PRIMARY KEY, reference text);
INSERT INTO zq009_part.people VALUES (1, 'zq009-person');
CREATE TABLE own_part.people (
    id int PRIMARY KEY, reference text, other int REFERENCES zq009_part.people,
    mood zq009_part.mood);
INSERT INTO own_part.people VALUES (1, 'own-mark-person', 1, 'zq009-fine');
CREATE TABLE own_part.split (id int) PARTITION BY LIST (id);
CREATE TABLE zq009_part.split_1 PARTITION OF own_part.split FOR VALUES IN (1);
INSERT INTO own_part.split VALUES (1);
"""


def make_database_of_schemas(server: EmbeddedServer) -> str:
    """Two tenants, each with a schema; the first one's tables lead into the other's."""
    name = f"schemas_{secrets.token_hex(4)}"
    with connect(server) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with connect(server, name) as connection:
        connection.execute(_SCHEMAS)
    return name
