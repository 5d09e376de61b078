"""The API's figures: `make bench NAME=api [GRANTS=100000] [SAMPLES=40]`.

- `read_p95_ms`: of each GET that an engineer, an admin or an operator gets an answer to, the 95th
  percentile; the worst of them. `write_p95_ms`: the same of the writes below.
- `command_ms`: the median time of a list command against that server, the slowest; `commands` each.
- `reads`, `writes`: the 95th percentile of each, in milliseconds. `left_out`: what was not asked,
  for there was nothing of its kind.

Eight clients, each with a connection and a token of its own and a second between two requests, as
people and their programs are; GRANTS grants stand in the control database, of 20 tenants. Web,
worker and scheduler run as in production, with fsync and synchronous commit on. There is no peer.
Single times go to standard error; the last line on standard output is one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import _broker
from _broker import CALLERS, Tenant, World
from _http import Api

from broker import tenants
from broker.api.specification import make_specification
from broker.engines.postgres.connect import connect
from broker.tx import Actor

GRANTS = int(os.environ.get("GRANTS", "100000"))
SAMPLES = int(os.environ.get("SAMPLES", "40"))  # of each operation
TENANTS, ENGINEERS = 20, 200  # whose grants these are
PAUSE_S = 1.0
PREFIX = "/api/v1"
COMMANDS = ("grants", "leases", "snapshots", "tickets", "tenants")
# Rows beside those that the domain made: their entries and triggers are not what is measured. An
# id has the form of ours.
FILL = """
INSERT INTO access_grant
SELECT (jsonb_populate_record(one, jsonb_build_object(
    'requester_id', who, 'state_by', who,
    'id', 'grt_' || left(translate(md5(n::text), '0189', 'ghij'), 26),
    'tenant_id', (%(tenants)s::text[])[1 + n %% cardinality(%(tenants)s::text[])],
    'state', 'ended', 'end_reason', 'click',
    'requested_at', one.requested_at - n * interval '1 second'))).*
FROM access_grant AS one, generate_series(1, %(count)s) AS n,
    LATERAL (SELECT (%(requesters)s::text[])[
        1 + n / %(spread)s %% cardinality(%(requesters)s::text[])] AS who) AS whose
