"""What a sweep costs beside much that lives and very much that has ended.

    make bench NAME=destruction [SIZE=small]

A control database with 100,000 live copies and 1,000,000 ended ones (SIZE=small: a tenth), each
with its grant and ticket, half of them with a login; rows are inserted by SQL. Ten copies are due
at each measurement: `sweep_ms` is the median time of `sweep_ends` and `sweep_retries` together,
with their commits, and `sweep_growth` is that time divided by the same with a hundredth of the
ended rows.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from broker import bootstrap, people, sweeps
from broker.db import Database
from broker.embedded import ROOT_FOLDER, EmbeddedServer, make_root_folder, running
from broker.jobs import Queue
from broker.secret import Secret
from broker.settings import Control, Settings
from broker.tx import system

SMALL = os.environ.get("SIZE") == "small"
LIVE, ENDED = (10_000, 100_000) if SMALL else (100_000, 1_000_000)
DUE, ROUNDS, TENANTS = 10, 15, 100


def identity(prefix: str, number: str) -> str:
    """SQL for an id of that prefix made of a number."""
    return f"'{prefix}_' || lpad(translate(to_hex({number}), '0189', 'ghij'), 26, 'z')"


TENANT_OF_N = f"1 + n % {TENANTS}"
TNT, DBS = identity("tnt", TENANT_OF_N), identity("dbs", TENANT_OF_N)
GRT, SNP, TKT = identity("grt", "n"), identity("snp", "n"), identity("tkt", "n")
SERVER = f"srv_{'a' * 26}"
FIXED = f"""
INSERT INTO tenant (id, name, ticket_customer, log_origin, created_at)
    SELECT {identity("tnt", "n")}, 'Tenant ' || n, 'customer ' || n, 'o/' || n, now()
    FROM generate_series(1, {TENANTS}) n;
INSERT INTO audit_log (id, tenant_id, origin, size, frontier)
    SELECT {identity("log", "n")}, {identity("tnt", "n")}, 'o/' || n, 0, '{{}}'
    FROM generate_series(1, {TENANTS}) n;
INSERT INTO tenant_database
    (id, tenant_id, name, host, port, dbname, login, sealed_password, schemas, registered_at)
    SELECT {identity("dbs", "n")}, {identity("tnt", "n")}, 'crm', 'h', 1, 'd', 'l', '', '{{}}',
    now()
    FROM generate_series(1, {TENANTS}) n;
INSERT INTO consent_act
    (id, tenant_id, purpose, act, version, language, shown, lapses_at, by_id, side, via, at)
    SELECT {identity("cns", "n")} || p.name, {identity("tnt", "n")}, p.name, 'given', p.version,
    'en', 'd', now() + interval '1 year', 'psn', 'tenant', 'password', now()
    FROM generate_series(1, {TENANTS}) n, purpose p WHERE p.name IN ('live_access', 'test_copy');
INSERT INTO test_server (id, name, host, port, login, sealed_password, registered_at)
    VALUES ('{SERVER}', 's', 'h', 1, 'l', '', now());
"""
OVER = "CASE WHEN NOT %(live)s THEN now() END"  # what has long ended is settled too
# Each with the first and the last number, the person, and whether they live.
ROWS = (
    f"""
INSERT INTO ticket
    (id, tenant_id, system, external_id, title, open, seen_at, ended_at, settled_at)
    SELECT {TKT}, {TNT}, 'sys', 'T-' || n, 'Totals', %(live)s, now(), {OVER}, {OVER}
    FROM generate_series(%(first)s, %(last)s) n""",
    f"""
INSERT INTO access_grant (id, tenant_id, state, state_at, database_id, ticket_id, requester_id,
    category, reason, requested_at, lapses_at, asked_live_s, asked_copy_s, ends_at, asked_digest,
    settled_at)
    SELECT {GRT}, {TNT}, CASE WHEN %(live)s THEN 'approved' ELSE 'ended' END, now(), {DBS}, {TKT},
    %(person)s, 'c', 'r', now(), now(), 1, 1, now() + interval '1 day', 'd', {OVER}
    FROM generate_series(%(first)s, %(last)s) n""",
    f"""
INSERT INTO snapshot (id, tenant_id, state, state_at, grant_id, database_id, server_id,
    requester_id, plan_digest, ordered_at, ends_at, destroyed_at, progress)
    SELECT {SNP}, {TNT}, CASE WHEN %(live)s THEN 'ready' ELSE 'destroyed' END, now(), {GRT}, {DBS},
    '{SERVER}', %(person)s, 'd', now(), now() + interval '1 day',
    {OVER}, '{{}}'
    FROM generate_series(%(first)s, %(last)s) n""",
    f"""
