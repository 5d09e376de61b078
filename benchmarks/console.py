"""The console's figures: `make bench NAME=console [GRANTS=100000] [SAMPLES=40]`.

- `page_p95_ms`: of each page that an admin, an engineer or an operator gets, the 95th percentile;
  the worst of them. `pages`: each, in milliseconds. `left_out`: of what there was nothing to show.
- `cold_kb_max`: the most that a browser with an empty cache reads for one page, with all that the
  page names, in thousands of bytes of bodies as they are sent; `cold_page` is that page.
- `queries`: statements of each page, asked in this process; `queries_grow`: those that took more
  than with a hundredth of the rows (there must be none).

Eight people, each with a connection and a session of its own and a second between two pages;
GRANTS grants, a tenth of them the reader's own tenant's, GRANTS / 10 copies, TENANTS tenants. Each
body is read to its end and must be whole; no page is cached. Web, worker and scheduler run as in
production. Single figures go to standard error; the last line on standard output is JSON.
"""

from __future__ import annotations

import gzip
import http.client
import os
import random
import re
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, replace

import _broker
import sqlalchemy as sa
from _broker import CALLERS, HOST, Tenant, World, looked_at
from api import p95_ms
from flask import Flask

from broker import sessions, tenants
from broker.engines.postgres.connect import connect
from broker.http import create_app
from broker.people import Person
from broker.settings import load_settings
from broker.tenants import TestServer
from broker.tx import Actor, system
from broker.web.session import COOKIE

GRANTS = int(os.environ.get("GRANTS", "100000"))
TENANTS = int(os.environ.get("TENANTS", "1000"))
SAMPLES = int(os.environ.get("SAMPLES", "40"))  # of each page
PAUSE_S = 1.0
# Rows beside those that the domain made: their entries and triggers are not what is measured.
GRANT_ROWS = """
INSERT INTO access_grant
SELECT (jsonb_populate_record(one, jsonb_build_object(
    'id', 'grt_' || left(translate(md5(n::text), '0189', 'ghij'), 26),
    'tenant_id', CASE WHEN n %% 10 = 0 THEN one.tenant_id
                      ELSE (%(tenants)s::text[])[1 + n %% cardinality(%(tenants)s::text[])] END,
    'requester_id', (%(people)s::text[])[1 + n %% cardinality(%(people)s::text[])],
    'state', 'ended', 'end_reason', 'click',
    'requested_at', one.requested_at - n * interval '1 second'))).*
FROM access_grant AS one, generate_series(%(first)s::int, %(last)s::int) AS n
WHERE one.id = %(like)s
"""
COPY_ROWS = """
INSERT INTO snapshot (id, tenant_id, state, state_at, grant_id, database_id, server_id,
    requester_id, plan_digest, ordered_at, ready_at, ends_at, destroyed_at, condemned_at,
    condemned_why, progress)
SELECT 'snp_' || left(translate(md5(n::text), '0189', 'ghij'), 26),
    CASE WHEN n %% 10 = 0 THEN one.tenant_id
         ELSE (%(tenants)s::text[])[1 + n %% cardinality(%(tenants)s::text[])] END,
    CASE WHEN n %% 20 = 0 THEN 'ready' ELSE 'destroyed' END, now(), one.id, one.database_id,
    %(server)s, (%(people)s::text[])[1 + n %% cardinality(%(people)s::text[])], 'x',
    now() - n * interval '1 second', now(), now() + interval '1 day',
    CASE WHEN n %% 20 > 0 THEN now() END, CASE WHEN n %% 20 > 0 THEN now() END,
    CASE WHEN n %% 20 > 0 THEN 'click' END, '{}'
FROM access_grant AS one, generate_series(%(first)s::int, %(last)s::int) AS n
WHERE one.id = %(like)s
"""
_NAMED = re.compile(rb'(?:href|src)="(/[^"]+\.(?:css|js)[^"]*)"')


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class Reader:
    """A person's browser: one kept connection, one session."""

    world: World
    actor: Actor

    def __post_init__(self) -> None:
        with self.world.broker.database.begin(system("bench")) as tx:
            person = tx.session.get_one(Person, self.actor.person_id)
            token = sessions.open_session(tx, person, "password")
        self.cookie = f"{COOKIE}={token.reveal()}"
        self._connection = http.client.HTTPConnection(HOST, self.world.port, timeout=120)

    def read(self, path: str) -> tuple[int, bytes, int]:
        """Status, body, and the bytes of the body as they came."""
        self._connection.close()  # the server keeps none as long as a person reads
        headers = {"Cookie": self.cookie, "Accept-Encoding": "gzip"}
        self._connection.request("GET", path, None, headers)
        answer = self._connection.getresponse()
        sent = answer.read()
        packed = answer.getheader("Content-Encoding") == "gzip"
        return answer.status, gzip.decompress(sent) if packed else sent, len(sent)

    def cold_kb(self, path: str) -> float:
        _, body, size = self.read(path)
        named = {match.decode() for match in _NAMED.findall(body)}
        return round((size + sum(self.read(one)[2] for one in named)) / 1000, 1)


