"""The keys that sign platform tokens: made, announced, used, kept until their last token is dead.

    made ──ANNOUNCE──▶ signs ──next one signs──▶ verifies only ──a token's life──▶ erased
                         └───────────── withdrawn: out of the published set at once ──▶ erased

What must stay true: a key is published for longer than verifiers keep the set before it signs, and
until every token under it is dead; so a rotation refuses no good token. The rules are pure; the
private halves are made, used and erased in the key port, by workers.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from broker import people, trail
from broker.db import Busy, Database
from broker.errors import Unavailable
from broker.grants import leases
from broker.grants.model import Lease, TokenKey
from broker.jobs import Queue
from broker.keys import TOKEN_KEY, KeyErased, Signer
from broker.tx import Tx, system

ROTATE = timedelta(days=30)
ANNOUNCE = timedelta(minutes=15)  # verifiers keep the set for 5 minutes at most
OUTLIVE = timedelta(minutes=15)  # a token's longest life, and clocks that differ
_WORKER = system("worker")


@dataclass(frozen=True, slots=True)
class Key:
    """A key as the rules see it; `public` is 32 bytes."""

    kid: str
    public: bytes
    made_at: datetime
    withdrawn_at: datetime | None = None


def find_signing(keys: Sequence[Key], at: datetime) -> Key | None:
    """The newest that was announced; where none was, the oldest: nobody has a set without it."""
    usable = sorted((k for k in keys if k.withdrawn_at is None), key=lambda k: (k.made_at, k.kid))
    announced = [key for key in usable if key.made_at + ANNOUNCE <= at]
    return announced[-1] if announced else next(iter(usable), None)


def is_due(keys: Sequence[Key], at: datetime) -> bool:
    """Whether another key must be made now."""
    usable = [key.made_at for key in keys if key.withdrawn_at is None]
    return not usable or max(usable) + ROTATE <= at


def list_finished(keys: Sequence[Key], at: datetime) -> list[Key]:
    """Those that verify nothing any more: withdrawn, or no longer signing for long enough."""
    usable = sorted(k.made_at for k in keys if k.withdrawn_at is None)

    def is_over(key: Key) -> bool:
        if key.withdrawn_at is not None:
            return True
        later = (made + ANNOUNCE for made in usable if made > key.made_at)
        return any(signs_from + OUTLIVE <= at for signs_from in later)

    return [key for key in keys if is_over(key)]


def list_published(keys: Sequence[Key], at: datetime) -> list[Key]:
    """What verifiers are told: all but the finished, the newest first."""
    finished = list_finished(keys, at)
    return sorted((k for k in keys if k not in finished), key=lambda k: k.made_at, reverse=True)


def read_keys(tx: Tx) -> list[Key]:
    query = sa.select(TokenKey).where(TokenKey.erased_at.is_(None)).order_by(TokenKey.made_at)
    return [
        Key(row.kid, row.public, row.made_at, row.withdrawn_at) for row in tx.session.scalars(query)
    ]


def get_signing(tx: Tx) -> Key:
    key = find_signing(read_keys(tx), tx.at)
    if key is None:
        raise Unavailable("there is no key that signs tokens yet; a worker makes one by itself")
    return key


def withdraw_all(tx: Tx, queue: Queue) -> None:
    """Take every key out of use now, for one may be known to others; a worker makes another.

    Every token ends with them. Verifiers that keep the set take the old keys until they read it
    again; who asks us is told at once that a token is void, also one that was forged.
    """
    people.check(tx, "token_key:withdraw")
    for key in read_keys(tx):
        if key.withdrawn_at is None:
            tx.session.get_one(TokenKey, key.kid).withdrawn_at = tx.at
            trail.record(tx, None, "token_key.withdrawn", key.kid)
    alive = sa.select(Lease).where(
        Lease.platform_id.is_not(None), Lease.state.in_(("pending", "issued"))
    )
    for lease in tx.session.scalars(alive).all():
        leases.end(tx, lease, "the keys that sign tokens were withdrawn", queue)
    queue.put_sweep(tx, "turn_token_keys", 0)


def turn(database: Database, signer: Signer) -> int:
    """Make the key that is due, erase those that are finished; return how many changed."""
    try:
        with database.exclusive("token keys"):
            with database.begin(_WORKER) as tx:
                keys, at = read_keys(tx), tx.at
            finished = list_finished(keys, at)
            finished += [key for key in keys if key not in finished and _is_gone(signer, key)]
            live = [key for key in keys if key not in finished]
            made = _make(database, signer) if is_due(live, at) else 0
            for key in finished:
                _erase(database, signer, key.kid)
            return made + len(finished)
    except Busy:
        return 0


def _is_gone(signer: Signer, key: Key) -> bool:
    """Erased in the port while an older control database, restored, still names it."""
    try:
        signer.public(TOKEN_KEY + key.kid)
    except KeyErased:
        return True
    return False


def _make(database: Database, signer: Signer) -> int:
    """The private half first: a row names a key that is there. A crash leaves an unused file."""
    kid = secrets.token_hex(8)
    public = signer.create_signing(TOKEN_KEY + kid)
    with database.begin(_WORKER) as tx:
        tx.session.add(TokenKey(kid=kid, public=public, made_at=tx.at))
        trail.record(tx, None, "token_key.made", kid)
    return 1


def _erase(database: Database, signer: Signer, kid: str) -> None:
    signer.erase_signing(TOKEN_KEY + kid)
    with database.begin(_WORKER) as tx:
        tx.session.get_one(TokenKey, kid).erased_at = tx.at
        trail.record(tx, None, "token_key.erased", kid)