WHERE one.id = %(like)s
"""
Call = tuple[str, str, object]


@dataclass
class Caller:
    """Who asks, and with what: `ids` of things that this tenant has."""

    admin: Actor
    engineer: Actor
    operator: Actor
    ids: dict[str, str]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def fill(world: World, tenant: Tenant, grant_id: str) -> None:
    others, requesters = [tenant.id], [actor.person_id for actor in world.engineers]
    with world.broker.database.begin(world.operator) as tx:
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
        many = (_broker.add_vendor_person(tx, "engineer", 100 + n) for n in range(ENGINEERS))
        requesters.extend(actor.person_id for actor in many)
    with connect(world.superuser(world.control, "broker")) as connection, connection.transaction():
        connection.execute("SET LOCAL search_path = public")
        connection.execute("SET LOCAL session_replication_role = replica")
        filled = {"tenants": others, "requesters": requesters, "spread": TENANTS}
        connection.execute(FILL, {**filled, "count": GRANTS, "like": grant_id})
    with connect(world.superuser(world.control, "broker")) as connection:
        connection.execute("ANALYZE")


def list_reads(ids: dict[str, str]) -> Iterator[tuple[str, str | None]]:
    """(operation, path) of each GET; None where there is nothing of its kind."""
    queries = {"list_databases": "tenant", "list_platforms": "tenant", "list_storages": "tenant"}
    for path, methods in json.loads(make_specification())["paths"].items():
        if "get" in methods:
            name = methods["get"]["operationId"]
            try:
                asked = path.format_map(ids)
            except KeyError:
                yield name, None
                continue
            query = f"?tenant={ids['tenant_id']}" if name in queries else ""
            yield name, asked + query


def find_readers(world: World, caller: Caller) -> tuple[dict[str, tuple[Actor, str]], list[str]]:
    """Who is answered, for each read; and what nobody was."""
    found: dict[str, tuple[Actor, str]] = {}
    left_out = []
    for name, path in list_reads(caller.ids):
        for actor in (caller.admin, caller.engineer, caller.operator):
            if path and world.api(actor).call_raw("GET", path) == 200:
                found[name] = (actor, path)
                break
        else:
            left_out.append(name)
    return found, left_out


def write(caller: Caller, api: Callable[[Actor], Api], took: Callable[[str, float], None]) -> None:
    """One round of writes, each of which makes what the next one needs."""

    def timed(name: str, actor: Actor, method: str, path: str, body: object = None) -> dict:  # type: ignore[type-arg]
        time.sleep(PAUSE_S)
        began = time.monotonic()
        answer = api(actor).ok(method, PREFIX + path, body)
        took(name, time.monotonic() - began)
        return answer or {}

    ids = caller.ids
    ask = {"ticket": ids["ticket_id"], "database": ids["database_id"], "category": "incident"}
    ask |= {"reason": "a wrong total", "live_s": 3600}
    grant = timed("request_grant", caller.engineer, "POST", "/grants", ask)
    timed("end_grant", caller.engineer, "POST", f"/grants/{grant['id']}/end")
    token = timed("create_token", caller.admin, "POST", "/tokens", {"name": "x", "days": 1})
    timed("end_token", caller.admin, "DELETE", f"/tokens/{token['id']}")
    policy = f"/tenants/{ids['tenant_id']}/approval-policy"
    timed("set_approval_policy", caller.admin, "POST", policy, {"approvals": 1})
    logins = f"/databases/{ids['database_id']}/known-logins"
    timed("register_logins", caller.admin, "POST", logins, {"known_logins": ["app"]})


def measure(world: World, caller: Caller) -> dict[str, object]:
    readers, left_out = find_readers(world, caller)
    times: dict[str, list[float]] = defaultdict(list)
    writes: dict[str, list[float]] = defaultdict(list)
    say(f"{len(readers)} reads, {len(left_out)} left out: {', '.join(left_out)}")

    def call(number: int) -> None:
        mine = {id(actor): world.api(actor) for actor in (caller.admin, caller.engineer)}
        mine[id(caller.operator)] = world.api(caller.operator)
        order = [name for name in readers for _ in range(max(1, SAMPLES // CALLERS))]
        random.Random(number).shuffle(order)  # noqa: S311  # an order, no secret
        for name in order:
            actor, path = readers[name]
            time.sleep(PAUSE_S)
            began = time.monotonic()
            assert mine[id(actor)].call_raw("GET", path) == 200, name
            times[name].append(time.monotonic() - began)
        for _ in range(max(1, SAMPLES // CALLERS)):
            write(caller, lambda actor: mine[id(actor)], lambda n, s: writes[n].append(s))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        time.sleep(PAUSE_S / CALLERS)  # not all in the same instant of each second
        thread.start()
    for thread in threads:
        thread.join()
    reads_ms, writes_ms = ({n: p95_ms(t) for n, t in found.items()} for found in (times, writes))
    return {
        "read_p95_ms": max(reads_ms.values()),
        "write_p95_ms": max(writes_ms.values()),
        "reads": dict(sorted(reads_ms.items(), key=lambda item: -item[1])),
        "writes": dict(sorted(writes_ms.items(), key=lambda item: -item[1])),
        "left_out": left_out,
        "grants": GRANTS,
        "samples": SAMPLES,
    }


def time_commands(world: World, actor: Actor) -> dict[str, float]:
    """The whole of a process, from its start to its end, in milliseconds; one after another."""
    world.api(actor)
    told = {"BROKER_URL": f"http://localhost:{world.port}", "BROKER_HOME": "/nonexistent"}
    told["BROKER_TOKEN"] = world.tokens[str(actor.person_id)].reveal()
    program = Path(sys.executable).with_name("broker")
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(max(3, SAMPLES // CALLERS)):
        for noun in COMMANDS:
            more = ["--limit", "20"] if noun in {"grants", "tickets"} else []
            began = time.monotonic()
            subprocess.run(
                [program, noun, "list", *more],
                env={**os.environ, **told},
                check=True,
                stdout=subprocess.DEVNULL,
            )
            times[noun].append((time.monotonic() - began) * 1000)
    return {noun: round(statistics.median(took), 1) for noun, took in times.items()}


def p95_ms(times: list[float]) -> float:
    if len(times) < 2:
        return round(times[0] * 1000, 1)
    return round(statistics.quantiles(times, n=20, method="inclusive")[-1] * 1000, 1)


def run(world: World) -> dict[str, object]:
    tenant, engineer = world.enrol("bench"), world.engineers[0]
    grant_id = world.grant(tenant, engineer)
    world.fill(tenant, 5)
    began = time.monotonic()
    fill(world, tenant, grant_id)
    say(f"{GRANTS} grants in {time.monotonic() - began:.1f} s")
    leases = world.api(engineer).ok("GET", f"{PREFIX}/leases")["items"]
    ids = {"tenant_id": tenant.id, "database_id": tenant.database_id, "ticket_id": tenant.ticket}
    ids |= {"grant_id": grant_id, "lease_id": leases[0]["id"]}
    caller = Caller(tenant.admin, engineer, world.operator, ids)
    commands = time_commands(world, engineer)
    return {**measure(world, caller), "command_ms": max(commands.values()), "commands": commands}


if __name__ == "__main__":
    _broker.measure_in_folder("api", run)
