"""Tenants, and the servers that are registered: their live databases, and our test servers.

The vendor enrols a tenant's first admin once, as the first entry of that tenant's log; from then on
only that tenant's admins make or change its people.

A registered login is sealed to the key port's public key before it gets here (see
`broker.keys.intake`): this module stores bytes that it can't open.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from broker import people, tenancy, trail
from broker.addresses import parse_address
from broker.db import Base, Json
from broker.errors import NOT_THERE, Conflict, Invalid, NotFound
from broker.ids import DatabaseId, PersonId, ServerId, TenantId, new_id
from broker.tenancy import Tenancy
from broker.trail import Personal
from broker.tx import Tx

_NAME = re.compile(r"\A[^\x00-\x1f]{1,200}\Z")


KINDS = ("shared", "dedicated")  # of test servers


class Tenant(Base):
    """`ticket_customer` is the tenant's id in the ticket system; `log_origin` names its log.
    `legal_id` is who it is in law (`legal_ids`), None for one enrolled before that was asked;
    `copies_bytes` is what its copies may take at once, None for as much as there is.
    """

    __tablename__ = "tenant"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    ticket_customer: Mapped[str] = mapped_column(unique=True)
    log_origin: Mapped[str]
    created_at: Mapped[datetime]
    legal_id: Mapped[str | None]
    copies_bytes: Mapped[int | None]
    left_at: Mapped[datetime | None]


class Contacted:
    """Which cluster is there and on which timeline it was swept, and since when our login is
    refused (see `grants.contacts`); the password that is to follow (see `grants.rotating`).
    """

    next_sealed_password: Mapped[bytes | None]
    rotated_at: Mapped[datetime | None]
    refused_since: Mapped[datetime | None]
    cluster: Mapped[str | None]
    timeline: Mapped[int | None]
    found_cluster: Mapped[str | None]


class TenantDatabase(Base, Contacted):
    """`known_logins`: others than ours that may log in to the server, as the tenant named them.
    `standbys` are HOST:PORT of each on which the end of a login is confirmed too.
    `tenancy` is which part of the database is this tenant's (`Tenancy.document`).
    """

    __tablename__ = "tenant_database"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    name: Mapped[str]
    host: Mapped[str]
    port: Mapped[int]
    dbname: Mapped[str]
    login: Mapped[str]
    sealed_password: Mapped[bytes]
    ca_file: Mapped[str | None]
    schemas: Mapped[list[str]]
    known_logins: Mapped[list[str]] = mapped_column(server_default="{}")
    standbys: Mapped[list[str]] = mapped_column(server_default="{}")
    released_until: Mapped[datetime | None]
    tenancy: Mapped[Json] = mapped_column(JSONB, server_default='{"form": "database"}')
    drills_since: Mapped[datetime | None]
    drill_every_s: Mapped[int | None]
    registered_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]

    @property
    def whose(self) -> Tenancy:
        """Raises Invalid if the row was changed into what could not be registered."""
        return tenancy.from_document(self.tenancy)


class TestServer(Base, Contacted):
    """`kind`: `shared`, one server for many copies; or `dedicated`, a host on which each copy gets
    a server of its own, on ports from `port` on. What is met, swept and checked are shared ones.
    `capacity_bytes`: what copies may take there, None for no bound of ours.
    """

    __tablename__ = "test_server"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    host: Mapped[str]
    port: Mapped[int]
    login: Mapped[str]
    sealed_password: Mapped[bytes]
    ca_file: Mapped[str | None]
    kind: Mapped[str] = mapped_column(default="shared")
    capacity_bytes: Mapped[int | None]
    registered_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]

    @property
    def is_dedicated(self) -> bool:
        return self.kind == "dedicated"


class PublishedKey(Base):
    """Public keys that workers publish, so that processes without the key port can show them."""

    __tablename__ = "published_key"
    name: Mapped[str] = mapped_column(primary_key=True)
    public: Mapped[bytes]
    at: Mapped[datetime]


def check_name(name: str) -> str:
    """The name without blanks around it. Raises Invalid."""
    if not _NAME.match(name) or not name.strip():
        raise Invalid("a name has 1 to 200 characters", fields={"name": "1 to 200 characters"})
    return name.strip()


def enrol(
    tx: Tx,
    *,
    name: str,
    ticket_customer: str,
    admin_email: str,
    admin_name: str,
    log_host: str,
    legal_id: str | None = None,
) -> tuple[TenantId, PersonId]:
    """Make a tenant with its log and its first admin, which is the log's first entry."""
    people.check(tx, "tenant:create")
    if tx.session.scalar(sa.select(Tenant.id).where(Tenant.ticket_customer == ticket_customer)):
        raise Conflict(f"customer {ticket_customer} of the ticket system is enrolled already")
    tenant_id = TenantId(new_id("tnt"))
    tenant = Tenant(
        id=tenant_id,
        name=check_name(name),
        ticket_customer=check_name(ticket_customer),
        log_origin="",
        created_at=tx.at,
        legal_id=legal_id,
    )
    tx.session.add(tenant)
    tx.session.flush()
    tenant.log_origin = trail.create_log(tx, tenant_id, log_host)
    person_id = people.add_person(tx, side="tenant", email=admin_email, name=admin_name)
    shown = people.Shown(admin_name.strip(), admin_email.strip())
    people.add_membership(tx, person_id, "admin", tenant_id, shown=shown, kind="admin.enrolled")
    trail.record(tx, None, "tenant.enrolled", tenant_id, {}, _named(legal_id))
    return tenant_id, person_id


