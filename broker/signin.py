"""Signing in: passwords (argon2id), personal API tokens, invitations.

What must stay true: only digests of secrets are kept; a wrong password and an unknown address look
and last the same; guessing is slowed by account-and-address and by address, never by account alone,
so that nobody can lock another out.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import argon2
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import sessions
from broker.accounts import digest, record_for_all
from broker.api_tokens import UNLIMITED, Limits, may_exist, with_checksum
from broker.db import Base, Database
from broker.errors import Conflict, Denied, Invalid, NotAuthenticated, NotFound, TooMany
from broker.ids import PersonId, TokenId, new_id
from broker.languages import mark
from broker.people import Person, address_key
from broker.secret import Secret
from broker.sessions import SignedIn
from broker.settings import Times
from broker.tx import Actor, Tx, system

_WINDOW = timedelta(minutes=15)
_USE_NOTED = timedelta(minutes=1)  # else every call would write, and one token's would queue up
_TRIES_PER_ACCOUNT_AND_ADDRESS = 5
_TRIES_PER_ADDRESS = 30
_PASSWORD_MIN, _PASSWORD_MAX = 12, 200
_hasher = argon2.PasswordHasher()  # RFC 9106's second recommendation: 64 MiB, 3 passes, 4 lanes
_DUMMY = _hasher.hash(secrets.token_urlsafe(16))


class SignInAttempt(Base):
    __tablename__ = "sign_in_attempt"
    id: Mapped[int] = mapped_column(sa.Identity(always=True), primary_key=True)
    account_digest: Mapped[bytes]
    address: Mapped[str]
    at: Mapped[datetime]


class ApiToken(Base):
    __tablename__ = "api_token"
    id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    name: Mapped[str]
    token_digest: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    scopes: Mapped[list[str] | None]
    tenants: Mapped[list[str] | None]


class Invitation(Base):
    """Lets a person set a first password, once. The code is made when the mail is sent."""

    __tablename__ = "invitation"
    id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    code_digest: Mapped[bytes | None] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


def set_password(tx: Tx, person_id: PersonId, password: Secret[str]) -> None:
    """Store argon2id of it and end all sessions. Raises Invalid when it is too short or long."""
    if not _PASSWORD_MIN <= len(password.reveal()) <= _PASSWORD_MAX:
        raise Invalid(
            f"a password has {_PASSWORD_MIN} to {_PASSWORD_MAX} characters",
            fields={"password": f"{_PASSWORD_MIN} to {_PASSWORD_MAX} characters"},
        )
    person = tx.session.get_one(Person, person_id)
    person.password_hash = _hasher.hash(password.reveal())
    sessions.end_sessions(tx, person_id)
    end_tokens(tx, person_id)


def change_password(tx: Tx, current: Secret[str], new: Secret[str]) -> None:
    """The actor's own password, with the current one; ends all sessions and tokens."""
    if tx.actor.person_id is None:
        raise Denied("only a person has a password")
    person = tx.session.get_one(Person, tx.actor.person_id, with_for_update=True)
    if not _password_holds(person, current):
        raise NotAuthenticated("the current password is wrong")
    set_password(tx, tx.actor.person_id, new)
    record_for_all(tx, person, "password.changed")


def check_sign_in(
    database: Database, email: str, password: Secret[str], *, address: str
) -> PersonId:
    """Check an address and its password; opens nothing (`entering` does, with what else is asked).

    Raises TooMany or NotAuthenticated; the failure is recorded in a transaction of its own, before
    the password is looked at, so that tries side by side all count.
    """
    try:
        key = address_key(email)
    except Invalid:
        key = ""
    account = _account_digest(key)
    attempt = count_attempt(database, account, address)
    with database.begin(system("sign-in")) as tx:
        person = tx.session.scalar(sa.select(Person).where(Person.address_key == key))
        if not _password_holds(person, password) or person is None:
            raise NotAuthenticated(mark("the address or the password is wrong"))
        forget_attempt(tx, attempt)
        return PersonId(person.id)


def check_password(
    database: Database, person_id: PersonId, password: Secret[str], *, address: str
) -> None:
    """Raises as `check_sign_in` does, and counts as a try of it: no way to guess beside it."""
    with database.begin(system("sign-in")) as tx:
        key = tx.session.get_one(Person, person_id).address_key
    attempt = count_attempt(database, _account_digest(key), address)
    with database.begin(system("sign-in")) as tx:
        if not _password_holds(tx.session.get_one(Person, person_id), password):
            raise NotAuthenticated(mark("the password is wrong"))
        forget_attempt(tx, attempt)


def forget_attempt(tx: Tx, attempt: int) -> None:
    """It succeeded, so it was no guess."""
    tx.session.execute(sa.delete(SignInAttempt).where(SignInAttempt.id == attempt))


