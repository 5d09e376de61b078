"""Frozen views of grants, plans and leases for the outer layers; each checks who asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from broker import people, trail
from broker.db import Json
from broker.engines import Literal
from broker.engines.postgres.sandbox_roles import is_owner_role
from broker.errors import NOT_THERE, Conflict, NotFound
from broker.grants import requests
from broker.grants.model import Decision, Grant, Lease, PlanRow
from broker.grants.pausing import say_pause
from broker.grants.plan import Plan, from_document
from broker.ids import PersonId, TenantId
from broker.paging import NEWEST, Page, paged
from broker.people import Person
from broker.platforms import Platform
from broker.storages import Storage
from broker.tenants import Tenant, TenantDatabase, TestServer
from broker.tickets.mirror import Ticket
from broker.tx import Tx


@dataclass(frozen=True, slots=True)
class GrantView:
    """A request or grant with what a person needs to read it. Windows are seconds."""

    id: str
    tenant_id: str
    tenant_name: str
    state: str
    state_at: datetime
    state_by: str | None
    requester_id: str
    requester: str
    ticket_id: str
    ticket_external_id: str
    ticket_title: str
    ticket_url: str | None
    ticket_open: bool
    database_id: str
    database: str
    category: str
    reason: str
    requested_at: datetime
    lapses_at: datetime
    asked_live_s: int
    asked_copy_s: int
    asked_platform_s: int
    asked_storage_s: int
    given_live_s: int
    given_copy_s: int
    given_platform_s: int
    given_storage_s: int
    live_until: datetime | None
    copy_until: datetime | None
    platform_until: datetime | None
    storage_until: datetime | None
    ends_at: datetime | None
    end_reason: str | None
    asked_digest: str | None
    given_digest: str | None
    plan_problem: str | None
    decided_by: str | None
    decided_at: datetime | None
    decision_note: str | None
    extends: str | None
    starts_at: datetime | None
    paused_at: datetime | None
    paused_side: str | None
    given_starts_at: datetime | None
    standing_id: str | None
    break_glass: bool
    asked_on_ticket: bool
    policy_version: int
    approvals_needed: int
    approvals_given: int
    asked_kind: str
    raw_columns: tuple[str, ...]
    given_kind: str | None
    asked_develop: bool
    asked_dedicated: bool
    platform_id: str | None
    storage_id: str | None
    platform: str | None
    storage: str | None
    bucket: str | None
    prefix: str | None
    audience: str | None


@dataclass(frozen=True, slots=True)
class LeaseView:
    """A login: where to connect, until when, and how far its end or its pause has come.

    `pause` is `open`, `asked`, `paused` or `resuming`; `paused_side` is of the login's own pause or
    of its grant's. Or a token (`kind` `platform`), which holds at `audience`; or a session (`kind`
    `storage`) on the objects of `bucket` under `prefix`: then there is no place to connect to.
    """

    id: str
    grant_id: str
    tenant_id: str
    snapshot_id: str | None
    state: str
    state_at: datetime
    asked_at: datetime
    kind: str
    person_id: str
    person: str
    role: str | None
    host: str | None
    port: int | None
    dbname: str | None
    platform_id: str | None
    storage_id: str | None
    bucket: str | None
    prefix: str | None
    audience: str | None
    ends_at: datetime
    pause: str
    paused_side: str | None
    held_at: datetime | None
    login_refused_at: datetime | None
    last_session_dead_at: datetime | None
    role_gone_at: datetime | None
    first_seen_at: datetime | None
    looked_at: Sequence[Json]
    attempts: int
    stuck_since: datetime | None
    stuck_reason: str | None
    develop: bool  # may change a copy's definitions too


@dataclass(frozen=True, slots=True)
class PlanView:
    """`literals` are there only for the tenant's people, while the request or grant is open."""

    grant_id: str
    category: str
    digest: str
    plan: Plan
    literals: tuple[Literal, ...]

    @property
    def kind(self) -> str:
        """What it shows, of `scope_kinds.KINDS`."""
        return self.plan.kind


_Requester = aliased(Person)


_Approval = aliased(Decision)
_approvals = (
    sa.select(sa.func.count())
    .where(_Approval.grant_id == Grant.id, _Approval.verdict == "approved")
    .scalar_subquery()
)


