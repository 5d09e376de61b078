"""How a person reads what is sent to them: language, clock, and which mails they declined.

What must stay true: what is owed (`letters.DECLINABLE` says what is not) can't be declined.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from zoneinfo import available_timezones

import sqlalchemy as sa

from broker.errors import Denied, Invalid
from broker.ids import PersonId
from broker.languages import LANGUAGES
from broker.letters import DECLINABLE
from broker.people import Person
from broker.tx import Tx


@dataclass(frozen=True, slots=True)
class Reading:
    """`language` is None until it was chosen or seen; `zone` is a name of the IANA's."""

    language: str | None
    zone: str | None
    declined: Collection[str]


def read(tx: Tx) -> Reading:
    """The actor's own. Raises Denied for who is no person."""
    person = _actor(tx)
    return Reading(person.language, person.zone, tuple(person.declined_notices))


def choose(tx: Tx, wanted: Reading) -> None:
    """Keep what the actor chose. Raises Invalid, which names the field."""
    _check(wanted)
    person = _actor(tx)
    person.language, person.zone = wanted.language, wanted.zone
    person.declined_notices = sorted(set(wanted.declined))


def choose_language(tx: Tx, language: str) -> None:
    """The actor's, as chosen on a page. Raises Invalid."""
    before = read(tx)
    choose(tx, Reading(language, before.zone, before.declined))


def note_language(tx: Tx, person_id: PersonId, language: str) -> None:
    """What a browser says at sign-in counts until the person chooses."""
    tx.session.execute(
        sa.update(Person)
        .where(Person.id == person_id, Person.language.is_(None))
        .values(language=language)
    )


def _check(wanted: Reading) -> None:
    fields: dict[str, str] = {}
    if wanted.language is not None and wanted.language not in LANGUAGES:
        fields["language"] = " or ".join(LANGUAGES)
    if wanted.zone is not None and wanted.zone not in available_timezones():
        fields["zone"] = "a name of the IANA's, such as Europe/Paris"
    if not DECLINABLE.issuperset(wanted.declined):
        fields["declined"] = f"of {', '.join(sorted(DECLINABLE))}; the rest is owed"
    if fields:
        raise Invalid("this can't be chosen", fields=fields)


def _actor(tx: Tx) -> Person:
    if tx.actor.person_id is None:
        raise Denied("only a person reads mails")
    return tx.session.get_one(Person, tx.actor.person_id)