INSERT INTO lease (id, tenant_id, state, state_at, grant_id, person_id, server_id, dbname,
    role_name, scope_name, ends_at, settled_at)
    SELECT {identity("lse", "n")}, {TNT}, CASE WHEN %(live)s THEN 'issued' ELSE 'revoked' END,
    now(), {GRT}, %(person)s, '{SERVER}', 'd', 'r' || n, 's', now() + interval '1 day', {OVER}
    FROM generate_series(%(first)s, %(last)s, 2) n""",
    f"""
INSERT INTO later_look (of_id, after_s, snapshot_id, due_at, passed_at, next_try_at)
    SELECT {SNP}, s, {SNP}, now() + interval '1 day', CASE WHEN n %% 10 > 0 THEN now() END,
    CASE WHEN n %% 10 = 0 THEN now() + interval '1 day' END
    FROM generate_series(%(first)s, %(last)s) n, unnest(ARRAY[3600, 2592000]) s
    WHERE NOT %(live)s""",
)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def control_server() -> Iterator[EmbeddedServer]:
    if os.geteuid() == 0:
        make_root_folder()
    top = ROOT_FOLDER if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(dir=top, prefix="bench-"))
    server = EmbeddedServer(
        folder / "control", settings={"shared_buffers": "512MB", "max_wal_size": "4GB"}
    )
    try:
        with running(server):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def dsn(server: EmbeddedServer, role: str, password: str) -> Secret[str]:
    host = server.host.replace("/", "%2F")
    return Secret(f"postgresql://{role}:{password}@{host}:{server.port}/control")


def migrate(server: EmbeddedServer) -> Database:
    password = secrets.token_hex(8)
    with superuser(server, "postgres") as connection:
        for role in ("broker_app", "broker_owner"):
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        connection.execute("CREATE DATABASE control OWNER broker_owner")
    app = dsn(server, "broker_app", password)
    bootstrap.migrate(
        Settings(control=Control(dsn=app, owner_dsn=dsn(server, "broker_owner", password)))
    )
    return Database(app)


def superuser(server: EmbeddedServer, dbname: str = "control") -> psycopg.Connection:
    return psycopg.connect(
        host=server.host,
        port=server.port,
        user="postgres",
        password=server.password.reveal(),
        dbname=dbname,
        autocommit=True,
        cursor_factory=psycopg.ClientCursor,  # values are literals, so their types are plain
    )


def insert_fixed(connection: psycopg.Connection) -> None:
    """Without triggers, here and below: what they check is not what is measured."""
    connection.execute("SET session_replication_role = replica")
    connection.execute(FIXED)


def insert(
    connection: psycopg.Connection, person: str, first: int, last: int, *, live: bool
) -> None:
    """Copies numbered from `first` to `last`, each with its grant and ticket."""
    values = {"first": first, "last": last, "person": person, "live": live}
    connection.execute("SET session_replication_role = replica")
    for statement in ROWS:
        text = statement.replace(f"n % {TENANTS}", f"n %% {TENANTS}")
        connection.execute(text, values)
    connection.execute("VACUUM (ANALYZE)")


def add_engineer(database: Database) -> str:
    with database.begin(system("bench")) as tx:
        person = people.add_person(tx, side="vendor", email="e@vendor.test", name="Eve Engineer")
        people.add_membership(tx, person, "engineer", None)
    return person


def make_due(connection: psycopg.Connection, count: int) -> None:
    connection.execute(
        "UPDATE snapshot SET ends_at = now() - interval '1 s' WHERE id IN (SELECT id FROM "
        "snapshot WHERE state = 'ready' AND ends_at > now() LIMIT %s)",
        [count],
    )


def measure(server: EmbeddedServer, database: Database) -> float:
    """Median milliseconds of a sweep with DUE copies that are due."""
    times: list[float] = []
    for _ in range(ROUNDS):
        with superuser(server) as connection:
            make_due(connection, DUE)
        begin = time.perf_counter()
        ended = sweeps.sweep_ends(database, Queue(), 0)
        sweeps.sweep_retries(database, Queue(), 0)
        times.append((time.perf_counter() - begin) * 1000)
        assert ended == DUE
    say(f"sweeps took {' '.join(f'{taken:.0f}' for taken in times)} ms")
    return statistics.median(times)


def measured() -> dict[str, float]:
    """The figures, on a control database of its own."""
    with control_server() as server:
        database = migrate(server)
        with superuser(server) as connection:
            insert_fixed(connection)
        person, few = add_engineer(database), ENDED // 100
        with superuser(server) as connection:
            insert(connection, person, 1, LIVE, live=True)
            insert(connection, person, LIVE + 1, LIVE + few, live=False)
        before = measure(server, database)
        with superuser(server) as connection:
            insert(connection, person, LIVE + few + 1, LIVE + ENDED, live=False)
        after = measure(server, database)
        database.close()
    return {
        "live": LIVE,
        "ended": ENDED,
        "due": DUE,
        "sweep_ms": round(after, 1),
        "sweep_growth": round(after / before, 2),
    }


if __name__ == "__main__":
    print(json.dumps(measured()))
