"""How long from a ticket's closing until its copy is destroyed: many at once, real processes.

Web, worker and scheduler, a ticket system, and three PostgreSQL servers that are synced to the
disk: control database, tenants' database, test server. Each copy has its own ticket and grant, 20
tables of at least 5 MB together in a sandbox, a sealed artifact of 20 objects with manifest, its
own keys, and an engineer's open session.

Copies are made by a bulk way: rows, inventory, keys, labels, sandbox, roles and logins by the
product's own functions, in this process; the tables' rows by `INSERT … SELECT` as the sandbox's
owner and the artifact from random bytes, sealed under the copy's own data key, instead of being
read from the tenant's database. What is destroyed, and by whom, is the real thing.

Time begins, by the control database's clock, before the first ticket is closed, and ends with the
copy's `destroyed_at`. By poll: every webhook is lost, and the tickets close right after a poll.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import psycopg
from _broker import (
    DURABLE,
    HOST,
    NoQueue,
    Tenant,
    World,
    connect,
    looked_at,
    running,
    try_login,
)
from _http import Api
from _memory import pss_mb, tree

from broker import tenants
from broker.demo.processes import free_port, start, wait_until
from broker.demo.processes import running as children
from broker.embedded import (
    ROOT_FOLDER,
    TEST_SERVER_SETTINGS,
    EmbeddedServer,
    make_root_folder,
)
from broker.embedded import (
    running as servers,
)
from broker.engines.postgres.account import setup_test_server_sql
from broker.engines.postgres.copying import sandbox
from broker.engines.postgres.scram import make_verifier, new_password
from broker.grants import contacts, leases
from broker.grants.targets import server_target
from broker.keys.intake import login_context, seal_login
from broker.keys.keyring import Keyring
from broker.sealing import MANIFEST_NAME
from broker.snapshots import making, ordering
from broker.snapshots.artifacts import put_sealed
from broker.snapshots.loading import Filled
from broker.tenants import TestServer
from broker.tickets import FetchedTicket, mirror
from broker.tx import Actor, system

SMALL = os.environ.get("SIZE") == "small"
COPIES, TENANTS, POLL_S = (20, 2, 10) if SMALL else (200, 4, 300)
TABLES, ROWS, OBJECT_BYTES = 20, 1300, 100_000
MAKERS = 4
_LATE_S = 600  # nothing is waited for any longer
TEST = {**TEST_SERVER_SETTINGS, **DURABLE, "max_connections": "400", "shared_buffers": "128MB"}
STAGES = {
    "condemned": "SELECT condemned_at FROM public.snapshot WHERE id = ANY(%s)",
    "login revoked": "SELECT state_at FROM public.lease WHERE snapshot_id = ANY(%s)",
    "key erased": "SELECT at FROM public.look WHERE snapshot_id = ANY(%s) AND kind = 'key erased'",
    "destroyed": "SELECT destroyed_at FROM public.snapshot WHERE id = ANY(%s)",
    "certified": "SELECT issued_at FROM public.certificate WHERE snapshot_id = ANY(%s)",
}
FILL = f"""
DO $$ BEGIN FOR t IN 1..{TABLES} LOOP
  EXECUTE format('CREATE TABLE public.t%s (id int PRIMARY KEY, text text NOT NULL)', t);
  EXECUTE format('INSERT INTO public.t%s SELECT n, repeat(md5(n::text), 6)'
                 ' FROM generate_series(1, {ROWS}) n', t);
END LOOP; END $$"""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Copy:
    """A ready copy: its id, its ticket's name in the ticket system, and an open session on it."""

    id: str
    ticket: str
    session: psycopg.Connection


