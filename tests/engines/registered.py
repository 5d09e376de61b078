"""A tenant's database as its DBA has registered it: an application's tables and our account."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from broker.embedded import EmbeddedServer
from broker.engines import Target
from broker.engines.postgres.account import setup_sql
from broker.engines.postgres.leases import LeaseRole
from broker.engines.postgres.scopes import Scope, View
from broker.engines.postgres.scram import make_verifier, new_password
from broker.labels import Label
from broker.secret import Secret
from tests.conftest import admin, new_database

LABEL_KEY = Secret(b"k" * 32)
SCHEMA = """
CREATE SCHEMA app;
CREATE TABLE app.customer (id int PRIMARY KEY, tenant int NOT NULL, email text NOT NULL);
INSERT INTO app.customer SELECT n, n % 2, 'person' || n || '@example.org'
  FROM generate_series(1, 1000) AS n;
CREATE TABLE app.invoice (id serial PRIMARY KEY, customer int REFERENCES app.customer, cents int);
"""


@dataclass(frozen=True)
class Registered:
    server: EmbeddedServer
    target: Target

    def admin(self) -> psycopg.Connection:
        return admin(self.server, self.target.dbname)

    def connect(self, lease: Lease, *, options: str = "") -> psycopg.Connection:
        return psycopg.connect(
            host=self.target.host,
            port=self.target.port,
            dbname=self.target.dbname,
            user=lease.role.role,
            password=lease.password.reveal(),
            options=options,
            autocommit=True,
        )


@dataclass(frozen=True)
class Lease:
    role: LeaseRole
    password: Secret[str]


def register(server: EmbeddedServer) -> Registered:
    """A new database with the application's tables, after the setup's SQL was run twice."""
    dbname = new_database(server)
    user = f"broker_{dbname}"
    password = new_password()
    with admin(server, dbname) as connection:
        version = connection.info.server_version
        schemas = ["app", "public"]
        text = setup_sql(dbname, user, make_verifier(password), schemas, server_version=version)
        connection.execute(SCHEMA)
        connection.execute(text)
        connection.execute(text)
    return Registered(server, Target(server.host, server.port, dbname, user, password))


def new_scope_name() -> str:
    return f"sab_s_{secrets.token_hex(6)}"


def masked_scope(name: str) -> Scope:
    """One view: the rows of tenant 1, their address as HMAC under the scope's key."""
    digest = sql.SQL(
        "SELECT c.id, encode(sha256(k.o || sha256(k.i || convert_to(c.email, 'UTF8'))), 'hex')"
        " AS email FROM app.customer c, {} k WHERE c.tenant = 1"
    ).format(sql.Identifier(name, "masking_key"))
    return Scope(name, (View("customer", digest),))


def label_text(place: str, kind: str = "lease", *, hours: int = 1) -> str:
    identity = "lse_" + hashlib.sha256(place.encode()).hexdigest().translate(_BASE32)[:26]
    return Label(kind, identity, datetime.now(UTC) + timedelta(hours=hours), place).text(LABEL_KEY)


_BASE32 = str.maketrans("0189", "abcd")


def new_lease(scope: str) -> Lease:
    name = f"sab_l_{secrets.token_hex(8)}"
    password = new_password()
    until = datetime.now(UTC) + timedelta(hours=1)
    return Lease(LeaseRole(name, scope, make_verifier(password), until, label_text(name)), password)


def wait_for(condition: Callable[[], object], what: str, deadline_s: float = 20) -> None:
    until = time.monotonic() + deadline_s
    pause = 0.01
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"never came true: {what}")
        time.sleep(pause)
