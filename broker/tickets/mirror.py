"""The mirrored state of tickets: what the last trustworthy looks at the ticket system said.

A ticket that can't be found or read counts as closed only after two looks at least some minutes
apart while a probe ticket reads well; a system that refuses everything changes nothing here. A
ticket that was closed stays closed for us, also when it is reopened: a new request is made then.
"""

from __future__ import annotations

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
    """`ended_at` is set once and never cleared: what rests on the ticket ends with it."""

    __tablename__ = "ticket"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    system: Mapped[str]
    external_id: Mapped[str]
    title: Mapped[str]
    url: Mapped[str | None]
    severity: Mapped[str | None]
    category: Mapped[str | None]
    open: Mapped[bool]
    seen_at: Mapped[datetime]
    missing_since: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]


class WebhookSeen(Base):
    """Message ids of webhooks, so that a replay changes nothing."""

    __tablename__ = "webhook_seen"
    system: Mapped[str] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look changed: `ended` is true when this look is what ended the ticket."""

    ticket_id: TicketId | None
    tenant_id: TenantId | None
    ended: bool = False


def is_replay(tx: Tx, system: str, message_id: str) -> bool:
    """Remember a webhook's message id; true when it was seen before."""
    stored = tx.session.execute(
        sa.text(
            "INSERT INTO webhook_seen (system, message_id, at) VALUES (:s, :m, :at) "
            "ON CONFLICT DO NOTHING RETURNING 1"
        ),
        {"s": system, "m": message_id[:200], "at": tx.at},
    ).scalar()
    return stored is None


def record_look(
    tx: Tx, system: str, external_id: str, fetched: FetchedTicket | None, *, missing_s: int
) -> Seen:
    """Take over what a look found; `fetched` is None for "no such ticket" and for "not yours".

    A ticket of a customer that is no tenant is not mirrored. A known ticket that moved to another
    customer has ended for the tenant it belonged to.
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
    row.title, row.url, row.open = fetched.title, fetched.url, not fetched.closed
    row.severity, row.category = fetched.severity, fetched.category
    if fetched.closed:
        return _end(tx, row, "closed")
    return Seen(TicketId(row.id), TenantId(row.tenant_id))


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
        open=not fetched.closed,
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


class TicketHint(Base):
    """A webhook said that this ticket changed; nothing is believed before it was fetched."""

    __tablename__ = "ticket_hint"
    system: Mapped[str] = mapped_column(primary_key=True)
    external_id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]


def keep_hint(tx: Tx, system: str, external_id: str) -> None:
    tx.session.execute(
        sa.text(
            "INSERT INTO ticket_hint (system, external_id, at) VALUES (:s, :e, :at) "
            "ON CONFLICT (system, external_id) DO UPDATE SET at = excluded.at"
        ),
        {"s": system, "e": external_id, "at": tx.at},
    )


def list_hints(tx: Tx, system: str, limit: int) -> list[tuple[str, datetime]]:
    query = sa.select(TicketHint.external_id, TicketHint.at).where(TicketHint.system == system)
    return [(row.external_id, row.at) for row in tx.session.execute(query.limit(limit))]


def drop_hint(tx: Tx, system: str, external_id: str, at: datetime) -> None:
    """Forget a hint that was followed, unless a later one came meanwhile."""
    tx.session.execute(
        sa.delete(TicketHint).where(
            TicketHint.system == system,
            TicketHint.external_id == external_id,
            TicketHint.at <= at,
        )
    )


def list_open(tx: Tx, system: str) -> list[str]:
    """External ids of tickets on which something may rest, the longest unseen first."""
    query = sa.select(Ticket.external_id).where(Ticket.system == system, Ticket.ended_at.is_(None))
    return list(tx.session.scalars(query.order_by(Ticket.seen_at)))