@dataclass(frozen=True)
class Scene:
    """The broker with a test server, a ticket system, and tenants."""

    world: World
    test: EmbeddedServer
    server_id: str
    tickets: Api
    tenants: Sequence[Tenant]

    def make_copies(self, mark: str) -> list[Copy]:
        names = [f"{mark}-{number}" for number in range(COPIES)]
        for number, name in enumerate(names):
            customer = self._tenant(number).ticket
            self.tickets.ok("POST", "/tickets", {"title": "t", "customer": customer, "id": name})
        with ThreadPoolExecutor(MAKERS) as pool:
            made = list(pool.map(self._make, range(COPIES), names))
        self.world.forget_mails()
        with connect(self.world.superuser(self.test, "postgres")) as connection:
            connection.execute("CHECKPOINT")  # copies that stand for a while are on the disk
        return made

    def _tenant(self, number: int) -> Tenant:
        return self.tenants[number % len(self.tenants)]

    def _make(self, number: int, name: str) -> Copy:
        world, tenant = self.world, self._tenant(number)
        engineer = world.engineers[number % len(world.engineers)]
        with world.broker.database.begin(system("tickets")) as tx:
            fetched = FetchedTicket(name, "t", tenant.ticket, closed=False)
            seen = mirror.record_look(tx, "generic", name, fetched, missing_s=300)
        assert seen.ticket_id is not None
        grant = world.grant(replace(tenant, ticket=seen.ticket_id), engineer, copy_s=80_000)
        with world.broker.database.begin(engineer) as tx:
            snapshot_id = ordering.order(tx, grant, self.server_id, NoQueue())
            ordering.get_snapshot(tx, snapshot_id).next_try_at = None  # made here, by no worker
        self._fill(snapshot_id)
        return Copy(snapshot_id, name, self._log_in(snapshot_id, engineer))

    def _fill(self, snapshot_id: str) -> None:
        """What `making.copy` does, with rows and objects of our own."""
        ports = self.world.ports
        work = making._begin(ports, snapshot_id)  # noqa: SLF001  # the real rows, see above
        assert work is not None
        snapshot, places = work.snapshot, work.places
        key = making._make_data_key(ports, snapshot)  # noqa: SLF001
        places.label_artifact(ports.store)
        places.make_sandbox("UTF8")
        with connect(self.world.superuser(self.test, snapshot.sandbox)) as connection:
            connection.execute(f"SET ROLE {snapshot.owner_role}")
            connection.execute(FILL)
            sandbox.grant_use(connection, snapshot.use_role)
        for number in range(TABLES):
            content = secrets.token_bytes(OBJECT_BYTES)
            put_sealed(ports.store, snapshot.prefix, f"t{number}", key, snapshot.id, content)
        manifest = put_sealed(ports.store, snapshot.prefix, MANIFEST_NAME, key, snapshot.id, b"{}")
        places.let_leases_in()
        filled = Filled(manifest, TABLES, TABLES * ROWS, {"drift": []})
        making._confirm(ports, work, filled)  # noqa: SLF001

    def _log_in(self, snapshot_id: str, engineer: Actor) -> psycopg.Connection:
        database, password = self.world.broker.database, new_password()
        with database.begin(engineer) as tx:
            lease_id = ordering.ask_sandbox_lease(
                tx,
                snapshot_id,
                make_verifier(password),
                self.world.broker.queue,
                self.world.broker.settings.rates,
            )

        def is_issued() -> bool:
            with database.begin(engineer) as tx:
                return leases.get_lease(tx, lease_id).state == "issued"

        wait_until(is_issued, "a login on a sandbox", _LATE_S)
        with database.begin(engineer) as tx:
            lease = leases.get_lease(tx, lease_id)
        return try_login(self.test, lease.dbname, lease.role_name, password.reveal())

    def close(self, copies: Sequence[Copy]) -> list[float]:
        """Close all tickets; seconds from then until each copy was destroyed, in order."""
        began = self._now()
        for copy in copies:
            self.tickets.ok("POST", f"/tickets/{copy.ticket}/close")
        say(f"{len(copies)} tickets closed in {(self._now() - began).total_seconds():.1f} s")
        ids = [copy.id for copy in copies]
        self._wait_for(
            "certificate",
            ids,
            "SELECT count(*) FROM public.certificate WHERE snapshot_id = ANY(%s)",
        )  # the last thing that is done for a copy
        with self._control() as connection:
            rows = connection.execute(
                "SELECT destroyed_at FROM public.snapshot WHERE id = ANY(%s)", [ids]
            ).fetchall()
        self._say_stages(ids, began)
        self._check_gone(copies)
        return sorted((at - began).total_seconds() for (at,) in rows)

    def _say_stages(self, ids: list[str], began: datetime) -> None:
        with self._control() as connection:
            for stage, query in STAGES.items():
                rows = connection.execute(query, [ids]).fetchall()
                times = sorted((at - began).total_seconds() for (at,) in rows)
                say(f"  {stage}: {times[0]:.1f} to {times[-1]:.1f} s")

    def wait_for_poll(self) -> None:
        """Returns when a poll has just looked at every open ticket."""
        began = self._now()
        query = "SELECT min(seen_at) > %s FROM public.ticket WHERE open AND system = 'generic'"

        def is_polled() -> bool:
            with self._control() as connection:
                row = connection.execute(query, [began]).fetchone()
            return row is not None and bool(row[0])

        wait_until(is_polled, "a poll of the tickets", _LATE_S)

    def _wait_for(self, what: str, ids: list[str], query: str) -> None:
        def is_there() -> bool:
            threading.Event().wait(0.5)
            with self._control() as connection:
                row = connection.execute(query, [ids]).fetchone()
            return row == (len(ids),)

        wait_until(is_there, f"a {what} for each copy", _LATE_S)

    def _check_gone(self, copies: Sequence[Copy]) -> None:
        """Nothing is left: no session, sandbox, role, object or key of any of them."""
        for copy in copies:
            with contextlib.suppress(psycopg.OperationalError), contextlib.closing(copy.session):
                copy.session.execute("SELECT 1")
                raise AssertionError(f"a session on {copy.id} lives")
        mine = [copy.id[4:] for copy in copies]
        with connect(self.world.superuser(self.test, "postgres")) as connection:
            names = connection.execute(
                "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles"
            ).fetchall()
        left = [name for (name,) in names if any(one in name for one in mine)]
        left += [one.name for one in self.world.ports.store.list_all("snapshots/")]
        live = set(self.world.ports.keys.list_names("snapshot/"))
        left += [copy.id for copy in copies if f"snapshot/{copy.id}" in live]
        assert not left, left

    def measure_memory(self) -> float:
        """MB of web, worker and scheduler, what they share counted once."""
        pids = [pid for one in self.world.pids for pid in tree(one)]
        return sum(map(pss_mb, pids))

    def _now(self) -> datetime:
        return self.world.broker.database.now(system("bench"))

    def _control(self) -> contextlib.AbstractContextManager[psycopg.Connection]:
        return connect(self.world.superuser(self.world.control, "broker"))


