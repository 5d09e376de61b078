"""Erasing a person: what the control database says of them goes, every log still verifies (G13).

What must stay true: an erased value stands in no table and no job row afterwards, and in no export.
The row of the person stays, nameless, because acts point to it; log entries stay as they are, for
they hold commitments, and what opened them is deleted. What is left is listed, row by row, each
with its ground (`erasure.kept`): opaque ids in the record of what was decided, and texts that
others wrote into that record (a reason, a note), in which the docs ask that nobody be named.

Only who can no longer act is erased: access ends first, by its own ways, and then the name goes.
What write-ahead logs and backups still hold ends with their retention (`docs/adr/0008`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from broker import device_logins, entering, idempotency, mail, passkeys, people, signin, trail
from broker.db import Base, Json
from broker.directories import provisioning
from broker.errors import NOT_THERE, Conflict, NotFound
from broker.grants.model import Grant, Lease
from broker.ids import PersonId, TenantId
from broker.oidc import links
from broker.people import Membership, Person
from broker.rights import leaving
from broker.tx import Tx

ERASED = "erased:"  # begins the address key of an erased person; no address holds a colon


class ErasureRow(Base):
    """An erasure and what it left. Never changed."""

    __tablename__ = "erasure"
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"), primary_key=True)
    by_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    at: Mapped[datetime]
    openings: Mapped[int]
    kept: Mapped[list[Json]] = mapped_column(JSONB)


@dataclass(frozen=True, slots=True)
class Erasure:
    """`openings` is how many commitments in logs can no longer be opened; `kept` how many rows hold
    the opaque id, or a text of others with the name, still (see `get_report`).
    """

    person_id: PersonId
    openings: int
    kept: int


def erase_person(tx: Tx, person_id: str) -> Erasure:
    """Take away all that names this person, for good.

    Raises Conflict while the person can still act or something they asked for is open, and when
    they were erased already.
    """
    people.check(tx, "person:erase")
    return erase(tx, person_id)


def erase(tx: Tx, person_id: str) -> Erasure:
    """As `erase_person`, for who has asked already whether the actor may."""
    person = tx.session.get(Person, person_id, with_for_update=True)
    if person is None:
        raise NotFound(NOT_THERE)
    _check_over(tx, person)
    identity = PersonId(person.id)
    mail.forget_person(tx, identity)
    entering.forget_person(tx, identity)
    signin.forget_person(tx, person)
    passkeys.forget_person(tx, identity)
    device_logins.forget_person(tx, identity)
    links.forget_person(tx, identity)
    provisioning.forget_person(tx, identity)
    idempotency.forget_answers(tx)
    tenants = tx.session.scalars(
        sa.select(Membership.tenant_id).where(Membership.person_id == person.id).distinct()
    )
    openings = trail.erase_person(tx, identity, {TenantId(t) if t else None for t in tenants})
    openings += leaving.take_out_of_texts(tx, identity)  # while the name is known
    left = leaving.list_left_texts(tx, identity)
    person.name = f"erased on {tx.at:%Y-%m-%d}"
    tx.session.execute(
        sa.update(Membership)
        .where(Membership.person_id == person_id)
        .values(name=person.name, email="")
    )
    person.email = ""
    person.address_key = ERASED + person.id
    person.address_fold = person.address_key
    person.password_hash = None
    person.language = person.zone = None
    person.declined_notices = []
    person.disabled_at = person.disabled_at or tx.at
    tx.session.flush()
    return Erasure(identity, openings, _keep_report(tx, identity, openings, left))


def _keep_report(tx: Tx, person_id: PersonId, openings: int, texts: list[Json]) -> int:
    row = ErasureRow(person_id=person_id, at=tx.at, openings=openings, by_id=tx.actor.person_id)
    own = {"table": "erasure", "key": person_id, "columns": ["person_id"], "why": leaving.REPORT}
    row.kept = [*texts, *leaving.list_left_rows(tx, person_id), own]
    tx.session.add(row)
    tx.session.flush()
    return len(row.kept)


def get_report(tx: Tx, person_id: str) -> Json:
    """What the erasure of a person left: each row with its table, key, columns and ground."""
    people.check(tx, "rights:handle")
    row = tx.session.get(ErasureRow, person_id)
    if row is None:
        raise NotFound("this person was not erased, or there is none")
    return {
        "person_id": person_id,
        "at": row.at,
        "openings": row.openings,
        "kept": row.kept,
    }


def _check_over(tx: Tx, person: Person) -> None:
    if person.address_key.startswith(ERASED):
        raise Conflict("this person was erased already")
    held = sa.select(Membership.id).where(
        Membership.person_id == person.id, Membership.ended_at.is_(None)
    )
    if person.disabled_at is None and tx.session.scalar(held.limit(1)) is not None:
        raise Conflict(
            "this person can still act; end their roles or shut them out first, then erase them"
        )
    grant = sa.select(Grant.id).where(
        Grant.requester_id == person.id, Grant.state.in_(("requested", "approved"))
    )
    lease = sa.select(Lease.id).where(Lease.person_id == person.id, Lease.state != "revoked")
    still = tx.session.scalar(grant.limit(1)) or tx.session.scalar(lease.limit(1))
    if still is not None:
        raise Conflict(f"{still} is still open; it must be over before this person is erased")
