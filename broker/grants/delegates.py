"""Delegates: an admin who will be away names who decides in their place, until when.

What must stay true: a delegate has a role in the same tenant, so is never of the vendor and never
who asks; stands in for the admin's own right and nothing more, so falls with it; can't pass it on;
and remains one person, who counts once for however many admins. Every delegation ends by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import mail, people, trail
from broker.db import Base
from broker.errors import NOT_THERE, Conflict, Denied, Invalid, NotFound
from broker.grants.model import Decision
from broker.ids import PersonId, TenantId, new_id
from broker.letters import Letter, phrase
from broker.people import Person
from broker.tx import Tx

LONGEST = timedelta(days=92)
_LISTED = 200


class Delegation(Base):
    """From `starts_at` until `ends_at`, or `ended_at` when somebody took it back before."""

    __tablename__ = "delegation"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    side: Mapped[str] = mapped_column(default="tenant")  # and never another: both are of it
    giver_id: Mapped[str]
    delegate_id: Mapped[str]
    named_at: Mapped[datetime]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None] = mapped_column(sa.ForeignKey("person.id"))
    __table_args__ = (
        sa.ForeignKeyConstraint(["giver_id", "side"], ["person.id", "person.side"]),
        sa.ForeignKeyConstraint(["delegate_id", "side"], ["person.id", "person.side"]),
    )


@dataclass(frozen=True, slots=True)
class Capacity:
    """For whom a person decides: for themself, or for the admin whose delegate they are `until`."""

    for_id: str | None = None
    delegation_id: str | None = None
    until: datetime | None = None


OWN = Capacity()


@dataclass(frozen=True, slots=True)
class Absence:
    """Who decides in the actor's place, and when; from now on where `starts_at` is None."""

    delegate_id: str
    ends_at: datetime
    starts_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DelegationView:
    """`state` is `coming`, `standing`, `over` (its time), `ended` (taken back), or `void`: one of
    the two has lost the role that it rests on.
    """

    id: str
    tenant_id: str
    giver_id: str
    giver: str
    delegate_id: str
    delegate: str
    named_at: datetime
    starts_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    state: str


def name(tx: Tx, tenant_id: TenantId, absence: Absence) -> str:
    """The actor, an admin, names who decides for them. Raises Invalid, Conflict."""
    people.check(tx, "delegate:name", tenant_id)
    starts_at = absence.starts_at or tx.at
    _check_time(tx, starts_at, absence.ends_at)
    _check_delegate(tx, tenant_id, absence.delegate_id)
    row = Delegation(
        id=new_id("dlg"),
        tenant_id=tenant_id,
        giver_id=tx.actor.person_id,
        delegate_id=absence.delegate_id,
        named_at=tx.at,
        starts_at=starts_at,
        ends_at=absence.ends_at,
    )
    tx.session.add(row)
    tx.session.flush()
    trail.record(tx, tenant_id, "delegate.named", row.id, _facts(row))
    _tell(tx, row, begins=True)
    return row.id


def _check_time(tx: Tx, starts_at: datetime, ends_at: datetime) -> None:
    fields: dict[str, str] = {}
    if starts_at < tx.at:
        fields["starts_at"] = "now or later"
    if not starts_at < ends_at <= tx.at + LONGEST:
        fields["ends_at"] = f"after its start, and within {LONGEST.days} days from now"
    if fields:
        raise Invalid("nobody can be named for that time", fields=fields)


