"""Frozen views of copies for the outer layers; each checks who asks."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from broker import people
from broker.grants.model import PlanRow
from broker.ids import PersonId, TenantId
from broker.paging import NEWEST, Page, paged
from broker.people import Person
from broker.snapshots.attesting import Attestation
from broker.snapshots.certificate_pdf import Names, Shown
from broker.snapshots.certificates import check_readable as check_certificate_readable
from broker.snapshots.certificates import read_statement
from broker.snapshots.holds import LegalHold
from broker.snapshots.model import Certificate, Remnant, Revocation, Snapshot
from broker.snapshots.ordering import check_readable
from broker.tenants import Tenant, TenantDatabase
from broker.tx import Tx

VALIDITIES = ("valid", "revoked")  # of a certificate


@dataclass(frozen=True, slots=True)
class SnapshotView:
    """`progress`: `step`, `tables_done`, `tables`, `bytes`; `report`: what differs from origin;
    `attested`: what its requester said last that they took out of it; `develop`: logins may change
    its definitions too; `dedicated`: on a server of its own.
    """

    id: str
    tenant_id: str
    tenant_name: str
    grant_id: str
    database_id: str
    server_id: str
    requester: str
    requester_id: str
    state: str
    state_at: datetime
    being_reset: bool
    plan_digest: str
    ordered_at: datetime
    ready_at: datetime | None
    ends_at: datetime
    condemned_at: datetime | None
    condemned_why: str | None
    destroyed_at: datetime | None
    held_until: datetime | None
    progress: Mapping[str, Any]
    report: Mapping[str, Any] | None
    attempts: int
    stuck_since: datetime | None
    stuck_reason: str | None
    attested: str | None
    develop: bool
    dedicated: bool
    needed_bytes: int
    certificate_id: str | None


@dataclass(frozen=True, slots=True)
class CertificateView:
    id: str
    tenant_id: str
    snapshot_id: str
    issued_at: datetime
    envelope: bytes
    revoked_at: datetime | None


def _snapshots() -> sa.Select[*tuple[Any, ...]]:
    """Each copy once, with its valid certificate: one that a remnant proved wrong is none."""
    wrong = sa.select(Remnant.id).where(Remnant.certificate_id == Certificate.id).exists()
    attested = (
        sa.select(Attestation.took)
        .where(Attestation.snapshot_id == Snapshot.id)
        .order_by(Attestation.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return (
        sa.select(
            Snapshot,
            Tenant.name.label("tenant"),
            Person.name.label("requester"),
            Certificate.id.label("certificate"),
            LegalHold.ends_at.label("held_until"),
            attested.label("attested"),
            PlanRow.document["copy"].label("copy_plan"),
        )
        .join(Tenant, Tenant.id == Snapshot.tenant_id)
        .join(Person, Person.id == Snapshot.requester_id)
        .outerjoin(
            PlanRow,
            sa.and_(PlanRow.grant_id == Snapshot.grant_id, PlanRow.digest == Snapshot.plan_digest),
        )
        .outerjoin(Certificate, sa.and_(Certificate.snapshot_id == Snapshot.id, ~wrong))
        .outerjoin(
            LegalHold,
            sa.and_(LegalHold.snapshot_id == Snapshot.id, LegalHold.state == "in_force"),
        )
    )


def _view(row: sa.Row[Any]) -> SnapshotView:
    snapshot: Snapshot = row.Snapshot
    return SnapshotView(
        id=snapshot.id,
        tenant_id=snapshot.tenant_id,
        tenant_name=row.tenant,
        grant_id=snapshot.grant_id,
        database_id=snapshot.database_id,
        server_id=snapshot.server_id,
        requester=row.requester,
        requester_id=snapshot.requester_id,
        state=snapshot.state,
        state_at=snapshot.state_at,
        being_reset=snapshot.being_reset,
        plan_digest=snapshot.plan_digest,
        ordered_at=snapshot.ordered_at,
        ready_at=snapshot.ready_at,
        ends_at=snapshot.ends_at,
        condemned_at=snapshot.condemned_at,
        condemned_why=snapshot.condemned_why,
        destroyed_at=snapshot.destroyed_at,
        held_until=row.held_until,
        progress=snapshot.progress,
        report=snapshot.report,
        attempts=snapshot.attempts,
        stuck_since=snapshot.stuck_since,
        stuck_reason=snapshot.stuck_reason,
        attested=row.attested,
        dedicated=snapshot.port is not None,
        needed_bytes=snapshot.needed_bytes,
        develop=bool((row.copy_plan or {}).get("develop")),
        certificate_id=row.certificate,
    )


def get_snapshot_view(tx: Tx, snapshot_id: str) -> SnapshotView:
    """Raises NotFound, the same for none and for another tenant's (G12)."""
    check_readable(tx, snapshot_id)
    return _view(tx.session.execute(_snapshots().where(Snapshot.id == snapshot_id)).one())


