"""Signing in a command line from a browser: the device authorization grant (RFC 8628).

    asked ─▶ approved ─▶ taken        asked ─▶ refused        any lapses after ten minutes

The program asks, and shows a short code; a person who is signed in types it into the console, after
proving again who they are; the program, which asks meanwhile, gets a token of that person, once.

What must stay true: only digests of device codes are kept; a code works once, for ten minutes; who
guesses codes is stopped as who guesses passwords is. The code is typed, never in a link: a link to
follow is how people are talked into letting somebody else in (RFC 8628, section 5.4).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import accounts, mail, signin
from broker.db import Base, Database
from broker.errors import Conflict, Denied, Invalid, TooMany
from broker.ids import PersonId, TokenId
from broker.letters import NOT_YOU, Letter, phrase
from broker.people import Person
from broker.secret import Secret
from broker.tx import Actor, Tx

LIVES_S, INTERVAL_S = 600, 5
_TOKEN_DAYS = 1  # as of signing in with a password
_SLOWER_S = 5  # RFC 8628, section 3.5
_OPEN_OF_AN_ADDRESS, _OPEN_OF_ALL = 10, 10_000
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # section 6.1: no word, nothing that looks like another
_CODE = re.compile(rf"[{_LETTERS}]{{8}}")
_LET_IN = phrase("A command line was signed in as you, by a code that you typed into the console.")

Outcome = Literal["authorization_pending", "slow_down", "access_denied", "expired_token"]


class DeviceLogin(Base):
    """`decided_at` without a person: refused."""

    __tablename__ = "device_login"
    id: Mapped[int] = mapped_column(sa.Identity(always=True), primary_key=True)
    device_digest: Mapped[bytes] = mapped_column(unique=True)
    user_code: Mapped[str] = mapped_column(unique=True)
    address: Mapped[str]
    asked_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    interval_s: Mapped[int]
    polled_at: Mapped[datetime | None]
    person_id: Mapped[str | None] = mapped_column(sa.ForeignKey("person.id"))
    decided_at: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a person is shown who typed a code: where it was asked from, and when."""

    code: str
    address: str
    asked_at: datetime


def ask(tx: Tx, address: str) -> tuple[Secret[str], str]:
    """A device code and the code to type. Raises TooMany."""
    _forget_old(tx)
    open_now = sa.select(sa.func.count()).select_from(DeviceLogin)
    of_address = tx.session.scalar(open_now.where(DeviceLogin.address == address)) or 0
    if of_address >= _OPEN_OF_AN_ADDRESS or (tx.session.scalar(open_now) or 0) >= _OPEN_OF_ALL:
        raise TooMany("too many sign-ins wait to be confirmed", retry_after_s=LIVES_S)
    device = Secret(secrets.token_urlsafe(32))
    row = DeviceLogin(
        device_digest=accounts.digest(device),
        user_code="".join(secrets.choice(_LETTERS) for _ in range(8)),
        address=address,
        asked_at=tx.at,
        expires_at=tx.at + timedelta(seconds=LIVES_S),
        interval_s=INTERVAL_S,
    )
    tx.session.add(row)
    tx.session.flush()
    return device, show_code(row.user_code)


def show_code(code: str) -> str:
    """In two halves, as people read it."""
    return f"{code[:4]}-{code[4:]}"


def read_code(typed: str) -> str:
    """As it is kept, however it was typed. Raises Invalid."""
    code = re.sub(r"[^A-Z]", "", typed.upper())
    if not _CODE.fullmatch(code):
        raise _no_code()
    return code


def find_waiting(database: Database, actor: Actor, typed: str, address: str) -> Waiting:
    """What waits under this code. Raises Invalid; TooMany for who guesses."""
    key = hashlib.sha256(f"device code {actor.person_id}".encode()).digest()
    attempt = signin.count_attempt(database, key, address)
    code = read_code(typed)
    with database.begin(actor) as tx:
        row = _waiting(tx, code)
        signin.forget_attempt(tx, attempt)
        return Waiting(show_code(code), row.address, row.asked_at)


def approve(tx: Tx, typed: str) -> None:
    """The actor lets that program in as themselves, who proved just now that it is they."""
    if tx.actor.person_id is None or tx.actor.via not in {"password", "passkey"}:
        raise Denied("a person confirms this, signed in to the console")
    row = _waiting(tx, read_code(typed))
    row.person_id, row.decided_at = tx.actor.person_id, tx.at


def refuse(tx: Tx, typed: str) -> None:
    _waiting(tx, read_code(typed)).decided_at = tx.at


def take(tx: Tx, device: Secret[str]) -> Outcome | tuple[TokenId, Secret[str], datetime]:
    """What a program that asks is told; a token once, with its end. Who asks too often waits
    longer.
    """
    digest = accounts.digest(device)
    row = tx.session.scalar(
        sa.select(DeviceLogin).where(DeviceLogin.device_digest == digest).with_for_update()
    )
    if row is None or row.expires_at <= tx.at:
        return "expired_token"
    if row.decided_at is None:
        return _note_poll(tx, row)
    person_id = row.person_id
    tx.session.delete(row)
    person = None if person_id is None else tx.session.get_one(Person, person_id)
    if person is None or person.disabled_at is not None:
        return "access_denied"
    return _let_in(tx, person)


def _note_poll(tx: Tx, row: DeviceLogin) -> Outcome:
    early = row.polled_at is not None and tx.at < row.polled_at + timedelta(seconds=row.interval_s)
    row.polled_at = tx.at
    if not early:
        return "authorization_pending"
    row.interval_s += _SLOWER_S
    return "slow_down"


def _let_in(tx: Tx, person: Person) -> tuple[TokenId, Secret[str], datetime]:
    owner = PersonId(person.id)
    mine = Tx(tx.session, tx.at, Actor(person.side, "device", owner))
    made = signin.create_token(mine, "command line", _TOKEN_DAYS)
    accounts.record_for_all(mine, person, "person.signed_in", facts={"with": "device"})
    said = phrase("Security notice: a command line was signed in")
    mail.write(tx, owner, None, Letter(said, [_LET_IN, NOT_YOU], "security", "/account"))
    return *made, tx.at + timedelta(days=_TOKEN_DAYS)


def forget_person(tx: Tx, person_id: PersonId) -> None:
    tx.session.execute(sa.delete(DeviceLogin).where(DeviceLogin.person_id == person_id))


def _waiting(tx: Tx, code: str) -> DeviceLogin:
    row = tx.session.scalar(
        sa.select(DeviceLogin).where(DeviceLogin.user_code == code).with_for_update()
    )
    if row is None or row.expires_at <= tx.at:
        raise _no_code()
    if row.decided_at is not None:
        raise Conflict("this code was used already; let the program ask again")
    return row


def _no_code() -> Invalid:
    return Invalid(
        "no program waits under this code; it is shown by the program, and holds ten minutes",
        fields={"code": "not one that waits"},
    )


def _forget_old(tx: Tx) -> None:
    """An hour after their end: until then a late program is told that its code has lapsed."""
    over = DeviceLogin.expires_at < tx.at
    tx.session.execute(sa.delete(DeviceLogin).where(over))
