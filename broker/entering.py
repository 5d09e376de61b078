"""Signing in with a password, and proving again who one is: with a code beside it, where one is on.

What must stay true: this is the only door that opens a session for a password; what a person's
recovery code or an unknown device opened is told to them by mail.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from broker import accounts, authenticators, mail, sessions, signin
from broker.authenticators import SeedBox
from broker.db import Base, Database
from broker.ids import PersonId
from broker.letters import NOT_YOU, Letter, Phrase, phrase
from broker.people import Person
from broker.secret import Secret
from broker.tx import Tx, system

_ACTOR = "sign-in"


class KnownDevice(Base):
    """A browser in which a person signed in: the digest of a value that it alone holds."""

    __tablename__ = "known_device"
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"), primary_key=True)
    token_digest: Mapped[bytes] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class Given:
    """What a person gave; `address` is where they ask from."""

    password: Secret[str]
    code: Secret[str] | None
    address: str


def sign_in(
    database: Database, email: str, given: Given, box: SeedBox
) -> tuple[Secret[str], PersonId]:
    """The token of a new session, and whose it is. Raises NotAuthenticated, TooMany."""
    person_id = signin.check_sign_in(database, email, given.password, address=given.address)
    how = _check_code(database, person_id, given, box)
    with database.begin(system(_ACTOR)) as tx:
        person = tx.session.get_one(Person, person_id)
        return sessions.open_session(tx, person, how), person_id


def confirm(database: Database, session_id: str, given: Given, box: SeedBox) -> None:
    """Note that the session's person proved again who they are. Raises as `sign_in` does."""
    with database.begin(system(_ACTOR)) as tx:
        person_id = sessions.find_person(tx, session_id)
    signin.check_password(database, person_id, given.password, address=given.address)
    how = _check_code(database, person_id, given, box)
    with database.begin(system(_ACTOR)) as tx:
        sessions.note_confirmed(tx, session_id, how)


def _check_code(database: Database, person_id: PersonId, given: Given, box: SeedBox) -> str:
    how = authenticators.check(database, person_id, given.code, box)
    if how == "recovery":
        with database.begin(system(_ACTOR)) as tx:
            _tell_of_recovery(tx, person_id)
    return "code" if how else "password"


def _tell_of_recovery(tx: Tx, person_id: PersonId) -> None:
    person = tx.session.get_one(Person, person_id)
    accounts.record_for_all(tx, person, "recovery_code.used")
    left = authenticators.count_recovery_codes(tx, person_id)
    tell(tx, person_id, phrase("A recovery code was used; %(left)s are left.", left=left))


def note_device(tx: Tx, person_id: PersonId, token: Secret[str] | None) -> Secret[str]:
    """The browser's value, a new one where it had none that is known; that is told by mail, but for
    the person's first.
    """
    known = sa.select(KnownDevice).where(KnownDevice.person_id == person_id)
    if token is not None:
        row = tx.session.scalar(known.where(KnownDevice.token_digest == _digest(token)))
        if row is not None:
            row.seen_at = tx.at
            return token
    if tx.session.scalar(known.limit(1)) is not None:
        tell(
            tx,
            person_id,
            phrase("You signed in at %(when)s from a browser that is new here.", when=tx.at),
        )
    fresh = Secret(secrets.token_urlsafe(32))
    tx.session.execute(
        insert(KnownDevice).values(person_id=person_id, token_digest=_digest(fresh), seen_at=tx.at)
    )
    return fresh


def tell(tx: Tx, person_id: PersonId, what: Phrase) -> None:
    letter = Letter(
        phrase("Security notice: your account"), [what, NOT_YOU], "security", "/account"
    )
    mail.write(tx, person_id, None, letter)


def forget_person(tx: Tx, person_id: str) -> None:
    """Delete the authenticator, recovery codes and known devices."""
    authenticators.forget_person(tx, person_id)
    tx.session.execute(sa.delete(KnownDevice).where(KnownDevice.person_id == person_id))


def _digest(token: Secret[str]) -> bytes:
    return hashlib.sha256(token.reveal().encode()).digest()
