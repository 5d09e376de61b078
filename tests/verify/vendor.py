"""What a vendor can do to its customers' logs: everything, in the database and with its keys."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import psycopg
import sqlalchemy as sa

from broker import tenants
from broker.audit.export import Export, begin_export, stream, verifier_keys
from broker.audit.integrate import integrate_all
from broker.audit.note import VerifierKey
from broker.db import Database
from broker.ids import PersonId, TenantId
from broker.keys import LOG_KEY, STATEMENTS_KEY
from broker.keys.keyring import Keyring
from broker.snapshots import certificates
from broker.trail import AuditCheckpoint, AuditLog
from broker.tx import Actor, Tx, system
from tests.world import ControlTemplate, add_person, connect


def whole(tx: Tx, export: Export) -> bytes:
    return b"".join(stream(lambda: nullcontext(tx), export))


@dataclass
class Vendor:
    """Its own people act through `as_`; `superuser` goes past every guard of the database."""

    database: Database
    keys: Keyring
    template: ControlTemplate
    dbname: str
    operator: Actor = field(default_factory=lambda: system("none"))
    officer: Actor = field(default_factory=lambda: system("none"))

    def __post_init__(self) -> None:
        with self.as_(system("tests")) as tx:
            self.operator = add_person(tx, "operator", None)
            self.officer = add_person(tx, "privacy_officer", None)

    @contextmanager
    def as_(self, actor: Actor) -> Iterator[Tx]:
        with self.database.begin(actor) as tx:
            yield tx

    @contextmanager
    def superuser(self) -> Iterator[psycopg.Connection]:
        with connect(self.template.server, self.dbname) as connection:
            yield connection

    def enrol(self, admin_name: str = "Ada Admin") -> tuple[TenantId, PersonId]:
        host = self.origin(None).partition("/")[0]
        with self.as_(self.operator) as tx:
            return tenants.enrol(
                tx,
                name=f"Tenant {secrets.token_hex(4)}",
                ticket_customer=f"cust-{secrets.token_hex(4)}",
                admin_email=f"admin.{secrets.token_hex(4)}@tenant.test",
                admin_name=admin_name,
                log_host=host,
            )

    def integrate(self) -> int:
        return integrate_all(self.database, self.keys)

    def origin(self, tenant_id: TenantId | None) -> str:
        with self.as_(system("tests")) as tx:
            query = sa.select(AuditLog.origin).where(
                AuditLog.tenant_id.is_not_distinct_from(tenant_id), ~AuditLog.root
            )
            return tx.session.scalars(query).one()

    def pinned(self, tenant_id: TenantId | None) -> list[VerifierKey]:
        """The keys that a customer was given at its enrolment."""
        log, statements = self.keys.public(LOG_KEY), self.keys.public(STATEMENTS_KEY)
        texts = verifier_keys(self.origin(tenant_id), log, statements)
        return [VerifierKey.parse(text) for text in texts]

    def export(self, tenant_id: TenantId | None) -> bytes:
        with self.as_(system("tests")) as tx:
            return whole(tx, begin_export(tx, tenant_id, [], certificates.list_envelopes))

    def last_checkpoint(self, tenant_id: TenantId | None) -> str:
        with self.as_(system("tests")) as tx:
            query = (
                sa.select(AuditCheckpoint.note)
                .join(AuditLog, AuditLog.id == AuditCheckpoint.log_id)
                .where(AuditLog.tenant_id.is_not_distinct_from(tenant_id), ~AuditLog.root)
                .order_by(AuditCheckpoint.size.desc())
                .limit(1)
            )
            return tx.session.scalars(query).one()
