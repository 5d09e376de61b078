"""Frozen views of mirrored tickets for the outer layers; each checks who asks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from broker import people
from broker.errors import NotFound
from broker.ids import TenantId
from broker.paging import NEWEST, Page, paged
from broker.tenants import Tenant
from broker.tickets.mirror import Ticket
from broker.tx import Tx

STATES = ("open", "ended")


@dataclass(frozen=True, slots=True)
class TicketView:
    id: str
    tenant_id: TenantId
    tenant_name: str
    external_id: str
    title: str
    url: str | None
    severity: str | None
    category: str | None
    open: bool
    seen_at: datetime
    mirrored_at: datetime


def list_tickets(
    tx: Tx,
    tenant_id: TenantId | None = None,
    *,
    external_id: str | None = None,
    text: str = "",
    states: Collection[str] = ("open",),
    page: Page = NEWEST,
) -> list[TicketView]:
    """Open ones that the actor may see, or those of `states`; by `external_id` in any state.

    `text` is part of its id in its own system, its title, or its tenant's name.
    """
    readable = people.list_readable(tx, "ticket:read", tenant_id)
    query = paged(_tickets(), Ticket.mirrored_at, Ticket.id, page)
    query = query.where(Ticket.tenant_id.in_(readable))
    if external_id is None:
        ended = Ticket.ended_at.is_not(None)
        query = query.where(sa.or_(*(ended if one == "ended" else ~ended for one in states)))
    else:
        query = query.where(Ticket.external_id == external_id)
    if text:
        query = query.where(
            Ticket.external_id.icontains(text, autoescape=True)
            | Ticket.title.icontains(text, autoescape=True)
            | Tenant.name.icontains(text, autoescape=True)
        )
    return [_view(*row) for row in tx.session.execute(query)]


def get_ticket_view(tx: Tx, ticket_id: str) -> TicketView:
    """Raises NotFound, the same for none and for another tenant's (G12)."""
    row = tx.session.execute(_tickets().where(Ticket.id == ticket_id)).first()
    if row is None:
        raise NotFound("there is no such thing, or you may not see it")
    view = _view(*row)
    people.check(tx, "ticket:read", view.tenant_id)
    return view


def _tickets() -> sa.Select[Ticket, str]:
    return sa.select(Ticket, Tenant.name).join(Tenant, Tenant.id == Ticket.tenant_id)


def _view(ticket: Ticket, tenant_name: str) -> TicketView:
    return TicketView(
        id=ticket.id,
        tenant_id=TenantId(ticket.tenant_id),
        tenant_name=tenant_name,
        external_id=ticket.external_id,
        title=ticket.title,
        url=ticket.url,
        severity=ticket.severity,
        category=ticket.category,
        open=ticket.ended_at is None,
        seen_at=ticket.seen_at,
        mirrored_at=ticket.mirrored_at,
    )
