"""Idempotency keys: a request that is sent again with its key is done once.

    begin(tx, token, key, request) -> None: do it, in this transaction
                                   -> Kept: it was done; this is what was answered

The key is written in the transaction that does what was asked (draft-ietf-httpapi-idempotency-key),
so the two stand or fall together: what failed left no key, and may be sent again. Two at once: one
has the lock, the other is told to come back.

What must stay true: an answer is read again only by the token that got it, for 24 hours, and none
that held a secret is kept (G11). An erasure takes all kept answers away, for any may name somebody
(G13); the keys stay, so nothing is done twice.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker.db import Base
from broker.errors import Conflict, Invalid
from broker.ids import TokenId
from broker.tx import Tx

KEPT_FOR = timedelta(hours=24)
_LOST_AFTER = timedelta(seconds=30)  # no answer takes longer: the process that owed it is gone
_MAX_KEY = 255


class IdempotencyKey(Base):
    __tablename__ = "idempotency_key"
    token_id: Mapped[str] = mapped_column(
        sa.ForeignKey("api_token.id", ondelete="CASCADE"), primary_key=True
    )
    key_digest: Mapped[bytes] = mapped_column(primary_key=True)
    request_digest: Mapped[bytes]
    created_at: Mapped[datetime]
    status: Mapped[int | None] = mapped_column(sa.SmallInteger)
    answer: Mapped[bytes | None]


class KeyReused(Invalid):
    """The key was sent before, with another request."""

    type = "idempotency-key-reused"


class KeyInUse(Conflict):
    """The request that came first with this key is not answered yet."""

    type = "idempotency-key-in-use"


class AnswerNotKept(Conflict):
    """It was done; what was answered can't be shown again."""

    type = "answer-not-kept"


@dataclass(frozen=True, slots=True)
class Kept:
    """What was answered: `body` is JSON, or empty."""

    status: int
    body: bytes


def read_key(header: str) -> bytes:
    """The digest of a key, which comes as an RFC 8941 string or bare. Raises Invalid."""
    key = header.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not 1 <= len(key) <= _MAX_KEY or not all("!" <= sign <= "~" for sign in key):
        said = f"1 to {_MAX_KEY} printable ASCII signs without a space, such as a UUID"
        raise Invalid("that is no idempotency key", fields={"Idempotency-Key": said})
    return hashlib.sha256(key.encode()).digest()


def begin(tx: Tx, token_id: TokenId, key: bytes, request: bytes) -> Kept | None:
    """Take the key for what `tx` is about to do; or what was answered when that was done before.

    `request` is a digest of all that was asked. Raises KeyReused, KeyInUse, AnswerNotKept.
    """
    number = hashlib.sha256(b"idempotency" + token_id.encode() + key).digest()[:8]
    locked = sa.func.pg_try_advisory_xact_lock(int.from_bytes(number, signed=True))
    if not tx.session.scalar(sa.select(locked)):
        raise _in_use()
    row = tx.session.get(IdempotencyKey, (token_id, key))
    if row is not None and tx.at - row.created_at < KEPT_FOR:
        return _read(tx, row, request)
    if row is not None:
        tx.session.delete(row)
        tx.session.flush()
    tx.session.add(
        IdempotencyKey(token_id=token_id, key_digest=key, request_digest=request, created_at=tx.at)
    )
    tx.session.flush()
    return None


def _read(tx: Tx, row: IdempotencyKey, request: bytes) -> Kept:
    if row.request_digest != request:
        raise KeyReused(
            "this key was sent with another request; each request has a key of its own",
            fields={"Idempotency-Key": "used for another request"},
        )
    if row.status is None and tx.at - row.created_at < _LOST_AFTER:
        raise _in_use()
    if row.answer is None or row.status is None:
        raise AnswerNotKept(
            "this was done already with this key, and its answer is kept nowhere: it held a secret,"
            " was erased, or got lost; look at what it was about before you send it again"
        )
    return Kept(row.status, row.answer)


def _in_use() -> KeyInUse:
    return KeyInUse("the first request with this key is not answered yet", retry_after_s=2)


def keep(tx: Tx, token_id: TokenId, key: bytes, kept: Kept, *, secret: bool) -> None:
    """Write down what was answered; of an answer with a secret, only that there was one."""
    tx.session.execute(
        sa.update(IdempotencyKey)
        .where(IdempotencyKey.token_id == token_id, IdempotencyKey.key_digest == key)
        .values(status=kept.status, answer=None if secret else kept.body)
    )


def forget_old(tx: Tx) -> None:
    old = IdempotencyKey.created_at < tx.at - KEPT_FOR
    tx.session.execute(sa.delete(IdempotencyKey).where(old))


def forget_answers(tx: Tx) -> None:
    """All that were kept, for any may name the person who is erased; their keys stay."""
    held = IdempotencyKey.answer.is_not(None)
    tx.session.execute(sa.update(IdempotencyKey).where(held).values(answer=None))
