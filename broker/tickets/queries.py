"""Frozen views of mirrored tickets for the outer layers; each checks who asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from broker import people
from broker.errors import NotFound
from broker.ids import TenantId
from broker.tenants import Tenant
from broker.tickets.mirror import Ticket
from broker.tx import Tx

MAX_PAGE = 200


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


def list_tickets(
    tx: Tx,
    tenant_id: TenantId | None = None,
    *,
    external_id: str | None = None,
    text: str = "",
    before: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[TicketView]:
    """Open ones that the actor may see, the last seen first; by `external_id` also one that ended.

    `text` is part of its id in its own system, its title, or its tenant's name. `before` is the
    instant and id of the last item of the page before.
    """
    readable = people.list_readable(tx, "ticket:read", tenant_id)
    query = _tickets().where(Ticket.tenant_id.in_(readable))
    if external_id is None:
        query = query.where(Ticket.ended_at.is_(None))
    else:
        query = query.where(Ticket.external_id == external_id)
    if text:
        query = query.where(
            Ticket.external_id.icontains(text, autoescape=True)
            | Ticket.title.icontains(text, autoescape=True)
            | Tenant.name.icontains(text, autoescape=True)
        )
    if before is not None:
        query = query.where(sa.tuple_(Ticket.seen_at, Ticket.id) < sa.tuple_(*before))
    query = query.order_by(Ticket.seen_at.desc(), Ticket.id.desc()).limit(min(limit, MAX_PAGE))
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
    )
