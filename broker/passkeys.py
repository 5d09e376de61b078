"""Passkeys (WebAuthn): registering, signing in, confirming, and answering for a decision.

What must stay true: a challenge is made here, kept here, bound to one session (or to one browser
that is not signed in yet), good for 5 minutes and for one answer, whatever that answer is worth;
the authenticator must have verified its user; a counter that does not rise ends the passkey, for
then two devices hold it. No attestation is asked for: the make of a device decides nothing.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
import webauthn
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy.orm import Mapped, mapped_column
from webauthn.helpers import decode_credential_public_key, decoded_public_key_to_cryptography
from webauthn.helpers import structs as shapes
from webauthn.helpers.exceptions import WebAuthnException

from broker import accounts, mail, sessions, signin
from broker.assertions import Assertion, fingerprint
from broker.db import Base, Database, Json
from broker.errors import Conflict, Denied, Invalid, NotAuthenticated, NotFound, TooMany
from broker.ids import PersonId, new_id
from broker.letters import NOT_YOU, Letter, Phrase, phrase
from broker.people import Person
from broker.secret import Secret
from broker.settings import Settings
from broker.tx import Tx, system

REGISTER, SIGN_IN, CONFIRM, DECIDE = "register", "sign_in", "confirm", "decide"
_GOOD_FOR = timedelta(minutes=5)
_MOST_PASSKEYS = 20
_MOST_STRANGERS = 100  # challenges for browsers that are not signed in, from one address
_MAX_ANSWER = 16_384  # characters; a real one has about 1,000


class Passkey(Base):
    """`public_key` is DER, for whoever verifies; `cose_key` is what the authenticator gave."""

    __tablename__ = "passkey"
    id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    name: Mapped[str]
    credential_id: Mapped[bytes] = mapped_column(unique=True)
    cose_key: Mapped[bytes]
    public_key: Mapped[bytes]
    sign_count: Mapped[int]
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.public_key)


class Challenge(Base):
    """`bound_to` is a session's id, or the digest of what a stranger's browser holds; `address` is
    from where the stranger asks.
    """

    __tablename__ = "passkey_challenge"
    value: Mapped[bytes] = mapped_column(primary_key=True)
    purpose: Mapped[str]
    bound_to: Mapped[str]
    address: Mapped[str | None]
    decision_id: Mapped[str | None]
    expires_at: Mapped[datetime]


class PasskeyRefused(NotAuthenticated):
    """What a passkey answered proves nothing here."""

    type = "passkey-refused"


class PasskeyCloned(PasskeyRefused):
    """The counter did not rise: another device holds the same key. It is ended."""

    type = "passkey-cloned"

    def __init__(self, passkey_id: str) -> None:
        super().__init__("this passkey was used by two devices; it is ended, use another way")
        self.passkey_id = passkey_id


@dataclass(frozen=True, slots=True)
class Party:
    """Whom passkeys are made for: `domain` and `origin` of the console, and the vendor's name."""

    domain: str
    origin: str
    name: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back for a challenge that was ours, and is used up now; not verified yet."""

    party: Party
    challenge: bytes
    credential: Json
    decision_id: str | None = None


def party_of(settings: Settings) -> Party:
    address = urlsplit(settings.web.public_url)
    return Party(
        address.hostname or "", f"{address.scheme}://{address.netloc}", settings.vendor.name
    )


def ask_registration(tx: Tx, party: Party, session_id: str) -> Json:
    """Options for the browser's `credentials.create`."""
    person = _actor(tx)
    held = list_passkeys(tx)
    if len(held) >= _MOST_PASSKEYS:
        raise Conflict(f"you have {_MOST_PASSKEYS} passkeys; remove one first")
    challenge = _keep(tx, Challenge(purpose=REGISTER, bound_to=session_id))
    options = webauthn.generate_registration_options(
        rp_id=party.domain,
        rp_name=f"{party.name} support access",
        user_id=person.id.encode(),  # opaque, so that no address lies in an authenticator by it
        user_name=person.email,
        user_display_name=person.name,
        challenge=challenge,
        authenticator_selection=shapes.AuthenticatorSelectionCriteria(
            resident_key=shapes.ResidentKeyRequirement.REQUIRED,
            user_verification=shapes.UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=_descriptors(held),
    )
    return dict(json.loads(webauthn.options_to_json(options)))


def register(tx: Tx, answered: Answered, name: str) -> str:
    """Keep a new passkey of the actor and tell them by mail; returns its id. Raises Invalid."""
    person, name = _actor(tx), _checked_name(name)
    try:
        made = webauthn.verify_registration_response(
            credential=answered.credential,
            expected_challenge=answered.challenge,
            expected_rp_id=answered.party.domain,
            expected_origin=answered.party.origin,
            require_user_verification=True,
        )
        public_key = _der(made.credential_public_key)
    except (WebAuthnException, ValueError) as error:
        raise Invalid(f"the passkey was not accepted ({type(error).__name__}); try again") from None
    known = sa.select(Passkey.id).where(Passkey.credential_id == made.credential_id)
    if tx.session.scalar(known) is not None:
        raise Conflict("this passkey is registered already")
    row = Passkey(
        id=new_id("pky"),
        person_id=person.id,
        name=name,
        credential_id=made.credential_id,
        cose_key=made.credential_public_key,
        public_key=public_key,
        sign_count=made.sign_count,
        created_at=tx.at,
    )
    tx.session.add(row)
    tx.session.flush()
    accounts.record_for_all(tx, person, "passkey.registered", row.id, {"key": row.fingerprint})
    _tell(tx, person, phrase("The passkey “%(name)s” was added to your account.", name=name))
    return row.id


def _der(cose_key: bytes) -> bytes:
    key = decoded_public_key_to_cryptography(decode_credential_public_key(cose_key))
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def list_passkeys(tx: Tx) -> Sequence[Passkey]:
    """The actor's own that hold, oldest first."""
    own = sa.select(Passkey).where(
        Passkey.person_id == tx.actor.person_id, Passkey.ended_at.is_(None)
    )
    return tx.session.scalars(own.order_by(Passkey.created_at, Passkey.id)).all()


def rename(tx: Tx, passkey_id: str, name: str) -> None:
    row = _own(tx, passkey_id)  # first: what is not there looks the same, whatever was sent (G12)
    row.name = _checked_name(name)


def remove(tx: Tx, passkey_id: str) -> None:
    """End one of the actor's own. Raises Conflict for the last way to sign in."""
    person, row = _actor(tx), _own(tx, passkey_id)
    if person.password_hash is None and len(list_passkeys(tx)) == 1:
        raise Conflict("this is your only way to sign in; register another passkey first")
    row.ended_at = tx.at
    accounts.record_for_all(tx, person, "passkey.removed", row.id)
    _tell(
        tx, person, phrase("The passkey “%(name)s” was removed from your account.", name=row.name)
    )


def forget_person(tx: Tx, person_id: PersonId) -> None:
    """Delete all passkeys. What was decided with one keeps its key, which names nobody."""
    tx.session.execute(sa.delete(Passkey).where(Passkey.person_id == person_id))


def ask_sign_in(tx: Tx, party: Party, browser: str, address: str) -> Json:
    """Options for `credentials.get` in a browser of somebody not known yet. Raises TooMany."""
    strangers = sa.select(sa.func.count()).where(
        Challenge.address == address, Challenge.expires_at > tx.at
    )
    if (tx.session.scalar(strangers) or 0) >= _MOST_STRANGERS:
        raise TooMany("too many sign-ins at once; wait a minute, or use your password")
    row = Challenge(purpose=SIGN_IN, bound_to=browser_key(browser), address=address)
    return _options(party, _keep(tx, row), ())


def ask_confirmation(tx: Tx, party: Party, session_id: str) -> Json:
    challenge = _keep(tx, Challenge(purpose=CONFIRM, bound_to=session_id))
    return _options(party, challenge, list_passkeys(tx))


def ask_decision(tx: Tx, party: Party, session_id: str, challenge: bytes, decision_id: str) -> Json:
    """Options by which the person's passkey signs `challenge`, the digest of the decision."""
    held = list_passkeys(tx)
    if not held:
        raise Conflict("you have no passkey; register one under your name, or decide without")
    row = Challenge(purpose=DECIDE, bound_to=session_id, value=challenge, decision_id=decision_id)
    _keep(tx, row)
    return _options(party, challenge, held)


def browser_key(browser: str) -> str:
    """To what a stranger's challenge is bound: a digest of a value that its browser alone holds."""
    return "browser:" + hashlib.sha256(browser.encode()).hexdigest()


def _options(party: Party, challenge: bytes, held: Sequence[Passkey]) -> Json:
    options = webauthn.generate_authentication_options(
        rp_id=party.domain,
        challenge=challenge,
        allow_credentials=_descriptors(held),
        user_verification=shapes.UserVerificationRequirement.REQUIRED,
    )
    return dict(json.loads(webauthn.options_to_json(options)))


def _descriptors(held: Sequence[Passkey]) -> list[shapes.PublicKeyCredentialDescriptor]:
    return [shapes.PublicKeyCredentialDescriptor(id=row.credential_id) for row in held]


def _keep(tx: Tx, row: Challenge) -> bytes:
    """Keep a challenge, random unless it has a value; returns its value."""
    tx.session.execute(sa.delete(Challenge).where(Challenge.expires_at <= tx.at))
    row.value = row.value or secrets.token_bytes(32)
    row.expires_at = tx.at + _GOOD_FOR
    tx.session.add(row)
    tx.session.flush()
    return row.value


def take(database: Database, party: Party, text: str, purpose: str, bound_to: str) -> Answered:
    """Use up the challenge that `text`, a browser's JSON, answers: in a transaction of its own, so
    that it is gone whatever comes of the answer. Raises Invalid, PasskeyRefused.
    """
    credential, challenge = _read(text)
    with database.begin(system("passkeys")) as tx:
        taken = tx.session.execute(
            sa.delete(Challenge)
            .where(
                Challenge.value == challenge,
                Challenge.purpose == purpose,
                Challenge.bound_to == bound_to,
                Challenge.expires_at > tx.at,
            )
            .returning(Challenge.decision_id)
        ).first()
    if taken is None:
        raise PasskeyRefused("this answer of a passkey was used, has lapsed, or is not of here")
    return Answered(party, challenge, credential, taken.decision_id)


def _read(text: str) -> tuple[Json, bytes]:
    """The credential as the browser gave it, and the challenge that it says it answers."""
    try:
        credential: Any = json.loads(text[:_MAX_ANSWER])
        said = json.loads(webauthn.base64url_to_bytes(credential["response"]["clientDataJSON"]))
        return dict(credential), webauthn.base64url_to_bytes(said["challenge"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Invalid("this is no answer of a passkey; try again") from None


def sign_in(
    database: Database, answered: Answered, *, address: str
) -> tuple[Secret[str], PersonId]:
    """Open a session for the passkey's owner. Raises TooMany or PasskeyRefused."""
    named = str(answered.credential.get("id", ""))
    attempt = signin.count_attempt(database, hashlib.sha256(named.encode()).digest(), address)
    with database.begin(system("sign-in")) as tx:
        row, _ = verify(tx, answered, None)
        person = tx.session.get_one(Person, row.person_id)
        if person.disabled_at is not None:
            raise PasskeyRefused(_NO)
        signin.forget_attempt(tx, attempt)
        return sessions.open_session(tx, person, "passkey"), PersonId(person.id)


_NO = "the passkey is not known here, or did not sign as it should"


def verify(tx: Tx, answered: Answered, person_id: str | None) -> tuple[Passkey, Assertion]:
    """The passkey that answered, of `person_id` if that is given, and what it signed.

    Raises PasskeyRefused; PasskeyCloned when its counter did not rise.
    """
    try:
        credential = webauthn.helpers.parse_authentication_credential_json(answered.credential)
        row = _find(tx, credential.raw_id, person_id)
        used = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=answered.challenge,
            expected_rp_id=answered.party.domain,
            expected_origin=answered.party.origin,
            credential_public_key=row.cose_key,
            credential_current_sign_count=0,  # counted below, where a clone is told from a fault
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError):
        raise PasskeyRefused(_NO) from None
    handle = credential.response.user_handle
    if handle is not None and handle != row.person_id.encode():
        raise PasskeyRefused(_NO)
    if max(used.new_sign_count, row.sign_count) and used.new_sign_count <= row.sign_count:
        raise PasskeyCloned(row.id)
    row.sign_count, row.used_at = used.new_sign_count, tx.at
    said = credential.response
    return row, Assertion(
        row.public_key,
        answered.party.domain,
        said.authenticator_data,
        said.client_data_json,
        said.signature,
    )


def _find(tx: Tx, credential_id: bytes, person_id: str | None) -> Passkey:
    """Locked, so that of two answers at once the second sees the first one's counter."""
    query = sa.select(Passkey).where(
        Passkey.credential_id == credential_id, Passkey.ended_at.is_(None)
    )
    row = tx.session.scalar(query.with_for_update())
    if row is None or person_id not in {None, row.person_id}:
        raise PasskeyRefused(_NO)
    return row


@contextmanager
def ending_clones(database: Database) -> Iterator[None]:
    """What refuses a clone rolls back; that it was seen, and ended, must not."""
    try:
        yield
    except PasskeyCloned as cloned:
        with database.begin(system("passkeys")) as tx:
            row = tx.session.get_one(Passkey, cloned.passkey_id, with_for_update=True)
            if row.ended_at is None:
                row.ended_at = tx.at
                person = tx.session.get_one(Person, row.person_id)
                accounts.record_for_all(tx, person, "passkey.cloned", row.id)
                _tell(
                    tx,
                    person,
                    phrase(
                        "The passkey “%(name)s” was used by two devices and is ended.",
                        name=row.name,
                    ),
                )
        raise


def _actor(tx: Tx) -> Person:
    if tx.actor.person_id is None:
        raise Denied("only a person has passkeys")
    return tx.session.get_one(Person, tx.actor.person_id)


def _own(tx: Tx, passkey_id: str) -> Passkey:
    row = tx.session.get(Passkey, passkey_id, with_for_update=True)
    if row is None or row.person_id != tx.actor.person_id or row.ended_at is not None:
        raise NotFound("there is no such passkey")
    return row


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not 1 <= len(name) <= 80:
        raise Invalid(
            "a passkey's name has 1 to 80 characters", fields={"name": "1 to 80 characters"}
        )
    return name


def _tell(tx: Tx, person: Person, what: Phrase) -> None:
    letter = Letter(phrase("Security notice: passkeys"), [what, NOT_YOU], "security", "/account")
    mail.write(tx, PersonId(person.id), None, letter)
