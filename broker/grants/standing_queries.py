"""Frozen views of standing approvals for the outer layers; each checks who asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from broker import people
from broker.grants import standing
from broker.grants.model import Grant, Standing, Voice
from broker.grants.plan import Plan
from broker.ids import TenantId
from broker.paging import NEWEST, Page, paged
from broker.people import shown_name
from broker.tenants import Tenant, TenantDatabase
from broker.tx import Tx


@dataclass(frozen=True, slots=True)
class VoiceView:
    person_id: str
    person: str
    via: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StandingView:
    """Windows are seconds; `uses` are grants that were approved under it, `open_uses` of them now
    open; `digest` is what a person agrees to.
    """

    id: str
    tenant_id: str
    tenant_name: str
    state: str
    state_at: datetime
    database_id: str
    database: str
    like_grant: str
    severities: Sequence[str]
    categories: Sequence[str]
    live_max_s: int
    copy_max_s: int
    per_ticket: int
    ends_at: datetime
    proposed_at: datetime
    lapses_at: datetime
    approvals_needed: int
    voices: Sequence[VoiceView]
    digest: str
    note: str | None
    uses: int
    open_uses: int
    plan: Plan


def get_view(tx: Tx, standing_id: str) -> StandingView:
    """Raises NotFound, the same for none and for another tenant's (G12)."""
    row = standing.get_standing(tx, standing_id)
    people.check(tx, "standing:read", TenantId(row.tenant_id))
    return _view(tx, tx.session.execute(_rows().where(Standing.id == standing_id)).one())


def list_standing(
    tx: Tx,
    tenant_id: TenantId | None = None,
    *,
    states: Sequence[str] = (),
    page: Page = NEWEST,
) -> list[StandingView]:
    query = paged(_rows(), Standing.proposed_at, Standing.id, page)
    readable = people.list_readable(tx, "standing:read", tenant_id)
    query = query.where(Standing.tenant_id.in_(readable))
    if states:
        query = query.where(Standing.state.in_(states))
    return [_view(tx, row) for row in tx.session.execute(query)]


def _rows() -> sa.Select[*tuple[Any, ...]]:
    under = sa.select(sa.func.count()).where(Grant.standing_id == Standing.id)
    return (
        sa.select(
            Standing,
            Tenant.name.label("tenant"),
            TenantDatabase.name.label("database"),
            under.scalar_subquery().label("uses"),
            under.where(Grant.state == "approved").scalar_subquery().label("open_uses"),
        )
        .join(Tenant, Tenant.id == Standing.tenant_id)
        .join(TenantDatabase, TenantDatabase.id == Standing.database_id)
    )


def _view(tx: Tx, found: sa.Row[Any]) -> StandingView:
    row: Standing = found.Standing
    conditions = standing.read_conditions(row)
    return StandingView(
        id=row.id,
        tenant_id=row.tenant_id,
        tenant_name=found.tenant,
        state=row.state,
        state_at=row.state_at,
        database_id=row.database_id,
        database=found.database,
        like_grant=row.like_grant,
        severities=conditions.severities,
        categories=conditions.categories,
        live_max_s=conditions.live_max_s,
        copy_max_s=conditions.copy_max_s,
        per_ticket=conditions.per_ticket,
        ends_at=row.ends_at,
        proposed_at=row.proposed_at,
        lapses_at=row.lapses_at,
        approvals_needed=row.approvals_needed,
        voices=_voices(tx, row),
        digest=row.digest,
        note=row.note,
        uses=found.uses,
        open_uses=found.open_uses,
        plan=standing.read_plan(row),
    )


def _voices(tx: Tx, row: Standing) -> list[VoiceView]:
    name = shown_name(Voice.person_id, row.tenant_id).label("name")
    query = sa.select(Voice, name).where(Voice.standing_id == row.id).order_by(Voice.at)
    return [
        VoiceView(voice.person_id, shown, voice.via, voice.at)
        for voice, shown in tx.session.execute(query)
    ]
