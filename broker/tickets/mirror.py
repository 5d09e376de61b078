"""The mirrored state of tickets: what the last trustworthy looks at the ticket system said.

A ticket that can't be found or read counts as closed only after two looks at least some minutes
apart while a probe ticket reads well; a system that refuses everything changes nothing here. A
ticket that was closed stays closed for us, also when it is reopened: a new request is made then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import trail
from broker.db import Base
from broker.errors import NOT_THERE, Conflict, NotFound
from broker.ids import TenantId, TicketId, new_id
from broker.tenants import Tenant
from broker.tickets import FetchedTicket
from broker.trail import Personal
from broker.tx import Tx


class Ticket(Base):
    """`ended_at` is set once and never cleared: what rests on the ticket ends with it. Lists are in
    the order of `mirrored_at`, when it was first seen, which does not change.
    """

    __tablename__ = "ticket"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    system: Mapped[str]
    external_id: Mapped[str]
    title: Mapped[str]
    url: Mapped[str | None]
    severity: Mapped[str | None]
    category: Mapped[str | None]
    reopened: Mapped[str | None]
    open: Mapped[bool]
    mirrored_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    seen_at: Mapped[datetime]
    missing_since: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look changed: `ended` is true when this look is what ended the ticket."""

    ticket_id: TicketId | None
    tenant_id: TenantId | None
    ended: bool = False


def record_look(
    tx: Tx, system: str, external_id: str, fetched: FetchedTicket | None, *, missing_s: int
) -> Seen:
    """Take over what a look found; `fetched` is None for "no such ticket" and for "not yours".

    A ticket of a customer that is no tenant is not mirrored. A known ticket that moved to another
    customer has ended for the tenant it belonged to, and nothing of it is taken over any more. One
    that was closed and is open again has ended, also when no look saw it closed.
    """
    row = tx.session.scalar(
        sa.select(Ticket)
        .where(Ticket.system == system, Ticket.external_id == external_id)
        .with_for_update()
    )
    if fetched is None:
        return Seen(None, None) if row is None else _look_missing(tx, row, missing_s)
    tenant_id = tx.session.scalar(
        sa.select(Tenant.id).where(Tenant.ticket_customer == fetched.customer)
    )
    if row is None:
        return _mirror_new(tx, system, fetched, tenant_id)
    row.seen_at, row.missing_since = tx.at, None
    if tenant_id != row.tenant_id:
        return _end(tx, row, "moved to another customer")
    was, row.reopened = row.reopened, fetched.reopened or row.reopened
    row.title, row.url, row.open = fetched.title, fetched.url, not fetched.closed
    row.severity, row.category = fetched.severity, fetched.category
    if fetched.closed:
        return _end(tx, row, "closed")
    if was not in {row.reopened, None} and row.ended_at is None:
        return _end(tx, row, "closed and opened again")
    return Seen(TicketId(row.id), TenantId(row.tenant_id))


def note_unchanged(tx: Tx, system: str, looks: Mapping[str, FetchedTicket | None]) -> set[str]:
    """Note for all of these at once that they were seen open and just as they are mirrored; returns
    which of them were. What anything is new about is for `record_look`.
    """
    rows = tx.session.execute(
        sa.select(Ticket, Tenant.ticket_customer)
        .join(Tenant, Tenant.id == Ticket.tenant_id)
        .where(Ticket.system == system, Ticket.external_id.in_(looks))
    ).all()
    same = {row.id: row.external_id for row, customer in rows if _is_same(row, customer, looks)}
    seen = tx.session.scalars(
        sa.update(Ticket)
        .where(Ticket.id.in_(same), Ticket.ended_at.is_(None), Ticket.missing_since.is_(None))
        .values(seen_at=tx.at)
        .returning(Ticket.id)
    ).all()
    return {same[identity] for identity in seen}


def _is_same(row: Ticket, customer: str, looks: Mapping[str, FetchedTicket | None]) -> bool:
    mirrored = FetchedTicket(
        row.external_id,
        row.title,
        customer,
        closed=not row.open,
        url=row.url,
        severity=row.severity,
        category=row.category,
        reopened=row.reopened,
    )
    return row.open and looks[row.external_id] == mirrored


def _mirror_new(tx: Tx, system: str, fetched: FetchedTicket, tenant_id: str | None) -> Seen:
    if tenant_id is None:
        return Seen(None, None)
    row = Ticket(
        id=new_id("tkt"),
        tenant_id=tenant_id,
        system=system,
        external_id=fetched.external_id,
        title=fetched.title,
        url=fetched.url,
        severity=fetched.severity,
        category=fetched.category,
        reopened=fetched.reopened,
        open=not fetched.closed,
        mirrored_at=tx.at,
        seen_at=tx.at,
        ended_at=tx.at if fetched.closed else None,
    )
    tx.session.add(row)
    tx.session.flush()
    title = Personal("title", fetched.title)
    facts = {"system": system, "closed": fetched.closed}
    trail.record(tx, TenantId(tenant_id), "ticket.mirrored", row.id, facts, [title])
    return Seen(TicketId(row.id), TenantId(tenant_id))


def _look_missing(tx: Tx, row: Ticket, missing_s: int) -> Seen:
    if row.missing_since is None:
        row.missing_since = tx.at
        trail.record(tx, TenantId(row.tenant_id), "ticket.missed", row.id)
    elif tx.at - row.missing_since >= timedelta(seconds=missing_s):
        return _end(tx, row, "deleted, merged or no longer readable")
    return Seen(TicketId(row.id), TenantId(row.tenant_id))


def _end(tx: Tx, row: Ticket, why: str) -> Seen:
    row.open = False
    first = row.ended_at is None
    if first:
        row.ended_at = tx.at
        trail.record(tx, TenantId(row.tenant_id), "ticket.ended", row.id, {"why": why})
    return Seen(TicketId(row.id), TenantId(row.tenant_id), ended=first)


def get_open_ticket(tx: Tx, ticket_id: str) -> Ticket:
    """Raises NotFound, or Conflict when the ticket has ended."""
    row = tx.session.get(Ticket, ticket_id)
    if row is None:
        raise NotFound(NOT_THERE)
    if row.ended_at is not None:
        raise Conflict(f"ticket {row.external_id} has ended; open a new one to ask again")
    return row


def find_ticket(tx: Tx, system: str, external_id: str) -> Ticket | None:
    return tx.session.scalar(
        sa.select(Ticket).where(Ticket.system == system, Ticket.external_id == external_id)
    )
