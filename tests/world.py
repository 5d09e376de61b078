"""A whole small world for the tests: a control database, a tenant's CRM, a test server, a keyring,
a store, people. Everything is real; jobs run when the test says `work()`.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql

from broker import bootstrap, people, signin, tenants, worker
from broker.bootstrap import Broker
from broker.consents import ledger
from broker.consents.ledger import Consent
from broker.consents.purposes import LIVE_ACCESS, TEST_COPY, get_purpose
from broker.demo.canaries import Marks, new_marks
from broker.demo.crm import build_crm
from broker.embedded import EmbeddedServer
from broker.engines import Target
from broker.engines.postgres.account import setup_sql, setup_test_server_sql
from broker.engines.postgres.scram import make_verifier, new_password
from broker.grants import deciding, lease_steps, leases, requests
from broker.grants.model import Grant, Lease
from broker.grants.narrowing import Narrowing
from broker.grants.preflights import EVERY, Preflight
from broker.grants.requests import Ask
from broker.ids import GrantId, LeaseId, PersonId, SnapshotId, TenantId
from broker.keys.intake import login_context, seal_login
from broker.keys.keyring import Keyring
from broker.secret import Secret
from broker.settings import Control, Keys, Outgoing, Rates, Settings, Store, Times, Vendor, Web
from broker.snapshots import ordering
from broker.snapshots.model import Snapshot
from broker.snapshots.ports import Ports
from broker.stores.folder import FolderStore
from broker.tenants import TenantDatabase, TestServer
from broker.tickets import FetchedTicket, mirror
from broker.tx import Actor, Tx, system

SYSTEM = "tests"
APP_ROLE, OWNER_ROLE = "broker_app", "broker_owner"
REASON = "the customer reports wrong totals on three orders"


@dataclass(frozen=True)
class ControlTemplate:
    """A migrated control database to clone, and the passwords of its two roles."""

    server: EmbeddedServer
    name: str
    passwords: dict[str, str]

    def dsn(self, role: str, dbname: str) -> Secret[str]:
        host = self.server.host.replace("/", "%2F")
        return Secret(f"postgresql://{role}:{self.passwords[role]}@{host}/{dbname}")

    @contextmanager
    def clone(self) -> Iterator[str]:
        name = f"control_{secrets.token_hex(6)}"
        with connect(self.server) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {self.name} OWNER {OWNER_ROLE}")
        yield name
        with connect(self.server) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def connect(server: EmbeddedServer, dbname: str = "postgres") -> psycopg.Connection:
    return psycopg.connect(
        host=server.host,
        port=server.port,
        user="postgres",
        password=server.password.reveal(),
        dbname=dbname,
        autocommit=True,
    )


def make_control_template(server: EmbeddedServer) -> ControlTemplate:
    passwords = {role: secrets.token_hex(16) for role in (APP_ROLE, OWNER_ROLE)}
    with connect(server) as connection:
        for role, password in passwords.items():
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        connection.execute(f"CREATE DATABASE control_template OWNER {OWNER_ROLE}")
    template = ControlTemplate(server, "control_template", passwords)
    bootstrap.migrate(
        Settings(
            control=Control(
                dsn=template.dsn(APP_ROLE, template.name),
                owner_dsn=template.dsn(OWNER_ROLE, template.name),
            )
        )
    )
    return template


@dataclass
class World:
    """Shorthand for what people do, on the domain's own functions."""

    broker: Broker
    ports: Ports
    live: EmbeddedServer
    test: EmbeddedServer
    crm: str  # name of the tenant's database on the live server
    marks: Marks
    tenant: TenantId = field(default=TenantId(""))
    admin: Actor = field(default_factory=lambda: system("none"))
    engineer: Actor = field(default_factory=lambda: system("none"))
    operator: Actor = field(default_factory=lambda: system("none"))
    database_id: str = ""
    server_id: str = ""

    def work(self) -> None:
        """Run jobs until the queue is empty. A worker that finds none stops, also while a job that
        still runs is about to put another.
        """
        waiting = sa.text("SELECT 1 FROM procrastinate_jobs WHERE status = 'todo' LIMIT 1")
        while True:
            worker.open_desk(self.ports).work_due()
            self.broker.queue_app.run_worker(
                wait=False, concurrency=4, install_signal_handlers=False, listen_notify=False
            )
            with self.as_(system("tests")) as tx:
                if tx.session.scalar(waiting) is None:
                    return

    @contextmanager
    def as_(self, actor: Actor) -> Iterator[Tx]:
        with self.broker.database.begin(actor) as tx:
            yield tx

    def ticket(
        self, *, external_id: str | None = None, closed: bool = False, severity: str | None = None
    ) -> str:
        """What a look at the ticket system would have taken over."""
        identity = external_id or f"T-{secrets.token_hex(4)}"
        fetched = FetchedTicket(
            identity, "Totals are wrong", self.customer, closed, severity=severity
        )
        with self.as_(system("tickets")) as tx:
            seen = mirror.record_look(tx, SYSTEM, identity, fetched, missing_s=300)
            from broker import lifecycle

            lifecycle.take_look_at_ticket(tx, seen, self.broker.queue)
        assert seen.ticket_id is not None
        return seen.ticket_id

    def close_ticket(self, ticket_id: str) -> None:
        with self.as_(system("tickets")) as tx:
            external_id = tx.session.get_one(mirror.Ticket, ticket_id).external_id
        self.ticket(external_id=external_id, closed=True)

    @property
    def customer(self) -> str:
        with self.as_(system("tests")) as tx:
            return tenants.get_tenant(tx, self.tenant).ticket_customer

    def request(
        self, ticket_id: str | None = None, *, live_s: int = 3600, copy_s: int = 86400
    ) -> GrantId:
        ask = Ask(
            ticket_id=ticket_id or self.ticket(),
            database_id=self.database_id,
            category="customer_report",
            reason=REASON,
            live_s=live_s,
            copy_s=copy_s,
        )
        with self.as_(self.engineer) as tx:
            return requests.request(tx, ask, self.broker.settings.times, self.broker.queue)

    def grant(self, grant_id: str) -> Grant:
        with self.as_(system("tests")) as tx:
            return requests.get_grant(tx, grant_id)

    def approve(self, grant_id: str, narrowing: Narrowing = Narrowing()) -> None:  # noqa: B008
        shown = self.grant(grant_id).asked_digest or ""
        with self.as_(self.admin) as tx:
            deciding.approve(tx, grant_id, shown, narrowing)

    def approved(
        self,
        narrowing: Narrowing = Narrowing(),  # noqa: B008
        *,
        live_s: int = 3600,
        copy_s: int = 86400,
    ) -> GrantId:
        """A grant from request to approval."""
        grant_id = self.request(live_s=live_s, copy_s=copy_s)
        self.work()
        self.approve(grant_id, narrowing)
        return grant_id

    def lease(self, grant_id: str) -> tuple[LeaseId, Secret[str]]:
        password = new_password()
        with self.as_(self.engineer) as tx:
            lease_id = leases.ask_live(
                tx,
                grant_id,
                make_verifier(password),
                self.broker.queue,
                self.broker.settings.rates,
            )
        return lease_id, password

    def find_lease(self, lease_id: str) -> Lease:
        with self.as_(system("tests")) as tx:
            return leases.get_lease(tx, lease_id)

    def issue(self, lease_id: str) -> None:
        lease_steps.issue(self.broker.database, self.ports.keys, lease_id, self.broker.queue)

    def login(self, lease_id: str, password: Secret[str]) -> psycopg.Connection:
        """Connect as the engineer would; raises psycopg.OperationalError when refused."""
        lease = self.find_lease(lease_id)
        server = self.live if lease.database_id else self.test
        return psycopg.connect(
            host=server.host,
            port=server.port,
            dbname=lease.dbname,
            user=lease.role_name,
            password=password.reveal(),
            autocommit=True,
        )

    def order(self, grant_id: str) -> SnapshotId:
        with self.as_(self.engineer) as tx:
            return ordering.order(tx, grant_id, None, self.broker.queue)

    def snapshot(self, snapshot_id: str) -> Snapshot:
        with self.as_(system("tests")) as tx:
            return ordering.get_snapshot(tx, snapshot_id)

    def sandbox_lease(self, snapshot_id: str) -> tuple[LeaseId, Secret[str]]:
        password = new_password()
        with self.as_(self.engineer) as tx:
            lease_id = ordering.ask_sandbox_lease(
                tx,
                snapshot_id,
                make_verifier(password),
                self.broker.queue,
                self.broker.settings.rates,
            )
        return lease_id, password

    def entries(self, tenant_id: TenantId | None = None) -> list[dict]:
        """The tenant's audit entries, oldest first."""
        import json

        with self.as_(system("tests")) as tx:
            rows = tx.session.execute(
                sa.text(
                    "SELECT e.entry FROM audit_entry e JOIN audit_log l ON l.id = e.log_id "
                    "WHERE l.tenant_id = :t ORDER BY e.id"
                ),
                {"t": tenant_id or self.tenant},
            )
            return [json.loads(row.entry) for row in rows]

    def kinds(self) -> list[str]:
        return [entry["kind"] for entry in self.entries()]

    def find_on_server(
        self, server: EmbeddedServer, query: str, *values: object, dbname: str = "postgres"
    ) -> list[tuple]:
        with connect(server, dbname) as connection:
            return connection.execute(query, values).fetchall()