def identify(tx: Tx, tenant_id: TenantId, legal_id: str) -> None:
    """Note who a tenant is in law, in the vendor's log and in its own."""
    tenant = get_tenant(tx, tenant_id)
    if tenant.legal_id == legal_id:
        return
    tenant.legal_id = legal_id
    for log in (None, tenant_id):
        trail.record(tx, log, "tenant.identified", tenant_id, {}, _named(legal_id))


def mark_left(tx: Tx, tenant_id: TenantId) -> None:
    """From now on nothing begins there any more (`broker.departures`)."""
    tenant = get_tenant(tx, tenant_id)
    tx.session.refresh(tenant, with_for_update=True)
    tenant.left_at = tx.at
    tx.session.flush()


def check_not_left(tx: Tx, tenant_id: str) -> None:
    """Raises Conflict for a customer that left; a trigger refuses what gets past this."""
    left = get_tenant(tx, tenant_id).left_at
    if left is not None:
        raise Conflict(f"this customer left on {left:%Y-%m-%d}; nothing begins there any more")


def _named(legal_id: str | None) -> list[Personal]:
    """A sole trader's number names a person."""
    return [Personal("legal_id", legal_id)] if legal_id else []


def register_database(tx: Tx, tenant_id: TenantId, database: TenantDatabase) -> DatabaseId:
    """Store a live database of a tenant: its standing consent to read the catalogue (G1)."""
    people.check(tx, "database:register", tenant_id)
    check_not_left(tx, tenant_id)
    database.id = new_id("dbs")
    database.tenant_id = tenant_id
    database.name = check_name(database.name)
    database.registered_at = tx.at
    database.tenancy = tenancy.from_document(
        database.tenancy or {"form": tenancy.DATABASE}
    ).document()
    database.standbys = _check_standbys(database, database.standbys or [])
    _check_apart(tx, database)
    tx.session.add(database)
    tx.session.flush()
    facts = {"engine": "postgresql", "port": database.port, "tenancy": database.whose.form}
    personal = [Personal("address", f"{database.host}/{database.dbname}")]
    if database.whose.is_shared:
        personal.append(Personal("part", {"schemas": database.schemas, **database.tenancy}))
    if database.known_logins:
        personal.append(Personal("logins", database.known_logins))
    if database.standbys:
        personal.append(Personal("standbys", database.standbys))
    trail.record(tx, tenant_id, "database.registered", database.id, facts, personal)
    return DatabaseId(database.id)


def _check_apart(tx: Tx, database: TenantDatabase) -> None:
    """No two tenants have the same rows. Only the vendor registers, and may know of both."""
    query = sa.select(TenantDatabase).where(
        TenantDatabase.host == database.host,
        TenantDatabase.port == database.port,
        TenantDatabase.dbname == database.dbname,
        TenantDatabase.tenant_id != database.tenant_id,
        TenantDatabase.removed_at.is_(None),
    )
    mine = (database.whose, set(database.schemas))
    for other in tx.session.scalars(query.order_by(TenantDatabase.id)):
        if tenancy.overlap(mine, (other.whose, set(other.schemas))):
            raise Conflict(
                f"{other.id} of another tenant is the same part of {database.dbname}; register "
                "each with its own schemas, or with its own tenant key",
                other=other.id,
            )


def register_logins(tx: Tx, database_id: str, names: Sequence[str]) -> TenantDatabase:
    """Replace the logins that are known there beside ours. The tenant's alone to do: whoever may
    name a login as known keeps it from being told (see `grants.preflight_steps`).
    """
    database = get_database(tx, database_id)
    tenant_id = TenantId(database.tenant_id)
    people.check(tx, "login:register", tenant_id)
    database.known_logins = sorted(set(names))
    logins = [Personal("logins", database.known_logins)]
    trail.record(tx, tenant_id, "database.logins_registered", database.id, {}, logins)
    return database


