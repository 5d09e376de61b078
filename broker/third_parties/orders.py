"""Authorities' orders: recorded by one privacy officer, confirmed by another, told to the tenant.

    recorded ─▶ confirmed ─▶ (handed over)        recorded ─▶ contested

`silent_until` is there where the law forbids to tell the tenant, with its words; until then neither
the order nor what was handed over on it is shown to them, and both stand in the vendor's own log.
After that the tenant is told all of it: by mail, on their page, and in their log, with the
instants at which it happened. A silence has an end; a longer one is another order, recorded anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import mail, people, trail
from broker.db import Base
from broker.errors import NOT_THERE, Conflict, Denied, Invalid, NotFound
from broker.ids import TenantId, new_id
from broker.letters import Letter, phrase
from broker.tenants import get_tenant
from broker.trail import Personal
from broker.tx import Tx

MAX_SILENCE = timedelta(days=366)
_OFFICERS = ("privacy_officer",)


class AuthorityOrder(Base):
    """`legal_ground` is the article that the authority names; `asked` what it wants."""

    __tablename__ = "authority_order"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    authority: Mapped[str]
    reference: Mapped[str]
    legal_ground: Mapped[str]
    asked: Mapped[str]
    recorded_by: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    recorded_at: Mapped[datetime]
    decided_by: Mapped[str | None] = mapped_column(sa.ForeignKey("person.id"))
    confirmed_at: Mapped[datetime | None]
    contested_at: Mapped[datetime | None]
    contested_why: Mapped[str | None]
    silent_until: Mapped[datetime | None]
    silent_why: Mapped[str | None]
    told_at: Mapped[datetime | None]

    @property
    def state(self) -> str:
        if self.contested_at is not None:
            return "contested"
        return "recorded" if self.confirmed_at is None else "confirmed"


@dataclass(frozen=True, slots=True)
class Received:
    """An order as it came. `silent_until` and `silent_why` go together."""

    authority: str
    reference: str
    legal_ground: str
    asked: str
    silent_until: datetime | None = None
    silent_why: str | None = None


@dataclass(frozen=True, slots=True)
class OrderView:
    id: str
    tenant_id: str
    authority: str
    reference: str
    legal_ground: str
    asked: str
    state: str
    recorded_at: datetime
    confirmed_at: datetime | None
    contested_at: datetime | None
    contested_why: str | None
    silent_until: datetime | None
    silent_why: str | None
    told_at: datetime | None


def record(tx: Tx, tenant_id: TenantId, received: Received) -> str:
    """Write down what came. Nothing is handed over before another officer confirms it."""
    people.check(tx, "order:record")
    get_tenant(tx, tenant_id)
    _check(tx, received)
    row = AuthorityOrder(
        id=new_id("ord"),
        tenant_id=tenant_id,
        authority=received.authority.strip(),
        reference=received.reference.strip(),
        legal_ground=received.legal_ground.strip(),
        asked=received.asked.strip(),
        recorded_by=tx.actor.person_id,
        recorded_at=tx.at,
        silent_until=received.silent_until,
        silent_why=received.silent_why.strip() if received.silent_why else None,
    )
    tx.session.add(row)
    tx.session.flush()
    trail.record(tx, None, "order.recorded", row.id, _facts(row), _personal(row))
    _tell_officers(tx, row)
    return row.id


def _check(tx: Tx, received: Received) -> None:
    fields = {
        name: "3 to 2,000 characters"
        for name in ("authority", "reference", "legal_ground", "asked")
        if not 3 <= len(getattr(received, name).strip()) <= 2000
    }
    until, why = received.silent_until, (received.silent_why or "").strip()
    if (until is None) != (not why):
        fields["silent_why"] = "a silence has its end and the words of the law that asks for it"
    elif until is not None and not tx.at < until <= tx.at + MAX_SILENCE:
        fields["silent_until"] = "within a year; a longer silence is another order, recorded anew"
    if fields:
        raise Invalid("the order can't be recorded like this", fields=fields)


def _facts(row: AuthorityOrder) -> dict[str, str]:
    facts = {"tenant": row.tenant_id}
    return facts | ({"silent_until": row.silent_until.isoformat()} if row.silent_until else {})


def _personal(row: AuthorityOrder) -> list[Personal]:
    return [Personal(name, getattr(row, name)) for name in ("authority", "reference")]


def _tell_officers(tx: Tx, row: AuthorityOrder) -> None:
    letter = Letter(
        phrase("An authority's order: %(order)s", order=row.id),
        [
            phrase(
                "%(order)s waits for a second privacy officer, who reads it and confirms or "
                "contests it.",
                order=row.id,
            )
        ],
        kind="waiting",
    )
    for person_id in people.list_recipients(tx, None, _OFFICERS):
        if person_id != row.recorded_by:
            mail.write(tx, person_id, None, letter)


def confirm(tx: Tx, order_id: str) -> None:
    """Another officer stands for it: it binds us. The tenant is told, unless the law forbids."""
    row = _get_undecided(tx, order_id)
    row.confirmed_at, row.decided_by = tx.at, tx.actor.person_id
    tx.session.flush()
    trail.record(tx, None, "order.confirmed", row.id, _facts(row))
    if row.silent_until is None:
        tell(tx, row)


def contest(tx: Tx, order_id: str, why: str) -> None:
    """It does not bind us, or goes too far: nothing is handed over on it."""
    row = _get_undecided(tx, order_id)
    if not 10 <= len(why.strip()) <= 2000:
        raise Invalid("say why", fields={"why": "10 to 2,000 characters"})
    row.contested_at, row.decided_by, row.contested_why = tx.at, tx.actor.person_id, why.strip()
    tx.session.flush()
    trail.record(tx, None, "order.contested", row.id, _facts(row))
    if row.silent_until is None:
        tell(tx, row)


def _get_undecided(tx: Tx, order_id: str) -> AuthorityOrder:
    people.check(tx, "order:record")
    row = get(tx, order_id, lock=True)
    if row.state != "recorded":
        raise Conflict(f"{order_id} was {row.state} already")
    if row.recorded_by == tx.actor.person_id:
        raise Denied("you recorded this order; another privacy officer confirms or contests it")
    return row


def tell(tx: Tx, row: AuthorityOrder) -> None:
    """The tenant learns of it, in their log and by mail, once."""
    row.told_at = tx.at
    tenant_id = TenantId(row.tenant_id)
    facts = {"state": row.state, "recorded_at": row.recorded_at.isoformat()}
    trail.record(tx, tenant_id, "order.told", row.id, facts, _personal(row))
    letter = Letter(
        phrase("An authority's order about your data: %(order)s", order=row.id),
        [
            phrase(
                "%(authority)s (%(reference)s) asked us for: %(asked)s",
                authority=row.authority,
                reference=row.reference,
                asked=row.asked,
            ),
            phrase(
                "Its ground: %(ground)s. %(answer)s",
                ground=row.legal_ground,
                answer=phrase("We must answer it.")
                if row.state == "confirmed"
                else phrase("We contested it: nothing was given."),
            ),
            phrase(
                "The page Recipients shows the order, and each document that is handed over on it."
            ),
        ],
        page="/recipients",
    )
    mail.write_to_roles(tx, tenant_id, ["admin"], letter)


def list_to_tell(tx: Tx) -> Sequence[AuthorityOrder]:
    """Decided, not told, and told to be silent no longer; locked, those that nobody else tells."""
    query = sa.select(AuthorityOrder).where(
        AuthorityOrder.told_at.is_(None),
        AuthorityOrder.decided_by.is_not(None),
        sa.or_(AuthorityOrder.silent_until.is_(None), AuthorityOrder.silent_until <= tx.at),
    )
    return tx.session.scalars(
        query.order_by(AuthorityOrder.id).with_for_update(skip_locked=True)
    ).all()


def get(tx: Tx, order_id: str, *, lock: bool = False) -> AuthorityOrder:
    row = tx.session.get(AuthorityOrder, order_id, with_for_update=lock or None)
    if row is None:
        raise NotFound(NOT_THERE)
    return row


def get_binding(tx: Tx, order_id: str, tenant_id: TenantId) -> AuthorityOrder:
    """One on which something is handed over. Raises Conflict, NotFound."""
    row = get(tx, order_id, lock=True)
    if row.tenant_id != tenant_id:
        raise NotFound(NOT_THERE)
    if row.state != "confirmed":
        raise Conflict(f"{order_id} is {row.state}: another privacy officer must confirm it first")
    return row


def get_view(tx: Tx, order_id: str) -> OrderView:
    people.check(tx, "order:record")
    return _view(get(tx, order_id))


def list_views(tx: Tx, tenant_id: TenantId | None = None) -> list[OrderView]:
    """All of them for the officers; for a tenant theirs, once they may know."""
    query = sa.select(AuthorityOrder).order_by(AuthorityOrder.recorded_at.desc(), AuthorityOrder.id)
    if tenant_id is not None:
        query = query.where(AuthorityOrder.tenant_id == tenant_id)
    if not people.may(tx, "order:record"):
        if tenant_id is None:
            people.check(tx, "order:record")
        people.check(tx, "handover:read", tenant_id)
        query = query.where(AuthorityOrder.told_at.is_not(None))
    return [_view(row) for row in tx.session.scalars(query)]


def _view(row: AuthorityOrder) -> OrderView:
    return OrderView(**{name: getattr(row, name) for name in OrderView.__dataclass_fields__})