def add_person(tx: Tx, role: str, tenant_id: TenantId | None) -> Actor:
    side = "vendor" if tenant_id is None else "tenant"
    email = f"{role}.{secrets.token_hex(4)}@{side}.test"
    person_id = people.add_person(tx, side=side, email=email, name=f"{role} {secrets.token_hex(2)}")
    people.add_membership(tx, person_id, role, tenant_id)
    return Actor(side, "password", person_id)


def enrol(world: World, name: str) -> tuple[TenantId, Actor]:
    with world.as_(world.operator) as tx:
        tenant_id, person_id = tenants.enrol(
            tx,
            name=name,
            ticket_customer=f"cust-{secrets.token_hex(4)}",
            admin_email=f"admin.{secrets.token_hex(4)}@tenant.test",
            admin_name="Ada Admin",
            log_host=world.broker.settings.vendor.host,
        )
    admin = Actor("tenant", "password", PersonId(person_id))
    with world.as_(admin) as tx:
        for purpose in (LIVE_ACCESS, TEST_COPY):
            consent(tx, tenant_id, purpose)
    return tenant_id, admin


def consent(tx: Tx, tenant_id: TenantId, purpose: str) -> None:
    """As an admin who has read what stands there now."""
    ledger.give(tx, Consent(tenant_id, purpose), get_purpose(tx, purpose).digest("en"))


