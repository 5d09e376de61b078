"""The row of a departure, and the arrows between its states."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import people
from broker.db import Json
from broker.errors import NOT_THERE, NotFound
from broker.ids import TenantId
from broker.states import Move, StatefulRow
from broker.tx import Tx

CANCEL = Move(("announced",), "cancelled", "departure.cancelled")
BEGIN = Move(("announced",), "closing", "departure.begun")
CLOSE = Move(("closing",), "closed", "departure.closed")
ERASE = Move(("closed",), "erasing", "departure.erasing")
FINISH = Move(("erasing",), "erased", "departure.erased")


class Departure(StatefulRow):
    """`side` announced it; `envelope` is the signed statement of what was erased."""

    __tablename__ = "departure"
    side: Mapped[str]
    announced_at: Mapped[datetime]
    leaves_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]
    counts: Mapped[Json | None]
    envelope: Mapped[bytes | None]
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))


@dataclass(frozen=True, slots=True)
class DepartureView:
    """`alive` are ids that keep it from being closed; `erases_after` is None until it is closed,
    and while nobody confirmed the schedule that says so.
    """

    id: str
    tenant_id: str
    state: str
    side: str
    announced_at: datetime
    leaves_at: datetime
    closed_at: datetime | None
    erased_at: datetime | None
    erases_after: datetime | None
    alive: list[str]


def find_departure(tx: Tx, tenant_id: TenantId) -> Departure | None:
    """The one that was not taken back."""
    query = sa.select(Departure).where(
        Departure.tenant_id == tenant_id, Departure.state != "cancelled"
    )
    return tx.session.scalar(query)


def get_departure(tx: Tx, tenant_id: TenantId) -> Departure:
    people.check(tx, "tenant:read", tenant_id)
    row = find_departure(tx, tenant_id)
    if row is None:
        raise NotFound(NOT_THERE)
    return row
