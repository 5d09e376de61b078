"""Our side: the broker's own processes on embedded servers, and one caller of its API.

Web (gunicorn, as `broker web` starts it), worker and scheduler run as in production, with fsync and
synchronous commit on. Tenants, people and approved grants are made in this process by the domain's
own functions, before anything is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from _http import Api

from broker import bootstrap, people, signin, tenants
from broker.bootstrap import Broker
from broker.consents import ledger
from broker.consents.ledger import Consent
from broker.consents.purposes import LIVE_ACCESS, TEST_COPY, get_purpose
from broker.demo.canaries import new_marks
from broker.demo.crm import build_crm
from broker.demo.processes import Child, broker_command, free_port, start, wait_until
from broker.embedded import ROOT_FOLDER, EmbeddedServer, make_root_folder
from broker.engines import Target
from broker.engines.ownership import Owned, find_owned
from broker.engines.postgres.account import setup_sql
from broker.engines.postgres.catalogue import read_catalogue
from broker.engines.postgres.connect import connect
from broker.engines.postgres.masks import find_obstacle
from broker.engines.postgres.scram import make_verifier, new_password
from broker.engines.postgres.warm import WarmSessions
from broker.grants import deciding, lease_steps, leases, preflights, requests, shown_plans
from broker.grants.lease_batches import Batches, Call
from broker.grants.narrowing import Narrowing
from broker.grants.preflights import Preflight
from broker.grants.requests import Ask
from broker.ids import GrantId, PersonId, TenantId
from broker.jobs import Queue
from broker.keys.intake import login_context, seal_login
from broker.keys.keyring import Keyring
from broker.secret import Secret
from broker.settings import load_settings
from broker.snapshots.ports import Ports
from broker.stores.folder import FolderStore
from broker.tenancy import Tenancy
from broker.tenants import TenantDatabase
from broker.tickets import FetchedTicket, mirror
from broker.tx import Actor, Tx, system

HOST = "127.0.0.1"
CONFIG = Path(__file__).parents[1] / "config"
DURABLE = {"fsync": "on", "synchronous_commit": "on"}
AT_ONCE = 50  # leases of a batch
PER_GRANT = 5  # open leases that one grant may have
CALLERS = 8
_PATIENCE_S = 60
_BENCH = system("bench")
Sections = Mapping[str, Mapping[str, object]]  # of a settings file


class NoQueue(Queue):
    """What is made before the measurement is made here, by no job."""

    def put(self, tx: Tx, name: str, identity: str, *, queue: str) -> None:
        pass

    def put_all(self, tx: Tx, name: str, identities: Sequence[str], *, queue: str) -> None:
        pass

    def call(self, tx: Tx, identity: str, place: str, scope: str) -> None:
        pass


@dataclass
class Tenant:
    id: TenantId
    admin: Actor
    database_id: str
    owned: Owned
    ticket: str


@dataclass
class World:
    folder: Path
    control: EmbeddedServer
    live: EmbeddedServer
    broker: Broker
    ports: Ports
    port: int
    operator: Actor
    engineers: list[Actor] = field(default_factory=list)
    tokens: dict[str, Secret[str]] = field(default_factory=dict)  # by person
    pids: list[int] = field(default_factory=list)  # of web, worker and scheduler

    def parts(self) -> dict[str, int]:
        """The process at the root of each part of what an issue or an end takes."""
        names = ("web", "worker", "scheduler")
        control, live = self.control.pid, self.live.pid
        return {**dict(zip(names, self.pids, strict=True)), "control": control, "server": live}

    def superuser(self, server: EmbeddedServer, dbname: str) -> Target:
        return Target(server.host, server.port, dbname, "postgres", server.password)

    def api(self, actor: Actor) -> Api:
        assert actor.person_id is not None
        if actor.person_id not in self.tokens:
            with self.broker.database.begin(actor) as tx:
                self.tokens[actor.person_id] = signin.create_token(tx, "bench", 1)[1]
        token = self.tokens[actor.person_id].reveal()
        return Api(HOST, self.port, {"Authorization": f"Bearer {token}"})

    def enrol(self, dbname: str) -> Tenant:
        """A tenant with a small CRM of its own on the live server, and a ticket."""
        with connect(self.superuser(self.live, "postgres")) as connection:
            connection.execute(f"CREATE DATABASE {dbname}")
        build_crm(self.superuser(self.live, dbname), marks=new_marks(), scale=0.01)
        customer, database = f"customer {dbname}", self.broker.database
        with database.begin(self.operator) as tx:
            tenant_id, person_id = tenants.enrol(
                tx,
                name=dbname,
                ticket_customer=customer,
                admin_email=f"admin@{dbname}.example",
                admin_name="Ada Admin",
                log_host="broker.example",
            )
            database_id = self._register(tx, tenant_id, dbname)
        with database.begin(Actor("tenant", "password", person_id)) as tx:
            for purpose in (LIVE_ACCESS, TEST_COPY):
                digest = get_purpose(tx, purpose).digest("en")
                ledger.give(tx, Consent(tenant_id, purpose), digest)
        with database.begin(system("tickets")) as tx:
            fetched = FetchedTicket(dbname, "Totals are wrong", customer, closed=False)
            seen = mirror.record_look(tx, "bench", dbname, fetched, missing_s=300)
        with connect(self.superuser(self.live, dbname)) as connection:
            owned = find_owned(read_catalogue(connection, ["crm"]), Tenancy(), ["crm"])
        assert seen.ticket_id is not None
        admin = Actor("tenant", "password", PersonId(person_id))
        return Tenant(tenant_id, admin, database_id, owned, seen.ticket_id)

    def _register(self, tx: Tx, tenant_id: TenantId, dbname: str) -> str:
        password, login = new_password(), f"sab_broker_{dbname}"
        with connect(self.superuser(self.live, dbname)) as connection:
            verifier = make_verifier(password)
            text = setup_sql(dbname, login, verifier, ["crm"], app_roles=["crm_app"])
            connection.execute(text)
        public = Keyring(self.folder / "keyring").intake_public()
        context = login_context("database", self.live.host, self.live.port, login)
        row = TenantDatabase(
            name="CRM",
            host=self.live.host,
            port=self.live.port,
            dbname=dbname,
            login=login,
            sealed_password=seal_login(public, password, context),
            schemas=["crm"],
        )
        return looked_at(tx, tenants.register_database(tx, tenant_id, row))

    def grant(self, tenant: Tenant, engineer: Actor, copy_s: int = 0) -> GrantId:
        """Asked, planned and approved; the mails that this makes are not what is measured."""
        database, queue = self.broker.database, NoQueue()
        what = ("customer_report", "a wrong total")
        ask = Ask(tenant.ticket, tenant.database_id, *what, 80_000, copy_s)
        with database.begin(engineer) as tx:
            grant_id = requests.request(tx, ask, self.broker.settings.times, queue)
        with database.begin(system("worker")) as tx:
            policy = self.ports.policy
            shown = shown_plans.keep_plan(tx, grant_id, tenant.owned, policy, find_obstacle)
        with database.begin(tenant.admin) as tx:
            deciding.approve(tx, grant_id, shown, Narrowing())
        return grant_id

    def forget_mails(self) -> None:
        with connect(self.superuser(self.control, "broker")) as connection:
            connection.execute("DELETE FROM public.mail")

    def fill(self, tenant: Tenant, count: int) -> None:
        """Make `count` live leases with their grants, by the steps of a worker, in this process."""
        verifier, engineer = make_verifier(new_password()), self.engineers[0]
        database, place = self.broker.database, tenant.database_id
        warm, rates = WarmSessions(), self.broker.settings.rates
        batches = Batches(database, self.ports.keys, warm)

        def ask(count: int) -> list[Call]:
            grant_id = self.grant(tenant, engineer)
            with database.begin(engineer) as tx:
                ids = [
                    leases.ask_live(tx, grant_id, verifier, NoQueue(), rates) for _ in range(count)
                ]
                scope = leases.get_lease(tx, ids[0]).scope_name
            return [Call(lease_id, place, scope) for lease_id in ids]

        def make(count: int) -> None:
            parts = [min(PER_GRANT, count - n) for n in range(0, count, PER_GRANT)]
            left = batches.take(place, [call for part in parts for call in ask(part)])
            assert not left.again, left
            for call in left.singly:  # a server with other work has sessions that just begin
                lease_steps.issue(database, self.ports.keys, call.lease_id, self.ports.queue, warm)

        make(1)  # with its scope
        parts = [min(AT_ONCE, count - 1 - n) for n in range(0, count - 1, AT_ONCE)]
        with ThreadPoolExecutor(CALLERS // 2) as pool:
            list(pool.map(make, parts))
        warm.close()
        self.forget_mails()

    def count_leases(self, tenant: Tenant, *states: str) -> int:
        with connect(self.superuser(self.control, "broker")) as connection:
            row = connection.execute(
                "SELECT count(*) FROM public.lease WHERE tenant_id = %s AND state = ANY(%s)",
                [tenant.id, list(states)],
            ).fetchone()
        assert row is not None
        return int(row[0])

    def client(self, tenant: Tenant, number: int, leases_at_once: int) -> BrokerClient:
        engineer = self.engineers[number]
        needed = -(-leases_at_once // PER_GRANT)
        return BrokerClient(
            self.api(engineer), [self.grant(tenant, engineer) for _ in range(needed)]
        )


class BrokerClient:
    """One engineer with a kept connection; its passwords never leave it."""

    def __init__(self, api: Api, grants: list[GrantId]) -> None:
        self._api = api
        self._grants = grants
        self._asked = 0

    def issue(self) -> tuple[str, str, str]:
        """(lease, role, password), when the role is there"""
        password = new_password()
        grant = self._grants[self._asked // PER_GRANT % len(self._grants)]
        self._asked += 1
        body = {"grant": grant, "verifier": make_verifier(password)}
        lease = self._api.ok("POST", "/api/v1/leases?wait=10", body)
        lease = self._wait(lease, "issued")
        return lease["id"], lease["role"], password.reveal()

    def revoke(self, lease_id: str) -> None:
        """Returns when the broker's look through a new connection found nothing."""
        self._wait(self._api.ok("POST", f"/api/v1/leases/{lease_id}/end?wait=10"), "revoked")

    def _wait(self, lease: Any, state: str) -> Any:
        until = time.monotonic() + _PATIENCE_S
        while lease["state"] != state:
            assert time.monotonic() < until, f"no {state} within {_PATIENCE_S} s: {lease}"
            assert lease["stuck_reason"] is None, lease
            lease = self._api.ok("GET", f"/api/v1/leases/{lease['id']}?wait=10")
        return lease