def _check_delegate(tx: Tx, tenant_id: TenantId, delegate_id: str) -> None:
    """One answer for whoever has no role here, whether or not there is such a person (G12)."""
    giver = people.get_person(tx, tx.actor.person_id or "")
    folds = sa.select(Person.address_fold).where(
        Person.id == delegate_id,
        Person.service.is_(False),  # a program decides nothing
        people.held_since(delegate_id, tenant_id, "grant:read", tx.at),
    )
    fold, problem = tx.session.scalar(folds), ""
    if fold is None:
        problem = "must be somebody who has a role in your organisation"
    elif fold == giver.address_fold:
        problem = "that is your own address; name another person"
    if problem:
        raise Invalid("this person can't be your delegate", fields={"delegate": problem})
    there = sa.select(Delegation.id).where(
        Delegation.tenant_id == tenant_id,
        Delegation.giver_id == giver.id,
        Delegation.delegate_id == delegate_id,
        Delegation.ended_at.is_(None),
        Delegation.ends_at > tx.at,
    )
    if (already := tx.session.scalar(there.limit(1))) is not None:
        raise Conflict(f"you named this person already: {already}; end that first")


def end(tx: Tx, delegation_id: str) -> TenantId:
    """Take it back at once: by an admin of the tenant, or by the delegate. Raises Conflict."""
    row = tx.session.get(Delegation, delegation_id, with_for_update=True)
    if row is None:
        raise NotFound(NOT_THERE)
    tenant_id = TenantId(row.tenant_id)
    own = row.delegate_id == tx.actor.person_id
    people.check(tx, "delegate:read" if own else "delegate:name", tenant_id)
    if row.ended_at is not None or row.ends_at <= tx.at:
        raise Conflict(f"{row.id} is over already")
    row.ended_at, row.ended_by = tx.at, tx.actor.person_id
    tx.session.flush()
    trail.record(tx, tenant_id, "delegate.ended", row.id, _facts(row))
    _tell(tx, row, begins=False)
    return tenant_id


def _facts(row: Delegation) -> dict[str, str]:
    return {
        "giver": row.giver_id,
        "delegate": row.delegate_id,
        "starts_at": row.starts_at.isoformat(),
        "ends_at": row.ends_at.isoformat(),
    }


def _tell(tx: Tx, row: Delegation, *, begins: bool) -> None:
    """Both of them, whoever of them or of the admins did it."""
    tenant_id = TenantId(row.tenant_id)
    names: dict[str, str] = {
        one: tx.session.scalar(sa.select(people.shown_name(one, tenant_id))) or ""
        for one in (row.giver_id, row.delegate_id)
    }
    both = {"delegate": names[row.delegate_id], "giver": names[row.giver_id]}
    what = (
        phrase("%(delegate)s decides on requests for %(giver)s.", **both)
        if begins
        else phrase("%(delegate)s decides no more for %(giver)s.", **both)
    )
    letter = Letter(
        phrase("You were named delegate") if begins else phrase("A delegation was ended"),
        [
            phrase(
                "%(what)s\nAs it was named: from %(start)s to %(end)s. Any admin, and the "
                "delegate, can end it at once on the console. What a delegate approved counts "
                "until then.",
                what=what,
                start=row.starts_at,
                end=row.ends_at,
            )
        ],
        page=f"/tenants/{row.tenant_id}/delegates",
    )
    for person_id in (row.giver_id, row.delegate_id):
        mail.write(tx, PersonId(person_id), tenant_id, letter)


def _holds(at: Any) -> sa.ColumnElement[bool]:
    """SQL for "it is time, nobody took it back, and neither of the two has lost a role since"."""
    return sa.and_(
        Delegation.ended_at.is_(None),
        Delegation.starts_at <= at,
        Delegation.ends_at > at,
        _rests(),
    )


def _rests() -> sa.ColumnElement[bool]:
    tenant_id, since = Delegation.tenant_id, Delegation.named_at
    return sa.and_(
        people.held_since(Delegation.giver_id, tenant_id, "grant:approve", since),
        people.held_since(Delegation.delegate_id, tenant_id, "grant:read", since),
    )