@contextmanager
def build_world(
    template: ControlTemplate,
    live: EmbeddedServer,
    test: EmbeddedServer,
    folder: Path,
    crm: str,
    marks: Marks,
) -> Iterator[World]:
    keyring = Keyring.create_folder(folder / "keyring")
    FolderStore.create_folder(folder / "store")
    others = list_ours(live, test)
    with template.clone() as dbname:
        settings = Settings(
            vendor=Vendor(name="Vendor", host="broker.test"),
            control=Control(
                dsn=template.dsn(APP_ROLE, dbname), owner_dsn=template.dsn(OWNER_ROLE, dbname)
            ),
            web=Web(secret_key=Secret(secrets.token_hex(32))),
            keys=Keys(keyring=folder / "keyring"),
            store=Store(folder=folder / "store"),
            times=Times(),
            outgoing=Outgoing(networks=["127.0.0.0/8"]),  # the tests' own servers
            rates=Rates(person=0, tenant=0, server=0),  # tests ask for more than people do
        )
        broker = bootstrap.build(settings)
        ports = bootstrap.build_ports(broker)
        worker.register(broker, ports, None)
        bootstrap.publish_keys(ports, broker.settings)
        world = World(broker, ports, live, test, crm, marks)
        with world.as_(system("tests")) as tx:
            world.operator = add_person(tx, "operator", None)
            world.engineer = add_person(tx, "engineer", None)
        world.tenant, world.admin = enrol(world, "First tenant")
        register_servers(world, keyring)
        try:
            yield world
        finally:
            end_everything(world, others)
            broker.close()


