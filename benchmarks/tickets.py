"""Ticket systems: `make bench NAME=tickets [SIZE=small]`. The last line is one JSON object.

`poll_10k_tickets_s`: one poll of 10,000 open tickets of the demo's ticket system, a process of its
own over HTTP, that are as they were; `poll_10k_tenth_closed_s`: when every tenth has closed.
`hooks_…`: 5,000 signed webhooks about as many tickets, by 8 callers, to `broker web`: how long an
answer took, how many a second, and how long after the last of them all were worked off, none lost.
SIZE=small: a tenth of both.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
import standardwebhooks
from _broker import DURABLE, HOST, World, running
from _http import Api

from broker import tenants, ticketing
from broker.demo.processes import free_port, start, wait_until
from broker.demo.processes import running as children
from broker.embedded import ROOT_FOLDER, EmbeddedServer, make_root_folder
from broker.embedded import running as servers
from broker.secret import Secret
from broker.settings import Times
from broker.tickets.generic import GenericTickets
from broker.tx import system

SMALL = os.environ.get("SIZE") == "small"
TICKETS, HOOKS = (1_000, 500) if SMALL else (10_000, 5_000)
CALLERS, NEVER_S = 8, 86400
_BENCH = system("bench")


@contextlib.contextmanager
def desk(folder: Path) -> Iterator[tuple[str, str]]:
    """The demo's ticket system; its address and token."""
    port, token = free_port(), secrets.token_hex(16)
    command = [sys.executable, "-m", "broker.demo.ticket_source", "--port", str(port)]
    with children(start("tickets", command, {"TICKET_SOURCE_TOKEN": token}, folder / "desk.log")):
        api = Api(HOST, port, {"Authorization": f"Bearer {token}"})

        def answers() -> bool:
            with contextlib.suppress(OSError):
                return api.call("GET", "/tickets/probe")[0] == 200
            return False

        wait_until(answers, "the start of the ticket system")
        yield f"http://{HOST}:{port}", token


def measure(world: World, url: str, token: str, secret: str) -> dict[str, float]:
    customer = add_tenant(world)
    made = Api(HOST, int(url.rpartition(":")[2]), {"Authorization": f"Bearer {token}"})
    for number in range(TICKETS):
        body = {"id": f"T-{number}", "title": "Totals are wrong", "customer": customer}
        made.ok("POST", "/tickets", body)
    hooked = measure_hooks(world, secret)
    mirror_the_rest(world)
    tickets = GenericTickets(url, Secret(token), [], "probe")
    unchanged = poll(world, tickets)
    for number in range(0, TICKETS, 10):
        made.ok("POST", f"/tickets/T-{number}/close")
    closed = poll(world, tickets)
    return {**hooked, "poll_10k_tickets_s": unchanged, "poll_10k_tenth_closed_s": closed}


def add_tenant(world: World) -> str:
    with world.broker.database.begin(world.operator) as tx:
        tenants.enrol(
            tx,
            name="Acme",
            ticket_customer="acme",
            admin_email="admin@acme.example",
            admin_name="Ada Admin",
            log_host="broker.example",
        )
    return "acme"


def poll(world: World, tickets: GenericTickets) -> float:
    with world.broker.database.begin(_BENCH) as tx:  # nothing rests on them: let them be due
        tx.session.execute(sa.text("UPDATE ticket SET seen_at = now() - interval '2 h'"))
    began = time.monotonic()
    looked = ticketing.poll(world.broker.database, world.broker.queue, tickets, Times())
    took = time.monotonic() - began
    assert looked == TICKETS, looked
    return round(took, 2)


def measure_hooks(world: World, secret: str) -> dict[str, float]:
    webhook = standardwebhooks.Webhook(secret)
    apis = [Api(HOST, world.port, {}) for _ in range(CALLERS)]
    times: list[float] = []

    def call(caller: int) -> None:
        for number in range(caller, HOOKS, CALLERS):
            body = json.dumps({"type": "ticket.created", "data": {"id": f"T-{number}"}})
            at, name = datetime.now(UTC), f"msg_{number}"
            signed = {
                "webhook-id": name,
                "webhook-timestamp": str(int(at.timestamp())),
                "webhook-signature": webhook.sign(name, at, body),
            }
            began = time.monotonic()
            document = json.loads(body)
            status, _ = apis[caller].call("POST", "/hooks/tickets/generic", document, signed)
            times.append(time.monotonic() - began)
            assert status == 200, status

    began = time.monotonic()
    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(call, range(CALLERS)))
    sent = time.monotonic()
    while count(world, "ticket") < HOOKS:
        assert time.monotonic() - sent < 600, "webhooks were lost"
        time.sleep(0.2)
    ordered = sorted(times)
    return {
        "hooks": HOOKS,
        "hooks_p50_ms": round(1000 * ordered[len(ordered) // 2], 1),
        "hooks_p99_ms": round(1000 * ordered[int(len(ordered) * 0.99)], 1),
        "hooks_per_s": round(HOOKS / (sent - began)),
        "hooks_worked_off_s": round(time.monotonic() - sent, 1),
    }


def count(world: World, table: str) -> int:
    with world.broker.database.begin(_BENCH) as tx:
        return int(tx.session.scalar(sa.text(f"SELECT count(*) FROM {table}")) or 0)  # of ours


def mirror_the_rest(world: World) -> None:
    """Those that no webhook named, by SQL, as a look would have left them."""
    with world.broker.database.begin(_BENCH) as tx:
        tx.session.execute(
            sa.text(
                "INSERT INTO ticket"
                " (id, tenant_id, system, external_id, title, url, reopened, open, seen_at)"
                " SELECT 'tkt_' || lpad(translate(n::text, '0189', 'ghij'), 26, 'z'), t.tenant_id,"
                " t.system, 'T-' || n, t.title, replace(t.url, 'T-0', 'T-' || n), t.reopened,"
                " true, now() FROM generate_series(CAST(:first AS int), :last) n,"
                " (SELECT * FROM ticket WHERE external_id = 'T-0') t"
            ),
            {"first": HOOKS, "last": TICKETS - 1},
        )


def main() -> None:
    if os.geteuid() == 0:
        make_root_folder()
    root = ROOT_FOLDER if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(dir=root, prefix="bench-"))
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"
    live = EmbeddedServer(folder / "live", settings=DURABLE)
    try:
        with desk(folder) as (url, token), servers(live):
            more = {
                "tickets": {"url": url, "token": token, "webhook_secrets": [secret]},
                "times": {"poll_tickets_s": NEVER_S},
            }
            with running(folder, live, more) as world:
                print(json.dumps(measure(world, url, token, secret)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