def _grants() -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(
            Grant,
            Ticket,
            Tenant.name.label("tenant"),
            TenantDatabase.name.label("database"),
            people.shown_name(Grant.state_by, Grant.tenant_id).label("state_by"),
            _Requester.name.label("requester"),
            people.shown_name(Decision.person_id, Grant.tenant_id).label("decided_by"),
            Decision.at.label("decided_at"),
            Decision.note.label("note"),
            _approvals.label("approvals"),
            Platform.name.label("platform"),
            Platform.audience.label("audience"),
            Storage.name.label("storage"),
            Storage.bucket.label("bucket"),
            Storage.prefix.label("prefix"),
        )
        .join(Tenant, Tenant.id == Grant.tenant_id)
        .join(_Requester, _Requester.id == Grant.requester_id)
        .join(Ticket, Ticket.id == Grant.ticket_id)
        .join(TenantDatabase, TenantDatabase.id == Grant.database_id)
        .outerjoin(Platform, Platform.id == Grant.platform_id)
        .outerjoin(Storage, Storage.id == Grant.storage_id)
        .outerjoin(Decision, (Decision.grant_id == Grant.id) & Decision.settles)
    )


def _view(row: sa.Row[Any]) -> GrantView:
    grant: Grant = row.Grant
    ticket: Ticket = row.Ticket
    return GrantView(
        id=grant.id,
        tenant_id=grant.tenant_id,
        tenant_name=row.tenant,
        state=grant.state,
        state_at=grant.state_at,
        state_by=row.state_by,
        requester_id=grant.requester_id,
        requester=row.requester,
        ticket_id=ticket.id,
        ticket_external_id=ticket.external_id,
        ticket_title=ticket.title,
        ticket_url=ticket.url,
        ticket_open=ticket.ended_at is None,
        database_id=grant.database_id,
        database=row.database,
        category=grant.category,
        reason=grant.reason,
        requested_at=grant.requested_at,
        lapses_at=grant.lapses_at,
        asked_live_s=grant.asked_live_s,
        asked_copy_s=grant.asked_copy_s,
        asked_platform_s=grant.asked_platform_s,
        asked_storage_s=grant.asked_storage_s,
        given_live_s=grant.given_live_s,
        given_copy_s=grant.given_copy_s,
        given_platform_s=grant.given_platform_s,
        given_storage_s=grant.given_storage_s,
        live_until=grant.live_until,
        copy_until=grant.copy_until,
        platform_until=grant.platform_until,
        storage_until=grant.storage_until,
        ends_at=grant.ends_at,
        end_reason=grant.end_reason,
        asked_digest=grant.asked_digest,
        given_digest=grant.given_digest,
        plan_problem=grant.stuck_reason,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        decision_note=row.note,
        extends=grant.extends,
        starts_at=grant.starts_at,
        paused_at=grant.paused_at,
        paused_side=grant.paused_side,
        given_starts_at=grant.given_starts_at,
        standing_id=grant.standing_id,
        break_glass=grant.break_glass,
        asked_on_ticket=grant.asked_on_ticket,
        policy_version=grant.policy_version,
        approvals_needed=grant.approvals_needed,
        approvals_given=row.approvals,
        asked_kind=grant.asked_kind,
        raw_columns=tuple(grant.raw_columns),
        given_kind=grant.given_kind,
        asked_develop=grant.asked_develop,
        asked_dedicated=grant.asked_dedicated,
        platform_id=grant.platform_id,
        storage_id=grant.storage_id,
        platform=row.platform,
        storage=row.storage,
        bucket=row.bucket,
        prefix=row.prefix,
        audience=row.audience,
    )


def get_grant_view(tx: Tx, grant_id: str) -> GrantView:
    """Raises NotFound, the same for none and for another tenant's (G12)."""
    grant = requests.get_grant(tx, grant_id)
    people.check(tx, "grant:read", TenantId(grant.tenant_id))
    return _view(tx.session.execute(_grants().where(Grant.id == grant_id)).one())


def list_grants(
    tx: Tx,
    tenant_id: TenantId | None = None,
    *,
    requester_id: PersonId | None = None,
    states: Sequence[str] = (),
    break_glass: bool = False,
    page: Page = NEWEST,
) -> list[GrantView]:
    """A tenant's, or all that the actor may see; with `break_glass` only such."""
    query = paged(_grants(), Grant.requested_at, Grant.id, page)
    query = query.where(Grant.tenant_id.in_(people.list_readable(tx, "grant:read", tenant_id)))
    if requester_id is not None:
        query = query.where(Grant.requester_id == requester_id)
    if break_glass:
        query = query.where(Grant.break_glass)
    if states:
        query = query.where(Grant.state.in_(states))
    return [_view(row) for row in tx.session.execute(query)]


def get_plan_view(tx: Tx, grant_id: str, which: str = "asked") -> PlanView:
    """The plan that was `asked` or `given`. Raises Conflict while there is none."""
    grant = requests.get_grant(tx, grant_id)
    tenant_id = TenantId(grant.tenant_id)
    people.check(tx, "plan:read", tenant_id)
    digest = grant.asked_digest if which == "asked" else grant.given_digest
    row = tx.session.get(PlanRow, (grant_id, digest)) if digest else None
    if row is None:
        raise Conflict(
            grant.stuck_reason or "the plan is not made yet; look again in a moment", grant=grant_id
        )
    literals: tuple[Literal, ...] = ()
    if row.literals is not None and people.may(tx, "literal:read", tenant_id):
        literals = tuple(Literal(**item) for item in row.literals["literals"])
    trail.record(tx, tenant_id, "plan.read", grant_id, {"digest": row.digest})
    return PlanView(grant_id, grant.category, row.digest, from_document(row.document), literals)