@contextlib.contextmanager
def running(folder: Path, live: EmbeddedServer, more: Sections = {}) -> Iterator[World]:  # noqa: B006  # never changed
    """The broker with its control database; its processes end with the block.

    `more` are sections of settings for all of them.
    """
    control = EmbeddedServer(folder / "control", settings=DURABLE)
    children: list[Child] = []
    with contextlib.ExitStack() as stack:
        stack.callback(control.stop)
        control.start()
        port = free_port()
        _write_settings(folder, control, port, more)
        settings = load_settings(folder / "worker.toml", environ={})
        broker = bootstrap.build(settings)
        stack.callback(broker.close)
        ports = bootstrap.build_ports(broker)
        bootstrap.publish_keys(ports, settings)
        world = World(folder, control, live, broker, ports, port, system("none"))
        with broker.database.begin(_BENCH) as tx:
            world.operator = add_vendor_person(tx, "operator", 0)
            world.engineers = [add_vendor_person(tx, "engineer", n) for n in range(CALLERS)]
        for name, arguments, file in (
            ("web", ["web", "--bind", f"{HOST}:{port}"], "web.toml"),
            ("worker", ["worker"], "worker.toml"),
            ("scheduler", ["scheduler"], "web.toml"),
        ):
            env = {"BROKER_CONFIG": str(folder / file), "HOME": str(folder)}
            child = start(name, broker_command(*arguments), env, folder / f"{name}.log")
            stack.callback(child.stop)
            children.append(child)
            world.pids.append(child.process.pid)

        def answers() -> bool:
            for child in children:
                child.check_alive()
            with contextlib.suppress(OSError):
                return Api(HOST, port, {}).call("GET", "/api/v1/me")[0] == 401
            return False

        wait_until(answers, "the start of the broker")
        yield world


