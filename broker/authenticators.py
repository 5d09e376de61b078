"""Authenticator apps (TOTP, RFC 6238) and recovery codes: what a password alone no longer opens.

What must stay true: a seed lies in the control database sealed alone, under a key that is not in
it; recovery codes lie there as digests; a code is taken once, and wrong ones are counted for the
person, whatever the address, before they are looked at. They are reached with the right password
alone, so that counting them locks nobody out for a stranger.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import datetime, timedelta
from urllib.parse import quote

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import constant_time, hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy.orm import Mapped, mapped_column

from broker.db import Base, Database
from broker.errors import CodeNeeded, Conflict, NotAuthenticated, TooMany, VerificationFailed
from broker.ids import PersonId
from broker.languages import mark
from broker.secret import Secret
from broker.tx import Tx, system

STEP_S, DIGITS = 30, 6  # what every app takes
_SEED_BYTES = 20  # of HMAC-SHA-1, which apps take; RFC 4226, section 4, R6
_NONCE_BYTES = 12
_RECOVERY_CODES = 10
_RECOVERY_BYTES = 15  # from 112 bits on a digest without salt hides them (ASVS 6.5.2)
_WRONG_AT_MOST = 10
_WINDOW = timedelta(hours=1)
SEED_BOX = "broker.seed_box"  # where the web application keeps it
WRONG = mark("the code is wrong, or was used already")


class Authenticator(Base):
    """One for a person; it asks for nothing before it is confirmed. `last_step` was taken last."""

    __tablename__ = "authenticator"
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"), primary_key=True)
    sealed: Mapped[bytes]
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[int] = mapped_column(default=0)
    wrong: Mapped[int] = mapped_column(default=0)
    wrong_since: Mapped[datetime | None]


class RecoveryCode(Base):
    __tablename__ = "recovery_code"
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"), primary_key=True)
    code_digest: Mapped[bytes] = mapped_column(primary_key=True)
    used_at: Mapped[datetime | None]


class SeedBox:
    """Seals seeds under a key that is derived from the secret of the web processes."""

    def __init__(self, secret: Secret[str]) -> None:
        derived = HKDF(hashes.SHA256(), 32, salt=None, info=b"broker authenticator seeds v1")
        self._key = AESGCM(derived.derive(secret.reveal().encode()))

    def seal(self, seed: bytes, person_id: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._key.encrypt(nonce, seed, person_id.encode())

    def open(self, sealed: bytes, person_id: str) -> bytes:
        """Raises VerificationFailed: another secret, or another person's."""
        nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._key.decrypt(nonce, text, person_id.encode())
        except InvalidTag:
            raise VerificationFailed(
                "this authenticator can't be read any more; use a recovery code"
            ) from None


def match_step(seed: bytes, code: str, at: datetime, last_step: int) -> int | None:
    """The step that gives this code, now or one step before or after, later than `last_step`."""
    if not (code.isascii() and code.isdigit() and len(code) == DIGITS):
        return None
    made = TOTP(seed, DIGITS, hashes.SHA1(), STEP_S, enforce_key_length=False)  # noqa: S303  # RFC 6238
    now = int(at.timestamp()) // STEP_S
    fresh = [step for step in (now - 1, now, now + 1) if step > last_step]
    for step in fresh:
        if constant_time.bytes_eq(made.generate(step * STEP_S), code.encode()):
            return step
    return None


def is_on(tx: Tx, person_id: str) -> bool:
    row = tx.session.get(Authenticator, person_id)
    return row is not None and row.confirmed_at is not None


def begin(tx: Tx, person_id: PersonId, box: SeedBox) -> Secret[str]:
    """Make a seed that waits for its first code; returns it in base32, to be shown.

    One that waited before is no more. Raises Conflict when one is on.
    """
    if is_on(tx, person_id):
        raise Conflict("you have an authenticator; remove it first to set up another")
    tx.session.execute(sa.delete(Authenticator).where(Authenticator.person_id == person_id))
    seed = secrets.token_bytes(_SEED_BYTES)
    tx.session.add(
        Authenticator(person_id=person_id, sealed=box.seal(seed, person_id), created_at=tx.at)
    )
    tx.session.flush()
    return Secret(base64.b32encode(seed).decode())


def address_of(seed: Secret[str], vendor: str, account: str) -> Secret[str]:
    """The address that opens an app on the same device (otpauth://, as Google's apps define it)."""
    label = quote(f"{vendor}:{account}", safe="")
    return Secret(f"otpauth://totp/{label}?secret={seed.reveal()}&issuer={quote(vendor, safe='')}")