@dataclass
class Filled:
    """What is measured: the reader's tenant and its things; `rows` stand of each kind so far."""

    world: World
    tenant: Tenant
    grant_id: str
    server_id: str
    others: list[str]
    rows: int = 0

    def fill_to(self, rows: int) -> None:
        names = {"tenants": self.others, "like": self.grant_id, "server": self.server_id}
        names["people"] = [str(actor.person_id) for actor in self.world.engineers]
        control = self.world.superuser(self.world.control, "broker")
        with connect(control) as connection, connection.transaction():
            connection.execute("SET LOCAL search_path = public")
            connection.execute("SET LOCAL session_replication_role = replica")
            for text, share in ((GRANT_ROWS, 1), (COPY_ROWS, 10)):
                span = {"first": self.rows // share + 1, "last": rows // share}
                connection.execute(text, {**names, **span})
        with connect(control) as connection:
            connection.execute("ANALYZE")
        self.rows = rows

    def ids(self) -> dict[str, str]:
        with self.world.broker.database.begin(system("bench")) as tx:
            lease = tx.session.scalar(sa.text("SELECT id FROM lease LIMIT 1"))
            copy = tx.session.scalar(
                sa.text("SELECT id FROM snapshot WHERE tenant_id = :t AND state = 'ready' LIMIT 1"),
                {"t": self.tenant.id},
            )
        return {
            "tenant_id": self.tenant.id,
            "grant_id": self.grant_id,
            "database_id": self.tenant.database_id,
            "target": self.tenant.database_id,
            "ticket_id": self.tenant.ticket,
            "server_id": self.server_id,
            "lease_id": lease,
            "snapshot_id": copy,
            "person_id": str(self.world.engineers[0].person_id),
        }


def make(world: World) -> Filled:
    tenant = world.enrol("bench")
    grant_id = world.grant(tenant, world.engineers[0], copy_s=3600)
    world.fill(tenant, 5)
    others = []
    with world.broker.database.begin(world.operator) as tx:
        server = TestServer(name="test", host=HOST, port=1, login="x", sealed_password=b"x")
        server_id = looked_at(tx, tenants.register_server(tx, server))
        for number in range(TENANTS - 1):
            made, _ = tenants.enrol(
                tx,
                name=f"tenant {number}",
                ticket_customer=f"customer of {number}",
                admin_email=f"admin@t{number}.example",
                admin_name="Ada Admin",
                log_host="broker.example",
            )
            others.append(made)
    return Filled(world, tenant, grant_id, server_id, others)


def make_app(world: World) -> Flask:
    settings = load_settings(world.folder / "web.toml", environ={})
    return create_app(replace(world.broker, settings=settings))


def list_paths(filled: Filled) -> tuple[dict[str, str], list[str]]:
    """Path of each page by its endpoint; endpoints of which there is nothing to show."""
    ids, found, left_out = filled.ids(), {}, []
    app = make_app(filled.world)
    adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        if not rule.endpoint.startswith("console.") or "GET" not in (rule.methods or ()):
            continue
        name = rule.endpoint.removeprefix("console.")
        if "filename" in rule.arguments or name.startswith(
            ("records.download", "grants.statement")
        ):
            continue
        if all(ids.get(argument) for argument in rule.arguments):
            values = {argument: ids[argument] for argument in rule.arguments}
            found[name] = adapter.build(rule.endpoint, values)
        else:
            left_out.append(name)
    return found, left_out


def find_readers(filled: Filled, paths: dict[str, str]) -> dict[str, tuple[str, str]]:
    """`page as role` -> (role, path), for each role that gets it."""
    found = {}
    for role, actor in roles_of(filled).items():
        reader = Reader(filled.world, actor)
        for name, path in paths.items():
            if reader.read(path)[0] == 200:
                found[f"{name} as {role}"] = (role, path)
    return found


def roles_of(filled: Filled) -> dict[str, Actor]:
    world = filled.world
    return {
        "admin": filled.tenant.admin,
        "engineer": world.engineers[0],
        "operator": world.operator,
    }


def count_queries(filled: Filled, pages: dict[str, tuple[str, str]]) -> dict[str, int]:
    """Of each page, asked of the application in this process."""
    engine = filled.world.broker.database.engine
    client = make_app(filled.world).test_client()
    counted: dict[str, int] = {}
    asked = 0

    def count(*_: object) -> None:
        nonlocal asked
        asked += 1

    sa.event.listen(engine, "before_cursor_execute", count)
    cookies = {role: Reader(filled.world, actor).cookie for role, actor in roles_of(filled).items()}
    for name, (role, path) in pages.items():
        asked = 0
        key, _, value = cookies[role].partition("=")
        client.set_cookie(key, value, domain="localhost", secure=True)
        assert client.get(path, base_url="https://localhost").status_code == 200, name
        counted[name] = asked
    sa.event.remove(engine, "before_cursor_execute", count)
    return counted


def measure(filled: Filled, pages: dict[str, tuple[str, str]]) -> dict[str, float]:
    times: dict[str, list[float]] = defaultdict(list)

    def read_on(number: int) -> None:
        readers = {role: Reader(filled.world, actor) for role, actor in roles_of(filled).items()}
        order = [name for name in pages for _ in range(max(1, SAMPLES // CALLERS))]
        random.Random(number).shuffle(order)  # noqa: S311  # an order, no secret
        for name in order:
            role, path = pages[name]
            time.sleep(PAUSE_S)
            began = time.monotonic()
            status, body, _ = readers[role].read(path)
            times[name].append(time.monotonic() - began)
            whole = "fragment" in name or body.rstrip().endswith(b"</html>")
            assert status == 200, (name, status)
            assert whole, (name, body[-80:])

    threads = [threading.Thread(target=read_on, args=(n,)) for n in range(CALLERS)]
    for thread in threads:
        time.sleep(PAUSE_S / CALLERS)
        thread.start()
    for thread in threads:
        thread.join()
    return {name: p95_ms(found) for name, found in times.items()}


def run(world: World) -> dict[str, object]:
    filled = make(world)
    filled.fill_to(max(1000, GRANTS // 100))
    paths, left_out = list_paths(filled)
    pages = find_readers(filled, paths)
    say(f"{len(pages)} pages by role; nothing to show for {', '.join(left_out)}")
    few = count_queries(filled, pages)
    began = time.monotonic()
    filled.fill_to(GRANTS)
    say(f"{GRANTS} grants in {time.monotonic() - began:.1f} s")
    many = count_queries(filled, pages)
    readers = {role: Reader(world, actor) for role, actor in roles_of(filled).items()}
    cold = {name: readers[role].cold_kb(path) for name, (role, path) in pages.items()}
    heaviest = max(cold, key=lambda name: cold[name])
    took = measure(filled, pages)
    slowest = sorted(took.items(), key=lambda item: -item[1])
    return {
        "page_p95_ms": slowest[0][1],
        "cold_kb_max": cold[heaviest],
        "cold_page": heaviest,
        "queries_grow": {n: [few[n], many[n]] for n in pages if many[n] > few[n]},
        "queries_max": max(many.values()),
        "pages": dict(slowest),
        "left_out": left_out,
        "grants": GRANTS,
        "copies": GRANTS // 10,
        "tenants": TENANTS,
        "samples": SAMPLES,
    }


if __name__ == "__main__":
    _broker.measure_in_folder("console", run)
