"""What a browser brings back: handed to a worker sealed, waited for, and taken once."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta

import sqlalchemy as sa

from broker import tenants
from broker.db import Database
from broker.errors import Conflict, TooMany, Unavailable
from broker.ids import new_id
from broker.jobs import Queue
from broker.keys.intake import INTAKE_KEY, answer_context, seal_login
from broker.languages import mark
from broker.oidc.going import Going
from broker.oidc.model import OidcAnswer
from broker.oidc.redeeming import NO_ANSWER
from broker.oidc.tokens import Proven, TokenRefused, from_document
from broker.secret import Secret
from broker.tx import Tx, system

WAIT_S = 12.0
_KEPT = timedelta(minutes=15)  # longer than a browser may be on its way
_places = threading.BoundedSemaphore(4)  # of 16 threads that a process has
_ACTOR = system("sign-in")


def exchange(database: Database, queue: Queue, going: Going, code: Secret[str]) -> Proven:
    """What the code proves. Raises TokenRefused, Unavailable, TooMany, Conflict (again)."""
    identity = new_id("sso")
    until = time.monotonic() + WAIT_S
    if not _places.acquire(blocking=False):
        raise TooMany(mark("many are signing in now; try again in a moment"), retry_after_s=2)
    try:
        with database.bell.heard(identity) as rung:  # before it is asked: none is lost
            with database.begin(_ACTOR) as tx:
                _put(tx, identity, going, code, queue)
            while time.monotonic() < until:
                rung.wait(0.2)
                rung.clear()
                if (proven := _find(database, identity)) is not None:
                    return proven
    finally:
        _places.release()
    raise Unavailable(mark("your organisation's sign-in service did not answer; try again"))


def _put(tx: Tx, identity: str, going: Going, code: Secret[str], queue: Queue) -> None:
    forget_old(tx)
    seen = sa.select(OidcAnswer.id).where(OidcAnswer.state_digest == going.state_digest())
    if tx.session.scalar(seen) is not None:
        raise Conflict(mark("this answer was used already; begin again"))
    public = tenants.find_published_key(tx, INTAKE_KEY)
    if public is None:
        raise Unavailable("no worker has published the public keys yet; start one, then try again")
    brought = Secret(json.dumps({"code": code.reveal(), "verifier": going.verifier}))
    tx.session.add(
        OidcAnswer(
            id=identity,
            provider_id=going.provider_id,
            state_digest=going.state_digest(),
            nonce=going.nonce,
            sealed=seal_login(public, brought, answer_context(identity)),
            asked_at=tx.at,
        )
    )
    tx.session.flush()
    queue.put(tx, "redeem_code", identity, queue="access")


def _find(database: Database, identity: str) -> Proven | None:
    """What a worker found, taken once; None while it looks."""
    with database.begin(_ACTOR) as tx:
        row = tx.session.get_one(OidcAnswer, identity, with_for_update=True)
        claims, problem = row.claims, row.problem
        if claims is None and problem is None:
            return None
        row.claims, row.taken_at = None, tx.at
    if claims is not None:
        return from_document(claims)
    if problem == NO_ANSWER:
        raise Unavailable(mark("your organisation's sign-in service did not answer as it should"))
    raise TokenRefused(problem or "")


def forget_old(tx: Tx) -> None:
    """Once no browser can bring the state any more."""
    tx.session.execute(sa.delete(OidcAnswer).where(OidcAnswer.asked_at < tx.at - _KEPT))