def register_standbys(tx: Tx, database_id: str, addresses: Sequence[str]) -> TenantDatabase:
    """Replace the standbys on which the ends of logins are confirmed. In the tenant's log, for
    whoever takes one off says that nothing is open there any more.
    """
    database = get_database(tx, database_id)
    tenant_id = TenantId(database.tenant_id)
    people.check(tx, "database:register", tenant_id)
    database.standbys = _check_standbys(database, addresses)
    facts = {"named": len(database.standbys)}
    named = [Personal("standbys", database.standbys)]
    trail.record(tx, tenant_id, "database.standbys_registered", database.id, facts, named)
    return database


def _check_standbys(database: TenantDatabase, addresses: Sequence[str]) -> list[str]:
    found = sorted(set(addresses))
    if (database.host, database.port) in map(parse_address, found):
        raise Invalid(f"{database.host}:{database.port} is the database itself, not its standby")
    return found


def register_server(tx: Tx, server: TestServer) -> ServerId:
    """Store an internal test server, where sandboxes will run."""
    people.check(tx, "server:register")
    server.id = new_id("srv")
    server.name = check_name(server.name)
    server.registered_at = tx.at
    server.kind = server.kind or "shared"
    if server.kind not in KINDS:
        raise Invalid("a test server is shared or dedicated", fields={"kind": ", ".join(KINDS)})
    if tx.session.scalar(sa.select(TestServer.id).where(TestServer.name == server.name)):
        raise Conflict(f"a test server named {server.name} is registered already")
    tx.session.add(server)
    tx.session.flush()
    trail.record(tx, None, "server.registered", server.id, {"kind": server.kind})
    return ServerId(server.id)


def set_capacity(tx: Tx, server_id: str, capacity_bytes: int | None) -> TestServer:
    """Say what copies may take on a test server. Those that are there stay."""
    people.check(tx, "server:register")
    server = get_server(tx, server_id)
    server.capacity_bytes = capacity_bytes
    trail.record(tx, None, "server.bounded", server.id, {"bytes": capacity_bytes or 0})
    return server


def set_copies_quota(tx: Tx, tenant_id: TenantId, copies_bytes: int | None) -> Tenant:
    """Say what a customer's copies may take at once. Those that are there stay."""
    people.check(tx, "tenant:create", tenant_id)
    tenant = get_tenant(tx, tenant_id)
    tenant.copies_bytes = copies_bytes
    trail.record(tx, None, "tenant.bounded", tenant_id, {"bytes": copies_bytes or 0})
    return tenant


def get_tenant(tx: Tx, tenant_id: str) -> Tenant:
    tenant = tx.session.get(Tenant, tenant_id)
    if tenant is None:
        raise NotFound(NOT_THERE)
    return tenant


def get_database(tx: Tx, database_id: str, *, share: bool = False) -> TenantDatabase:
    """Raises NotFound. With `share` it is locked FOR SHARE, and read as it is then."""
    how = {"read": True} if share else None
    row = tx.session.get(TenantDatabase, database_id, with_for_update=how, populate_existing=share)
    if row is None or row.removed_at is not None:
        raise NotFound(NOT_THERE)
    return row


def get_server(tx: Tx, server_id: str) -> TestServer:
    row = tx.session.get(TestServer, server_id)
    if row is None or row.removed_at is not None:
        raise NotFound("there is no such test server")
    return row


def list_tenants(tx: Tx) -> Sequence[Tenant]:
    """All for the vendor's people; their own for a tenant's."""
    query = sa.select(Tenant).order_by(Tenant.name)
    if tx.actor.side == "tenant":
        query = query.where(Tenant.id.in_(people.list_tenants_of_actor(tx)))
    elif tx.actor.side == "vendor":
        query = query.where(Tenant.id.in_(people.list_readable(tx, "tenant:read")))
    return tx.session.scalars(query).all()


def list_databases(tx: Tx, tenant_id: TenantId | None = None) -> Sequence[TenantDatabase]:
    """Of one tenant, or of all that the actor may read."""
    readable = people.list_readable(tx, "database:read", tenant_id)
    query = sa.select(TenantDatabase).where(
        TenantDatabase.tenant_id.in_(readable), TenantDatabase.removed_at.is_(None)
    )
    return tx.session.scalars(query.order_by(TenantDatabase.name)).all()


def list_servers(tx: Tx) -> Sequence[TestServer]:
    query = sa.select(TestServer).where(TestServer.removed_at.is_(None))
    return tx.session.scalars(query.order_by(TestServer.name)).all()


def publish_key(tx: Tx, name: str, public: bytes) -> None:
    row = tx.session.get(PublishedKey, name)
    if row is None and not public:
        return
    if row is None:
        tx.session.add(PublishedKey(name=name, public=public, at=tx.at))
    elif row.public != public:
        row.public, row.at = public, tx.at
        trail.record(tx, None, "key.published", name)


def find_published_key(tx: Tx, name: str) -> bytes | None:
    row = tx.session.get(PublishedKey, name)
    return row.public if row else None