def list_snapshots(
    tx: Tx,
    tenant_id: TenantId | None = None,
    *,
    grant_id: str | None = None,
    requester_id: PersonId | None = None,
    states: Sequence[str] = (),
    page: Page = NEWEST,
) -> list[SnapshotView]:
    query = paged(_snapshots(), Snapshot.ordered_at, Snapshot.id, page)
    query = query.where(
        Snapshot.tenant_id.in_(people.list_readable(tx, "snapshot:read", tenant_id))
    )
    if grant_id is not None:
        query = query.where(Snapshot.grant_id == grant_id)
    if requester_id is not None:
        query = query.where(Snapshot.requester_id == requester_id)
    if states:
        query = query.where(Snapshot.state.in_(states))
    return [_view(row) for row in tx.session.execute(query)]


def list_certificates(
    tx: Tx,
    tenant_id: TenantId | None = None,
    *,
    states: Collection[str] = (),
    page: Page = NEWEST,
) -> list[CertificateView]:
    query = paged(_certificates(), Certificate.issued_at, Certificate.id, page)
    readable = people.list_readable(tx, "certificate:read", tenant_id)
    query = query.where(Certificate.tenant_id.in_(readable))
    if states:
        valid = Revocation.revoked_at.is_(None)
        query = query.where(sa.or_(*(valid if one == "valid" else ~valid for one in states)))
    return [_certificate_view(row) for row in tx.session.execute(query)]


def get_certificate_view(tx: Tx, certificate_id: str) -> CertificateView:
    """Raises NotFound, the same for none and for another tenant's (G12)."""
    check_certificate_readable(tx, certificate_id)
    query = _certificates().where(Certificate.id == certificate_id)
    return _certificate_view(tx.session.execute(query).one())


def get_shown_certificate(tx: Tx, certificate_id: str, vendor: str) -> Shown:
    """A certificate with the names that its readers may see and that it doesn't hold itself."""
    certificate = get_certificate_view(tx, certificate_id)
    copy = get_snapshot_view(tx, certificate.snapshot_id)
    # A certificate outlives the registration of its database.
    database = tx.session.get_one(TenantDatabase, copy.database_id).name
    return Shown(
        statement=read_statement(certificate.envelope),
        digest=hashlib.sha256(certificate.envelope).hexdigest(),
        names=Names(vendor, copy.tenant_name, database, copy.requester),
        revoked_at=certificate.revoked_at,
    )


def _certificates() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(Certificate, Revocation.revoked_at).outerjoin(
        Revocation, Revocation.certificate_id == Certificate.id
    )


def _certificate_view(row: sa.Row[Any]) -> CertificateView:
    found: Certificate = row.Certificate
    return CertificateView(
        id=found.id,
        tenant_id=found.tenant_id,
        snapshot_id=found.snapshot_id,
        issued_at=found.issued_at,
        envelope=found.envelope,
        revoked_at=row.revoked_at,
    )
