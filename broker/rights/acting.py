"""What a right does at once: an objection to marketing, and a restriction of use."""

from __future__ import annotations

import sqlalchemy as sa

from broker import lifecycle, people, trail
from broker.consents import ledger
from broker.consents.ledger import Consent
from broker.errors import Conflict, Denied
from broker.ids import PersonId
from broker.jobs import Queue
from broker.people import Person
from broker.rights import cases
from broker.tx import Tx

MARKETING = "marketing_messages"


def object_to_marketing(tx: Tx, queue: Queue) -> str:
    """Ends every consent of the person to it, now (GDPR 21(3)); returns the case, answered."""
    if tx.actor.person_id is None:
        raise Denied("sign in: only a person objects for themselves")
    case_id = cases.ask(tx, "objection", MARKETING)
    ended = 0
    for tenant_id in people.list_tenants_of_actor(tx):
        consent = Consent(tenant_id, MARKETING, PersonId(tx.actor.person_id))
        if ledger.is_live(tx, consent):
            lifecycle.withdraw_consent(tx, consent, queue)
            ended += 1
    row = tx.session.get_one(cases.RightsCase, case_id)
    text = f"You get no marketing from now on; {ended} consents to it were ended."
    cases.close(tx, row, "done", text)
    return case_id


def restrict(tx: Tx, person_id: str, *, restricted: bool) -> None:
    """Mark a person: what is held of them is stored and put to no other use (GDPR 18), or lift it.

    No mail is sent to them but about their own rights, no contact detail is shown, and their own
    consents count as not given. Their roles stay: what they do themselves is theirs to do.
    """
    people.check(tx, "rights:handle")
    person = people.get_person(tx, person_id)
    if (person.restricted_at is not None) == restricted:
        raise Conflict(f"{person_id} is {'' if restricted else 'not '}restricted already")
    person.restricted_at = tx.at if restricted else None
    kind = "person.restricted" if restricted else "person.unrestricted"
    trail.record(tx, None, kind, person_id)
    tx.session.flush()


def is_restricted(tx: Tx, person_id: str) -> bool:
    query = sa.select(Person.restricted_at).where(Person.id == person_id)
    return tx.session.scalar(query) is not None