def find_given_before(tx: Tx, grant_id: str) -> tuple[str, datetime] | None:
    """The grant that was last given on the same database before this was asked, and when it was
    asked: what a person who decides compares with.
    """
    this = aliased(Grant)
    query = (
        sa.select(Grant.id, Grant.requested_at)
        .join(
            this,
            (this.tenant_id == Grant.tenant_id)
            & (this.database_id == Grant.database_id)
            & (Grant.requested_at < this.requested_at),
        )
        .where(this.id == grant_id, Grant.given_digest.is_not(None))
        .order_by(Grant.requested_at.desc())
        .limit(1)
    )
    found = tx.session.execute(query).first()
    return None if found is None else (found[0], found[1])


# Built once: whoever waits for a login asks it.
_lease, _grant = Lease.__table__.c, Grant.__table__.c
_database, _server = TenantDatabase.__table__.c, TestServer.__table__.c
_storage = Storage.__table__.c
_LEASES: sa.Select[*tuple[Any, ...]] = (
    sa.select(
        *(_lease.id, _lease.grant_id, _lease.tenant_id, _lease.snapshot_id),
        *(_lease.state, _lease.state_at, _lease.asked_at, _lease.dbname, _lease.ends_at),
        _lease.person_id,
        *(_lease.platform_id, _lease.storage_id, _storage.bucket, _storage.prefix),
        Person.__table__.c.name.label("person"),
        _lease.role_name.label("role"),
        _lease.scope_name.label("scope"),
        Platform.__table__.c.audience,
        sa.func.coalesce(_database.host, _server.host).label("host"),
        sa.func.coalesce(_lease.port, _database.port, _server.port).label("port"),
        sa.func.coalesce(_lease.paused_at, _grant.paused_at).label("paused_at"),
        sa.func.coalesce(_lease.paused_side, _grant.paused_side).label("paused_side"),
        *(_lease.held_at, _lease.login_refused_at, _lease.last_session_dead_at),
        *(_lease.first_seen_at, _lease.looked_at),
        *(_lease.role_gone_at, _lease.attempts, _lease.stuck_since, _lease.stuck_reason),
    )
    .select_from(Lease.__table__)
    .join(Grant.__table__, _grant.id == _lease.grant_id)
    .join(Person.__table__, Person.__table__.c.id == _lease.person_id)
    .outerjoin(TenantDatabase.__table__, _database.id == _lease.database_id)
    .outerjoin(TestServer.__table__, _server.id == _lease.server_id)
    .outerjoin(Platform.__table__, Platform.__table__.c.id == _lease.platform_id)
    .outerjoin(Storage.__table__, _storage.id == _lease.storage_id)
)
_ONE_LEASE = _LEASES.where(_lease.id == sa.bindparam("id"))


def get_lease_view(tx: Tx, lease_id: str) -> LeaseView:
    tx.session.flush()
    row = tx.session.execute(_ONE_LEASE, {"id": lease_id}).first()
    if row is None:
        raise NotFound(NOT_THERE)
    people.check(tx, "lease:read", TenantId(row.tenant_id))
    return _lease_view(row)


def list_leases(
    tx: Tx,
    tenant_id: TenantId | None = None,
    *,
    grant_id: str | None = None,
    person_id: PersonId | None = None,
    states: Sequence[str] = (),
    page: Page = NEWEST,
) -> list[LeaseView]:
    query = paged(_LEASES, Lease.asked_at, Lease.id, page)
    query = query.where(Lease.tenant_id.in_(people.list_readable(tx, "lease:read", tenant_id)))
    if grant_id is not None:
        query = query.where(Lease.grant_id == grant_id)
    if person_id is not None:
        query = query.where(Lease.person_id == person_id)
    if states:
        query = query.where(Lease.state.in_(states))
    return [_lease_view(row) for row in tx.session.execute(query)]


def _lease_view(row: sa.Row[Any]) -> LeaseView:
    found = row._asdict()
    wanted, held = found.pop("paused_at") is not None, row.held_at is not None
    found |= {"kind": "login", "pause": say_pause(wanted=wanted, held=held)}
    found["develop"] = is_owner_role(found.pop("scope"))
    if row.platform_id is not None:  # a token: there is no place to connect to
        found |= {"kind": "platform", "role": None, "dbname": None}
    if row.storage_id is not None:  # nor is there one of a session
        found |= {"kind": "storage", "role": None, "dbname": None}
    return LeaseView(**found)
