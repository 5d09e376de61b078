"""What stands somewhere without a row, made by the engines alone, and what was told of it."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime

import psycopg
import sqlalchemy as sa
from psycopg import sql

from broker import tenants
from broker.engines import Target
from broker.engines.postgres import leases as roles
from broker.engines.postgres.copying import sandbox
from broker.engines.postgres.leases import LeaseRole
from broker.engines.postgres.scopes import Scope, View, make_scope
from broker.engines.postgres.scram import make_verifier, new_password
from broker.finds import Find
from broker.grants.targets import live_target, server_target
from broker.ids import TenantId, new_id
from broker.labels import Label
from broker.secret import Secret
from broker.tx import system
from tests.world import (
    World,
)

FAR = datetime(2090, 1, 1, tzinfo=UTC)  # a label's end decides nothing here
OURS = "SELECT rolname FROM pg_roles WHERE rolname ~ '^sab_(l|s|o|u)_' ORDER BY 1"
SANDBOXES = "SELECT datname FROM pg_database WHERE datname ~ '^sab_[a-z2-7]{26}$'"


def live(world: World, database_id: str = "") -> Target:
    with world.as_(system("tests")) as tx:
        row = tenants.get_database(tx, database_id or world.database_id)
        return live_target(world.ports.keys, row)


def copies(world: World) -> Target:
    with world.as_(system("tests")) as tx:
        return server_target(world.ports.keys, tenants.get_server(tx, world.server_id))


def told(world: World, tenant_id: TenantId | None) -> list[tuple[str, str]]:
    """(kind of entry, kind of thing) of all that the janitor wrote into a log, oldest first."""
    with world.as_(system("tests")) as tx:
        rows = tx.session.execute(
            sa.text(
                "SELECT e.entry FROM audit_entry e JOIN audit_log l ON l.id = e.log_id "
                "WHERE l.tenant_id IS NOT DISTINCT FROM :t ORDER BY e.id"
            ),
            {"t": tenant_id},
        )
        found = [json.loads(row.entry) for row in rows]
    return [
        (entry["kind"], entry["facts"]["kind"])
        for entry in found
        if "kind" in entry["facts"]
        and entry["kind"].partition(".")[0] in {"orphan", "remnant", "stranger"}
    ]


def list_open(world: World) -> list[Find]:
    with world.as_(system("tests")) as tx:
        return list(tx.session.scalars(sa.select(Find).where(Find.over_at.is_(None))))


def make_login(
    world: World, target: Target, lease_id: str = "", *, ends_at: datetime = FAR
) -> tuple[str, Secret[str]]:
    """A scope and a login of ours on a live server, made by the engine alone: no row knows them."""
    key, scope = world.ports.keys.label_key(), f"sab_s_{secrets.token_hex(6)}"
    identity, role = lease_id or new_id("lse"), f"sab_l_{secrets.token_hex(8)}"
    views = (View("companies", sql.Composed([sql.SQL("SELECT id FROM crm.companies")])),)
    label = Label("scope", identity, FAR, scope).text(key)
    make_scope(target, Scope(scope, views), label, keyed=True)
    password = new_password()
    label = Label("lease", identity, ends_at, role).text(key)
    roles.issue(target, LeaseRole(role, scope, make_verifier(password), ends_at, label))
    return role, password


def log_in(target: Target, role: str, password: Secret[str]) -> psycopg.Connection:
    return psycopg.connect(
        host=target.host,
        port=target.port,
        dbname=target.dbname,
        user=role,
        password=password.reveal(),
        autocommit=True,
    )


def is_dead(session: psycopg.Connection) -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def make_sandbox(world: World, snapshot_id: str) -> None:
    """A sandbox with its two roles and its labels, as a copy makes it."""
    key, server = world.ports.keys.label_key(), copies(world)
    name, owner, use = (f"sab_{part}{snapshot_id[4:]}" for part in ("", "o_", "u_"))

    def label(place: str) -> str:
        return Label("sandbox", snapshot_id, FAR, place).text(key)

    sandbox.create_sandbox(server, sandbox.NewSandbox(name, label(name), owner, label(owner)))
    sandbox.create_role(server, use, label(use))
    sandbox.grant_connect(server, name, use)


def put_object(world: World, name: str) -> None:
    with world.ports.store.create(name) as sink:
        sink.write(b"something")