def confirm(tx: Tx, person_id: PersonId, code: str, box: SeedBox) -> list[Secret[str]]:
    """Take its first code: from now on it is asked for. Returns recovery codes, shown once."""
    row = tx.session.get(Authenticator, person_id, with_for_update=True)
    if row is None or row.confirmed_at is not None:
        raise Conflict("there is no authenticator that waits for its first code; set one up")
    step = match_step(box.open(row.sealed, person_id), _plain(code), tx.at, row.last_step)
    if step is None:
        raise NotAuthenticated(WRONG)
    row.confirmed_at, row.last_step = tx.at, step
    return make_recovery_codes(tx, person_id)


def make_recovery_codes(tx: Tx, person_id: PersonId) -> list[Secret[str]]:
    """Ten new ones, of 120 bits; those before open nothing any more. Raises Conflict."""
    if not is_on(tx, person_id):
        raise Conflict("recovery codes stand in for an authenticator app; set one up first")
    tx.session.execute(sa.delete(RecoveryCode).where(RecoveryCode.person_id == person_id))
    texts = (secrets.token_bytes(_RECOVERY_BYTES) for _ in range(_RECOVERY_CODES))
    made = [base64.b32encode(text).decode() for text in texts]
    for code in made:
        tx.session.add(RecoveryCode(person_id=person_id, code_digest=_digest(code)))
    tx.session.flush()
    return [Secret("-".join(code[at : at + 4] for at in range(0, len(code), 4))) for code in made]


def count_recovery_codes(tx: Tx, person_id: str) -> int:
    left = sa.select(sa.func.count()).where(
        RecoveryCode.person_id == person_id, RecoveryCode.used_at.is_(None)
    )
    return tx.session.scalar(left) or 0


def forget_person(tx: Tx, person_id: str) -> None:
    for model in (Authenticator, RecoveryCode):
        tx.session.execute(sa.delete(model).where(model.person_id == person_id))


def check(database: Database, person_id: PersonId, code: Secret[str] | None, box: SeedBox) -> str:
    """Nothing where none is on; else the code must hold. Returns how: "", "code" or "recovery".

    Raises CodeNeeded, NotAuthenticated, TooMany. The count is committed before the code is looked
    at, so that tries side by side all count.
    """
    with database.begin(system("sign-in")) as tx:
        if not is_on(tx, person_id):
            return ""
        if code is None or not code.reveal().strip():
            raise CodeNeeded(mark("a code of your authenticator is needed too"))
        _count(tx, person_id)
    with database.begin(system("sign-in")) as tx:
        return _take(tx, person_id, _plain(code.reveal()), box)


def _count(tx: Tx, person_id: PersonId) -> None:
    row = tx.session.get_one(Authenticator, person_id, with_for_update=True)
    if row.wrong_since is None or row.wrong_since <= tx.at - _WINDOW:
        row.wrong, row.wrong_since = 0, tx.at
    if row.wrong >= _WRONG_AT_MOST:
        raise TooMany(
            mark("too many wrong codes; wait an hour, or use a passkey"),
            retry_after_s=int(_WINDOW.total_seconds()),
        )
    row.wrong += 1


def _take(tx: Tx, person_id: PersonId, code: str, box: SeedBox) -> str:
    row = tx.session.get_one(Authenticator, person_id, with_for_update=True)
    if len(code) > DIGITS:
        if not _take_recovery_code(tx, person_id, code):
            raise NotAuthenticated(WRONG)
        row.wrong = 0
        return "recovery"
    step = match_step(box.open(row.sealed, person_id), code, tx.at, row.last_step)
    if step is None:
        raise NotAuthenticated(WRONG)
    row.last_step, row.wrong = step, 0
    return "code"


def _take_recovery_code(tx: Tx, person_id: PersonId, code: str) -> bool:
    taken = tx.session.scalar(
        sa.update(RecoveryCode)
        .where(
            RecoveryCode.person_id == person_id,
            RecoveryCode.code_digest == _digest(code.upper()),
            RecoveryCode.used_at.is_(None),
        )
        .values(used_at=tx.at)
        .returning(RecoveryCode.person_id)
    )
    return taken is not None


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()


def _plain(code: str) -> str:
    """Without the spaces and hyphens that make it easy to read."""
    return "".join(code.split()).replace("-", "")