def stands(tenant_id: Any, at: Any) -> sa.Exists:
    """SQL for "what this decision's person said for another counts at `at`".

    Until when is read from the decision, which is signed, not from the delegation.
    """
    given = sa.select(Delegation.id).where(
        Delegation.id == Decision.delegation_id,
        Delegation.tenant_id == tenant_id,
        Delegation.giver_id == Decision.for_id,
        Delegation.delegate_id == Decision.person_id,
        Delegation.named_at <= Decision.at,
        Decision.for_until > at,
        _holds(at),
    )
    return given.correlate_except(Delegation).exists()


def list_capacities(tx: Tx, tenant_id: TenantId, permission: str) -> Sequence[Capacity]:
    """For whom the actor may decide now, oneself first. Raises as `people.check` when for nobody.

    What is found is locked against being ended until this transaction has.
    """
    found = [OWN] if people.may(tx, permission, tenant_id) else []
    mine = sa.select(Delegation).where(
        Delegation.delegate_id == tx.actor.person_id,
        Delegation.tenant_id == tenant_id,
        _holds(tx.at),
    )
    rows = tx.session.scalars(
        mine.order_by(Delegation.named_at, Delegation.id).with_for_update(read=True, of=Delegation)
    )
    found += [Capacity(row.giver_id, row.id, row.ends_at) for row in rows]
    if not found:
        people.check(tx, permission, tenant_id)
    return found


def find_capacity(tx: Tx, tenant_id: TenantId) -> Capacity | None:
    """For whom the actor would decide, for showing: oneself first; None for nobody."""
    try:
        return list_capacities(tx, tenant_id, "grant:approve")[0]
    except (Denied, NotFound):
        return None


def name_giver(tx: Tx, tenant_id: TenantId, capacity: Capacity | None) -> str | None:
    if capacity is None or capacity.for_id is None:
        return None
    return tx.session.scalar(sa.select(people.shown_name(capacity.for_id, tenant_id)))


def decides_somewhere(tx: Tx) -> bool:
    """For showing; a person of the vendor decides nowhere."""
    mine = people.list_tenants_of_actor(tx)
    return any(find_capacity(tx, tenant_id) is not None for tenant_id in mine)


def list_deciders(tx: Tx, tenant_id: TenantId) -> list[PersonId]:
    """Whom to tell of what waits: the admins, and who decides for one now."""
    admins = people.list_recipients(tx, tenant_id, ["admin"])
    rows = tx.session.scalars(
        sa.select(Delegation.delegate_id).where(Delegation.tenant_id == tenant_id, _holds(tx.at))
    )
    return list(dict.fromkeys([*admins, *map(PersonId, rows)]))


def list_delegations(tx: Tx, tenant_id: TenantId) -> list[DelegationView]:
    """All of a tenant, newest first, those that are over too."""
    people.check(tx, "delegate:read", tenant_id)
    rows = tx.session.execute(
        sa.select(
            Delegation,
            people.shown_name(Delegation.giver_id, Delegation.tenant_id).label("giver"),
            people.shown_name(Delegation.delegate_id, Delegation.tenant_id).label("delegate"),
            _rests().label("rests"),
        )
        .where(Delegation.tenant_id == tenant_id)
        .order_by(Delegation.named_at.desc(), Delegation.id)
        .limit(_LISTED)
    )
    return [_view(row, tx.at) for row in rows]


def _view(found: Any, at: datetime) -> DelegationView:
    row: Delegation = found.Delegation
    return DelegationView(
        id=row.id,
        tenant_id=row.tenant_id,
        giver_id=row.giver_id,
        giver=found.giver,
        delegate_id=row.delegate_id,
        delegate=found.delegate,
        named_at=row.named_at,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        ended_at=row.ended_at,
        state=_say(row, at, rests=found.rests),
    )


def _say(row: Delegation, at: datetime, *, rests: bool) -> str:
    if row.ended_at is not None:
        return "ended"
    if row.ends_at <= at:
        return "over"
    if not rests:
        return "void"
    return "coming" if at < row.starts_at else "standing"
