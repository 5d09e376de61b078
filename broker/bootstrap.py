"""Builds the few long-lived objects from the settings, and passes them: no globals, no registry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import procrastinate
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from broker import people, signin, tenants, trail
from broker.consents.purposes import load_purposes
from broker.db import Database, make_engine
from broker.engines.postgres.dedicated.cluster import Tls
from broker.engines.postgres.dedicated.host import SandboxHost, make_host
from broker.engines.postgres.masks import MASKS, TEXT_MASKS
from broker.errors import Conflict, SettingsError
from broker.grants import token_keys
from broker.grants.policy import load_policy
from broker.ids import PersonId
from broker.jobs import Queue, open_queue
from broker.keys import LOG_KEY, ML_DSA_KEY, STATEMENTS_KEY
from broker.keys.building import build_keys
from broker.keys.intake import INTAKE_KEY
from broker.keys.ml_dsa import MlDsaKey
from broker.retention.schedule import load_schedule
from broker.secret import Secret
from broker.settings import Host, Settings
from broker.snapshots.ports import Ports
from broker.stores.building import build_store
from broker.stores.sts import StsSessions
from broker.tickets import TicketSystem, building
from broker.tx import Tx, system

_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = int.from_bytes(hashlib.sha256(b"broker migrations").digest()[:8], signed=True)


@dataclass(frozen=True, slots=True)
class Broker:
    """What every process has: settings, the control database, the queue. No key port."""

    settings: Settings
    database: Database
    queue_app: procrastinate.App
    queue: Queue

    def close(self) -> None:
        self.database.close()


def build(settings: Settings) -> Broker:
    database = Database(settings.control.dsn)
    return Broker(settings, database, open_queue(settings.control.dsn), Queue())


def build_ports(broker: Broker) -> Ports:
    """The outside world of a worker: key port, store, masking policy. Raises SettingsError."""
    settings = broker.settings
    store, listing = build_store(settings.store)
    return Ports(
        database=broker.database,
        queue=broker.queue,
        keys=build_keys(settings.keys),
        store=store,
        listing=listing,
        host=build_host(settings.host),
        policy=load_policy(settings.tools.config / "masking.toml", frozenset(MASKS), TEXT_MASKS),
        sessions=StsSessions(settings.sts, settings.sts.role) if settings.sts.role else None,
    )


def build_host(settings: Host) -> SandboxHost | None:
    """The agent of dedicated servers, where this worker is on their host.

    Raises HostUnavailable, SettingsError.
    """
    if settings.folder is None:
        return None
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingsError("set both BROKER_HOST__TLS_CERT and BROKER_HOST__TLS_KEY, or neither")
    tls = (
        Tls(settings.tls_cert, settings.tls_key) if settings.tls_cert and settings.tls_key else None
    )
    return make_host(settings.folder, user=settings.user, install=settings.postgres, tls=tls)


def build_tickets(settings: Settings) -> TicketSystem | None:
    """The ticket system, where one is set."""
    return building.build_tickets(settings.tickets)


def migrate(settings: Settings) -> None:
    """Bring the control database to the newest form, as its owner; one process at a time."""
    if settings.control.owner_dsn is None:
        raise SettingsError(
            "the setting control.owner_dsn is missing; set BROKER_CONTROL__OWNER_DSN"
        )
    engine = make_engine(settings.control.owner_dsn)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    try:
        with engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()
    database = Database(settings.control.dsn)
    try:
        with database.begin(system("migrate")) as tx:
            people.load_permissions(tx, settings.tools.config / "permissions.toml")
            if tx.session.scalar(_vendor_log()) is None:
                trail.create_log(tx, None, settings.vendor.host)
            load_purposes(tx, settings.tools.config / "purposes.toml")
            load_schedule(tx, settings.tools.config / "retention.toml")
    finally:
        database.close()


def newest_revision() -> str | None:
    """The form of the control database that this program is made for."""
    return ScriptDirectory(str(_MIGRATIONS)).get_current_head()


def _vendor_log() -> sa.Select[str]:
    return sa.select(trail.AuditLog.id).where(
        trail.AuditLog.tenant_id.is_(None), ~trail.AuditLog.root
    )


def build_cosigner(settings: Settings) -> MlDsaKey | None:
    """Raises SettingsError, KeyUnavailable."""
    if not settings.log.ml_dsa or settings.keys.keyring is None:
        return None
    return MlDsaKey(settings.keys.keyring)


def publish_keys(ports: Ports, settings: Settings) -> None:
    """Let processes without the key port show the public keys."""
    with ports.database.begin(system("worker")) as tx:
        for purpose in (LOG_KEY, STATEMENTS_KEY):
            tenants.publish_key(tx, purpose, ports.keys.public(purpose))
            others = [*ports.keys.list_former(purpose)]
            if (following := ports.keys.find_next(purpose)) is not None:
                others.append(following)
            tenants.publish_key(tx, f"{purpose}/others", b"".join(others))
        if (cosigner := build_cosigner(settings)) is not None:
            tenants.publish_key(tx, ML_DSA_KEY, cosigner.public())
        tenants.publish_key(tx, INTAKE_KEY, ports.keys.intake_public())
    token_keys.turn(ports.database, ports.keys)


def add_first_operator(tx: Tx, email: str, name: str, password: Secret[str]) -> PersonId:
    """Make the vendor's first operator; refused when the vendor has people already."""
    if people.list_members(tx, None):
        raise Conflict("the vendor has people already; an operator adds others")
    person_id = people.add_person(tx, side="vendor", email=email, name=name)
    people.add_membership(tx, person_id, "operator", None)
    signin.set_password(tx, person_id, password)
    return person_id