def _account_digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def count_attempt(database: Database, account: bytes, address: str) -> int:
    """Count a try before it is looked at; returns its id. Raises TooMany."""
    with database.begin(system("sign-in")) as tx:
        # One count at a time for an address, or tries side by side would not see each other.
        number = int.from_bytes(hashlib.sha256(address.encode()).digest()[:8], signed=True)
        tx.session.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
        recent = sa.select(sa.func.count()).where(
            SignInAttempt.address == address, SignInAttempt.at > tx.at - _WINDOW
        )
        by_address = tx.session.scalar(recent) or 0
        by_both = tx.session.scalar(recent.where(SignInAttempt.account_digest == account)) or 0
        if by_both >= _TRIES_PER_ACCOUNT_AND_ADDRESS or by_address >= _TRIES_PER_ADDRESS:
            raise TooMany(
                mark("too many failed tries; wait 15 minutes"),
                retry_after_s=int(_WINDOW.total_seconds()),
            )
        row = SignInAttempt(account_digest=account, address=address, at=tx.at)
        tx.session.add(row)
        tx.session.flush()
        return row.id


def _password_holds(person: Person | None, password: Secret[str]) -> bool:
    """Take the same time whether the person exists or not."""
    known = person is not None and person.password_hash is not None and person.disabled_at is None
    stored = person.password_hash if person is not None and person.password_hash else _DUMMY
    try:
        _hasher.verify(stored, password.reveal()[:_PASSWORD_MAX])
    except argon2.exceptions.VerifyMismatchError:
        return False
    return known


def forget_person(tx: Tx, person: Person) -> None:
    """Delete sessions, tokens, invitations and failed sign-ins; their mails must be gone first."""
    for model in (sessions.WebSession, ApiToken, Invitation):
        tx.session.execute(sa.delete(model).where(model.person_id == person.id))
    account = _account_digest(person.address_key)
    tx.session.execute(sa.delete(SignInAttempt).where(SignInAttempt.account_digest == account))


def end_tokens(tx: Tx, person_id: PersonId) -> None:
    tx.session.execute(
        sa.update(ApiToken)
        .where(ApiToken.person_id == person_id, ApiToken.ended_at.is_(None))
        .values(ended_at=tx.at)
    )


def create_token(
    tx: Tx, name: str, days: int, limits: Limits = UNLIMITED, *, service_id: PersonId | None = None
) -> tuple[TokenId, Secret[str]]:
    """An API token for the actor: 256 random bits, shown once, kept as SHA-256.

    With `service_id` it is that program's; the caller has checked that the actor may give it one.
    """
    owner = service_id or tx.actor.person_id
    if owner is None:
        raise Denied("only a person has API tokens")
    if not 1 <= days <= 365:
        raise Invalid("a token lives 1 to 365 days", fields={"days": "1 to 365"})
    asked = tx.at + timedelta(days=days)
    return _make_token(tx, owner, name[:100], limits, _end_of_token(tx, asked))


def _make_token(
    tx: Tx, owner: PersonId, name: str, limits: Limits, expires_at: datetime
) -> tuple[TokenId, Secret[str]]:
    token = Secret(with_checksum(secrets.token_urlsafe(32)))
    row = ApiToken(
        id=new_id("tok"),
        person_id=owner,
        name=name,
        token_digest=digest(token),
        created_at=tx.at,
        expires_at=expires_at,
        scopes=None if limits.scopes is None else sorted(limits.scopes),
        tenants=None if limits.tenants is None else sorted(limits.tenants),
    )
    tx.session.add(row)
    tx.session.flush()
    record_for_all(tx, tx.session.get_one(Person, owner), "token.created")
    return TokenId(row.id), token


def rotate_token(tx: Tx, row: ApiToken, keep_s: int) -> tuple[TokenId, Secret[str]]:
    """Another token in its place, with its limits and for as long; it ends after `keep_s`."""
    if row.ended_at is not None or row.expires_at <= tx.at:
        raise Conflict("this token is over; make another")
    limits = Limits(
        None if row.scopes is None else frozenset(row.scopes),
        None if row.tenants is None else frozenset(row.tenants),
    )
    expires_at = _end_of_token(tx, tx.at + (row.expires_at - row.created_at))
    made = _make_token(tx, PersonId(row.person_id), row.name, limits, expires_at)
    if keep_s:
        row.expires_at = min(row.expires_at, tx.at + timedelta(seconds=keep_s))
    else:
        row.ended_at = tx.at
    record_for_all(tx, tx.session.get_one(Person, row.person_id), "token.ended")
    return made


def _end_of_token(tx: Tx, asked: datetime) -> datetime:
    """A token makes none that outlives it: a stolen one can't be turned into a longer one."""
    return asked if tx.actor.until is None else min(asked, tx.actor.until)