def register_servers(world: World, keyring: Keyring) -> None:
    world.database_id = register_database(world, keyring, world.tenant, world.crm)
    password = new_password()
    login = f"sab_host_{secrets.token_hex(4)}"
    with connect(world.test) as connection:
        version = connection.info.server_version
        text = setup_test_server_sql(login, make_verifier(password), server_version=version)
        connection.execute(text)
    context = login_context("server", world.test.host, world.test.port, login)
    with world.as_(world.operator) as tx:
        world.server_id = looked_at(
            tx,
            tenants.register_server(
                tx,
                TestServer(
                    name=f"test {secrets.token_hex(2)}",
                    host=world.test.host,
                    port=world.test.port,
                    login=login,
                    sealed_password=seal_login(keyring.intake_public(), password, context),
                ),
            ),
        )


def looked_at(tx: Tx, target: str) -> str:
    """As if a look had just found nothing: most tests are of other things."""
    row = Preflight(target=target, asked_at=tx.at, checked_at=tx.at, findings=[], fatal=0)
    row.unexplained, row.next_try_at = [], tx.at + EVERY
    tx.session.add(row)
    return target


def register_database(world: World, keyring: Keyring, tenant_id: TenantId, dbname: str) -> str:
    password = new_password()
    login = f"sab_broker_{secrets.token_hex(4)}"
    with connect(world.live, dbname) as connection:
        connection.execute(
            setup_sql(
                dbname,
                login,
                make_verifier(password),
                ["crm"],
                app_roles=["crm_app"],
                server_version=connection.info.server_version,
            )
        )
    context = login_context("database", world.live.host, world.live.port, login)
    with world.as_(world.operator) as tx:
        database_id = tenants.register_database(
            tx,
            tenant_id,
            TenantDatabase(
                name="CRM",
                host=world.live.host,
                port=world.live.port,
                dbname=dbname,
                login=login,
                sealed_password=seal_login(keyring.intake_public(), password, context),
                schemas=["crm"],
            ),
        )
        return looked_at(tx, database_id)


DATABASES = "SELECT datname::text FROM pg_database WHERE datname LIKE 'sab\\_%'"
ROLES = "SELECT rolname::text FROM pg_roles WHERE rolname ~ '^sab_(broker|host|l|b|s|o|u|decoy)_'"


def list_ours(*servers: EmbeddedServer) -> set[str]:
    """Databases and roles that worlds made there."""
    found: set[str] = set()
    for server in servers:
        with connect(server) as connection:
            found |= {name for (name,) in connection.execute(f"{DATABASES} UNION ALL {ROLES}")}
    return found


def end_everything(world: World, others: set[str]) -> None:
    """Take away what the test left on the shared servers; `others` are of a world that goes on."""
    with connect(world.test) as connection:
        for (name,) in connection.execute(DATABASES).fetchall():
            if name not in others:
                _drop_database(connection, name)
        _drop_roles(connection, others)
    with connect(world.live) as connection:
        _drop_database(connection, world.crm)
        _drop_roles(connection, others)


def _drop_database(connection: psycopg.Connection, name: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _drop_roles(connection: psycopg.Connection, others: set[str]) -> None:
    """Roles of this world on a server that other tests use too."""
    names = [name for (name,) in connection.execute(ROLES).fetchall() if name not in others]
    for name in names:
        identifier = sql.Identifier(name)
        connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(identifier))
    for name in names:
        with contextlib.suppress(psycopg.errors.DependentObjectsStillExist):  # another test's
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def make_crm_template(live: EmbeddedServer, *, scale: float) -> Marks:
    """A small CRM to clone per test."""
    marks = new_marks()
    with connect(live) as connection:
        connection.execute("CREATE DATABASE crm_template")
    build_crm(
        Target(live.host, live.port, "crm_template", "postgres", live.password),
        marks=marks,
        scale=scale,
    )
    return marks


_marks: dict[Path, Marks] = {}


def find_crm_marks(live: EmbeddedServer) -> Marks:
    """Of the template that stands on this server, made when it is first asked for."""
    if live.folder not in _marks:
        _marks[live.folder] = make_crm_template(live, scale=0.01)
    return _marks[live.folder]


def clone_crm(live: EmbeddedServer) -> str:
    name = f"crm_{secrets.token_hex(6)}"
    with connect(live) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE crm_template")
    return name


__all__ = ["World", "signin"]
