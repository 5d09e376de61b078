"""Erasing a person: what the control database says of them goes, every log still verifies (G13).

What must stay true: an erased value stands in no table and no job row afterwards, and in no export.
The row of the person stays, nameless, because acts point to it; log entries stay as they are, for
they hold commitments, and what opened them is deleted. Texts that others wrote (a reason, a note)
stay: they are about the case, and the docs ask that nobody be named in them.

Only who can no longer act is erased: access ends first, by its own ways, and then the name goes.
What write-ahead logs and backups still hold ends with their retention (`docs/adr/0008`).
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from broker import idempotency, mail, passkeys, people, signin, trail
from broker.errors import NOT_THERE, Conflict, NotFound
from broker.grants.model import Grant, Lease
from broker.ids import PersonId, TenantId
from broker.people import Membership, Person
from broker.tx import Tx

ERASED = "erased:"  # begins the address key of an erased person; no address holds a colon


@dataclass(frozen=True, slots=True)
class Erasure:
    """`openings` is how many commitments in logs can no longer be opened."""

    person_id: PersonId
    openings: int


def erase_person(tx: Tx, person_id: str) -> Erasure:
    """Take away all that names this person, for good.

    Raises Conflict while the person can still act or something they asked for is open, and when
    they were erased already.
    """
    people.check(tx, "person:erase")
    person = tx.session.get(Person, person_id, with_for_update=True)
    if person is None:
        raise NotFound(NOT_THERE)
    _check_over(tx, person)
    identity = PersonId(person.id)
    mail.forget_person(tx, identity)
    signin.forget_person(tx, person)
    passkeys.forget_person(tx, identity)
    idempotency.forget_answers(tx)
    tenants = tx.session.scalars(
        sa.select(Membership.tenant_id).where(Membership.person_id == person.id).distinct()
    )
    openings = trail.erase_person(tx, identity, {TenantId(t) if t else None for t in tenants})
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
    person.disabled_at = person.disabled_at or tx.at
    return Erasure(identity, openings)


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