# Built once: every request asks it.
_token, _person = ApiToken.__table__.c, Person.__table__.c
_TOKEN_QUERY = sa.select(
    *(_token.created_at, _token.expires_at, _token.used_at, _token.id.label("token_id")),
    *(_token.scopes, _token.tenants),
    *(_person.id, _person.side, _person.name),
).where(
    _person.id == _token.person_id,
    _token.token_digest == sa.bindparam("digest"),
    _token.ended_at.is_(None),
    _token.expires_at > sa.bindparam("at"),
    _person.disabled_at.is_(None),
)


def find_token(tx: Tx, token: Secret[str]) -> SignedIn | None:
    if not may_exist(token.reveal()):
        return None
    row = tx.session.execute(_TOKEN_QUERY, {"digest": digest(token), "at": tx.at}).first()
    if row is None:
        return None
    actor = Actor(row.side, "token", PersonId(row.id), row.expires_at, _set_of(row.tenants))
    unnoted = row.used_at is None or tx.at - row.used_at >= _USE_NOTED
    token_id = TokenId(row.token_id)
    return SignedIn(
        actor,
        row.name,
        None,
        row.created_at,
        use_unnoted=unnoted,
        token_id=token_id,
        scopes=_set_of(row.scopes),
    )


def _set_of(limits: Sequence[str] | None) -> frozenset[Any] | None:
    return None if limits is None else frozenset(limits)


def note_use(tx: Tx, token: Secret[str]) -> None:
    """In a transaction of its own: a use is a use, whatever becomes of what it was for."""
    tx.session.execute(
        sa.update(ApiToken).where(ApiToken.token_digest == digest(token)).values(used_at=tx.at)
    )


def list_tokens(tx: Tx, person_id: PersonId | None = None) -> Sequence[ApiToken]:
    """Those of the actor that were not ended, or of the program that is named."""
    query = sa.select(ApiToken).where(
        ApiToken.person_id == (person_id or tx.actor.person_id), ApiToken.ended_at.is_(None)
    )
    return tx.session.scalars(query.order_by(ApiToken.created_at)).all()


def get_token(tx: Tx, token_id: str, person_id: PersonId | None = None) -> ApiToken:
    """The actor's own, or of the program that is named. Raises NotFound."""
    row = tx.session.get(ApiToken, token_id, with_for_update=True)
    if row is None or row.person_id != (person_id or tx.actor.person_id):
        raise NotFound("there is no such token")
    return row


def end_token(tx: Tx, token_id: str, person_id: PersonId | None = None) -> None:
    row = get_token(tx, token_id, person_id)
    row.ended_at = tx.at
    record_for_all(tx, tx.session.get_one(Person, row.person_id), "token.ended")


def invite(tx: Tx, person_id: PersonId, times: Times) -> str:
    """Make an invitation and return its id; the code is made by `issue_code` at sending."""
    row = Invitation(
        id=new_id("inv"),
        person_id=person_id,
        created_at=tx.at,
        expires_at=tx.at + timedelta(seconds=times.invitation_s),
    )
    tx.session.add(row)
    tx.session.flush()
    return row.id


def issue_code(tx: Tx, invitation_id: str) -> Secret[str]:
    """A fresh code for the mail; only its digest is kept, and an earlier one is void."""
    row = tx.session.get_one(Invitation, invitation_id)
    code = Secret(secrets.token_urlsafe(24))
    row.code_digest = digest(code)
    return code


def accept_invitation(tx: Tx, code: Secret[str], password: Secret[str]) -> PersonId:
    """Set the first password, once. Raises NotFound when the code is used, old or wrong."""
    row = _open_invitation(tx, Invitation.code_digest == digest(code))
    if tx.session.get_one(Person, row.person_id).password_hash is not None:
        raise Conflict("you have a password already; sign in with it")
    set_password(tx, PersonId(row.person_id), password)
    row.used_at = tx.at
    record_for_all(tx, tx.session.get_one(Person, row.person_id), "invitation.accepted")
    return PersonId(row.person_id)


def find_invitation(tx: Tx, code: Secret[str]) -> str:
    """The id of the invitation whose code this is, not yet used. Raises NotFound as for none."""
    return _open_invitation(tx, Invitation.code_digest == digest(code)).id


def use_invitation(tx: Tx, invitation_id: str) -> Person:
    """Whose it is; it is used by that. Raises NotFound when it is used or old."""
    row = _open_invitation(tx, Invitation.id == invitation_id)
    row.used_at = tx.at
    return tx.session.get_one(Person, row.person_id)


def _open_invitation(tx: Tx, which: sa.ColumnElement[bool]) -> Invitation:
    row = tx.session.scalar(
        sa.select(Invitation)
        .where(which, Invitation.used_at.is_(None), Invitation.expires_at > tx.at)
        .with_for_update()
    )
    if row is None:
        raise NotFound(
            mark("this invitation was used, has lapsed, or never existed; ask for another")
        )
    return row