def measure_in_folder(name: str, measure: Callable[[World], object]) -> None:
    """Build the world in a new folder, print what `measure` says of it, leave nothing."""
    root = None
    if os.geteuid() == 0:
        make_root_folder()
        root = ROOT_FOLDER
    folder = Path(tempfile.mkdtemp(dir=root, prefix=f"bench-{name}-"))
    live = EmbeddedServer(folder / "live", settings=DURABLE)
    try:
        live.start()
        with running(folder, live) as world:
            print(json.dumps(measure(world)), flush=True)
    finally:
        live.stop()
        shutil.rmtree(folder, ignore_errors=True)


def add_vendor_person(tx: Tx, role: str, number: int) -> Actor:
    email = f"{role}{number}@vendor.example"
    person_id = people.add_person(tx, side="vendor", email=email, name=f"{role} {number}")
    people.add_membership(tx, person_id, role, None)
    return Actor("vendor", "password", person_id)


def _write_settings(folder: Path, control: EmbeddedServer, port: int, more: Sections) -> None:
    """The control database's two roles, a keyring, a store, and a settings file per process."""
    passwords = {role: secrets.token_hex(16) for role in ("broker_app", "broker_owner")}
    server = Target(control.host, control.port, "postgres", "postgres", control.password)
    with connect(server) as connection:
        for role, password in passwords.items():
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        connection.execute("CREATE DATABASE broker OWNER broker_owner")
    Keyring.create_folder(folder / "keyring")
    FolderStore.create_folder(folder / "store")
    dsn = {
        role: f"host={control.host} user={role} password={password} dbname=broker"
        for role, password in passwords.items()
    }
    common: Sections = {
        **more,
        "vendor": {"host": "broker.example"},
        "tools": {"config": str(CONFIG)},
        "rates": {"person": "0", "tenant": "0", "server": "0"},  # it is the limit that is sought
    }
    web = {"secret_key": secrets.token_hex(32), "public_url": f"http://localhost:{port}"}
    web |= {"requests_per_minute": "0"}
    keys = {
        "keys": {"keyring": str(folder / "keyring")},
        "store": {"folder": str(folder / "store")},
    }
    app = {"dsn": dsn["broker_app"]}
    owner = {**app, "owner_dsn": dsn["broker_owner"]}
    _write_toml(folder / "web.toml", {**common, "control": app, "web": web})
    _write_toml(folder / "worker.toml", {**common, **keys, "control": app})
    _write_toml(folder / "owner.toml", {**common, "control": owner})
    bootstrap.migrate(load_settings(folder / "owner.toml", environ={}))


def _write_toml(path: Path, values: Sections) -> None:
    path.touch(mode=0o600)
    lines: list[str] = []
    for section, keys in values.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    path.write_text("\n".join(lines) + "\n")


def try_login(server: EmbeddedServer, dbname: str, role: str, password: str) -> psycopg.Connection:
    """Log in as the engineer would; raises when refused."""
    connection = psycopg.connect(
        host=server.host,
        port=server.port,
        dbname=dbname,
        user=role,
        password=password,
        autocommit=True,
    )
    connection.execute("SELECT 1")
    return connection


def looked_at(tx: Tx, target: str) -> str:
    """As if a preflight had just found nothing."""
    tx.session.add(
        Preflight(
            target=target,
            asked_at=tx.at,
            checked_at=tx.at,
            findings=[],
            fatal=0,
            unexplained=[],
            next_try_at=tx.at + preflights.EVERY,
        )
    )
    return target
