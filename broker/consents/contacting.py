"""How a support engineer reaches a tenant's people: by a detail they consented to show, or by us.

What must stay true: a detail is shown for an open ticket of their organisation alone, one field at
a time, while the consent to that field is live and its person is not restricted; each showing is an
entry of the tenant's log and stands on the person's own page. Without that, the broker writes for
the engineer, and shows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import mail, people, trail
from broker.consents import ledger
from broker.consents.ledger import Consent, ConsentMissing
from broker.consents.purposes import SUPPORT_CONTACT
from broker.db import Base
from broker.errors import NOT_THERE, Invalid, NotFound
from broker.ids import PersonId, TenantId, new_id
from broker.letters import Letter, own, phrase
from broker.people import Membership, Person
from broker.tickets import mirror
from broker.tickets.mirror import Ticket
from broker.trail import Personal
from broker.tx import Tx

FIELDS = ("name", "email")


class Disclosure(Base):
    """One field of one person, shown to one engineer, for one ticket, on one consent."""

    __tablename__ = "disclosure"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    field: Mapped[str]
    ticket_id: Mapped[str] = mapped_column(sa.ForeignKey("ticket.id"))
    shown_to: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    consent_id: Mapped[str] = mapped_column(sa.ForeignKey("consent_act.id"))
    at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody of the ticket's organisation, before anything of them is shown.

    `may_be_shown` are the fields to which they consent now.
    """

    person_id: PersonId
    role: str
    may_be_shown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """`value` is the field as the person gave it to their organisation."""

    person_id: PersonId
    field: str
    value: str


@dataclass(frozen=True, slots=True)
class DisclosureView:
    """For the person: what was shown, to whom, for which ticket."""

    field: str
    shown_to: str
    ticket: str
    at: datetime


def sees_addresses(tx: Tx) -> bool:
    """Whether lists of a tenant's people hold their addresses for who asks: support's do not."""
    return tx.actor.side == "tenant" or people.may(tx, "rights:handle")


def list_contacts(tx: Tx, ticket_id: str) -> list[Contact]:
    """Who can be reached about an open ticket; by opaque ids, with no name and no address."""
    ticket = _get_ticket(tx, ticket_id)
    tenant_id = TenantId(ticket.tenant_id)
    return [
        Contact(one.person_id, one.role, _shown_fields(tx, tenant_id, one.person_id))
        for one in sorted(people.list_members(tx, tenant_id), key=lambda m: (m.role, m.person_id))
        if not one.disabled
    ]


def _shown_fields(tx: Tx, tenant_id: TenantId, person_id: PersonId) -> tuple[str, ...]:
    consents = {name: Consent(tenant_id, SUPPORT_CONTACT, person_id, name) for name in FIELDS}
    return tuple(name for name, consent in consents.items() if ledger.is_live(tx, consent))


def show(tx: Tx, ticket_id: str, person_id: str, field: str) -> Shown:
    """Show one field to the engineer who asks. Raises ConsentMissing, Conflict, NotFound."""
    ticket = _get_ticket(tx, ticket_id)
    if field not in FIELDS:
        raise Invalid("there is no such field", fields={"field": f"one of {', '.join(FIELDS)}"})
    held = _get_member(tx, ticket, person_id)
    consent = Consent(TenantId(ticket.tenant_id), SUPPORT_CONTACT, PersonId(person_id), field)
    ledger.hold(tx, consent.tenant_id)
    last = ledger.find_last(tx, consent)
    if last is None or not ledger.is_live(tx, consent):
        raise ConsentMissing(
            f"this person does not consent to showing their {field}; write to them through the "
            "broker: broker tickets write",
            purposes=[SUPPORT_CONTACT],
        )
    row = Disclosure(
        id=new_id("dcl"),
        tenant_id=ticket.tenant_id,
        person_id=person_id,
        field=field,
        ticket_id=ticket.id,
        shown_to=tx.actor.person_id,
        consent_id=last.id,
        at=tx.at,
    )
    tx.session.add(row)
    tx.session.flush()
    facts = {"person": person_id, "field": field, "ticket": ticket.id, "consent": last.id}
    trail.record(tx, consent.tenant_id, "contact.shown", row.id, facts)
    return Shown(PersonId(person_id), field, held.name if field == "name" else held.email)


def write(tx: Tx, ticket_id: str, person_id: str, text: str) -> None:
    """Write to somebody through the broker, which shows nothing of them. Raises Invalid."""
    ticket = _get_ticket(tx, ticket_id)
    _get_member(tx, ticket, person_id)
    if not 3 <= len(text.strip()) <= 4000:
        raise Invalid("say what it is about", fields={"text": "3 to 4,000 characters"})
    letter = Letter(
        phrase("Ticket %(ticket)s", ticket=ticket.external_id),
        [
            phrase(
                "A support engineer writes to you about ticket %(ticket)s, through us: your "
                "address was not shown.",
                ticket=ticket.external_id,
            ),
            own(text.strip()),
            phrase("Answer on the ticket."),
        ],
        thread=ticket.id,
    )
    mail.write(tx, PersonId(person_id), TenantId(ticket.tenant_id), letter)
    facts = {"ticket": ticket.id}
    said = [Personal("text", text.strip())]
    trail.record(tx, TenantId(ticket.tenant_id), "contact.written", person_id, facts, said)


def _get_ticket(tx: Tx, ticket_id: str) -> Ticket:
    """An open one, for who may reach people about it. Raises Conflict, Denied, NotFound."""
    people.check(tx, "contact:reach")
    return mirror.get_open_ticket(tx, ticket_id)


def _get_member(tx: Tx, ticket: Ticket, person_id: str) -> Membership:
    held = tx.session.scalars(
        sa.select(Membership)
        .join(Person, Person.id == Membership.person_id)
        .where(
            Membership.person_id == person_id,
            Membership.tenant_id == ticket.tenant_id,
            Membership.ended_at.is_(None),
            Person.disabled_at.is_(None),
        )
        .order_by(Membership.id)
    ).first()
    if held is None:
        raise NotFound(NOT_THERE)
    return held


def list_disclosures(tx: Tx) -> list[DisclosureView]:
    """What was shown of the reader, newest first."""
    rows = tx.session.execute(
        sa.select(Disclosure, Person.name, Ticket.external_id)
        .join(Person, Person.id == Disclosure.shown_to)
        .join(Ticket, Ticket.id == Disclosure.ticket_id)
        .where(Disclosure.person_id == tx.actor.person_id)
        .order_by(Disclosure.at.desc(), Disclosure.id)
    )
    return [DisclosureView(row.field, name, ticket, row.at) for row, name, ticket in rows]