@contextlib.contextmanager
def scene() -> Iterator[Scene]:
    if os.geteuid() == 0:
        make_root_folder()
    root = ROOT_FOLDER if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(dir=root, prefix="bench-"))
    live = EmbeddedServer(folder / "live", settings=DURABLE)
    test = EmbeddedServer(folder / "test", settings=TEST)
    port, token = free_port(), secrets.token_hex(16)
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"
    more = {
        "tickets": {"url": f"http://{HOST}:{port}", "token": token, "webhook_secrets": [secret]},
        "times": {"poll_tickets_s": POLL_S},
    }
    try:
        with servers(live, test), running(folder, live, more) as world:
            hook = f"http://{HOST}:{world.port}/hooks/tickets/generic"
            command = ["-m", "broker.demo.ticket_source", "--port", str(port)]
            env = {"TICKET_SOURCE_TOKEN": token, "TICKET_SOURCE_WEBHOOK_SECRET": secret}
            command = [sys.executable, *command, "--webhook-url", hook]
            with children(start("tickets", command, env, folder / "tickets.log")):
                tickets = Api(HOST, port, {"Authorization": f"Bearer {token}"})
                wait_until(lambda: _answers(tickets), "the start of the ticket system")
                enrolled = [_enrol(world, number) for number in range(TENANTS)]
                yield Scene(world, test, _register(world, test), tickets, enrolled)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answers(tickets: Api) -> bool:
    with contextlib.suppress(OSError):
        return tickets.call("GET", "/tickets/probe")[0] == 200
    return False


def _enrol(world: World, number: int) -> Tenant:
    """With the name of the customer in the ticket system in the place of a ticket."""
    return replace(world.enrol(f"crm{number}"), ticket=f"customer crm{number}")


def _register(world: World, test: EmbeddedServer) -> str:
    password, login = new_password(), "sab_host"
    with connect(world.superuser(test, "postgres")) as connection:
        connection.execute(setup_test_server_sql(login, make_verifier(password)))
    context = login_context("server", test.host, test.port, login)
    sealed = seal_login(Keyring(world.folder / "keyring").intake_public(), password, context)
    row = TestServer(
        name="test", host=test.host, port=test.port, login=login, sealed_password=sealed
    )
    with world.broker.database.begin(world.operator) as tx:
        server_id = looked_at(tx, tenants.register_server(tx, row))
        target = server_target(world.ports.keys, tenants.get_server(tx, server_id))
    contacts.meet(world.broker.database, target, server_id, world.ports.keys.label_key())
    return server_id


def rank(times: Sequence[float], part: float) -> float:
    """The least time within which that part of all was done."""
    return round(times[max(0, -(-int(len(times) * part * 100) // 100) - 1)], 1)


def measured() -> dict[str, float]:
    with scene() as at:
        at.tickets.ok("POST", "/webhooks", {"enabled": False})
        copies = at.make_copies("hook")
        say(f"{COPIES} copies made")
        at.tickets.ok("POST", "/webhooks", {"enabled": True})
        hooked = at.close(copies)
        before = at.measure_memory()
        say(f"by webhook: median {rank(hooked, 0.5)} s, last {hooked[-1]:.1f} s")
        at.tickets.ok("POST", "/webhooks", {"enabled": False})
        copies = at.make_copies("poll")
        at.wait_for_poll()
        polled = at.close(copies)
        after = at.measure_memory()
        say(f"by poll: median {rank(polled, 0.5)} s, last {polled[-1]:.1f} s")
    return {
        "copies": COPIES,
        "poll_s": POLL_S,
        "close_to_destroyed_p50_s": rank(hooked, 0.5),
        "close_to_destroyed_p99_s": rank(hooked, 0.99),
        "close_to_destroyed_poll_p50_s": rank(polled, 0.5),
        "close_to_destroyed_poll_p99_s": rank(polled, 0.99),
        "rss_mb": round(after),
        "rss_growth": round(after / before, 2),
    }
