"""Back-channel logout: the service says that somebody left, and their sessions here end.

OpenID Connect Back-Channel Logout 1.0. What must stay true: who can't sign such a token ends
nothing; a token that is sent again ends nothing that began after it.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from broker import trail
from broker.db import Database
from broker.errors import NOT_THERE, NotFound, Unavailable
from broker.jobs import Queue
from broker.oidc import discovery, tokens
from broker.oidc.model import IdentityProvider
from broker.oidc.providers import find_live, tenant_of
from broker.oidc.tokens import Expected, LoggedOut
from broker.sessions import WebSession
from broker.tx import Tx, system

_ACTOR = system("back-channel")


def log_out(database: Database, queue: Queue, provider_id: str, token: str) -> int:
    """How many sessions ended. Raises TokenRefused; Unavailable while a new key is read."""
    kid = tokens.key_id_of(token)
    with database.begin(_ACTOR) as tx:
        provider = find_live(tx, provider_id)
        if provider is None:
            raise NotFound(NOT_THERE)
        unknown = kid is not None and not discovery.knows(provider, kid)
        if unknown and (provider.asked_at is None or provider.asked_at <= tx.at - discovery.AGAIN):
            provider.asked_at = tx.at
            queue.put(tx, "check_provider", provider.id, queue="access")
    if unknown:
        raise Unavailable("the key that signed this is being looked for; send it again")
    with database.begin(_ACTOR) as tx:
        provider = tx.session.get_one(IdentityProvider, provider_id)
        expected = Expected(provider.issuer, provider.client_id, "", tx.at.timestamp())
        told = tokens.verify_logout_token(token, provider.keys or {"keys": []}, expected)
        return _end(tx, provider, told)


def _end(tx: Tx, provider: IdentityProvider, told: LoggedOut) -> int:
    whose = [
        WebSession.provider_id == provider.id,
        WebSession.ended_at.is_(None),
        WebSession.created_at <= datetime.fromtimestamp(told.before, UTC),
    ]
    if told.sid is not None:
        whose.append(WebSession.provider_sid == told.sid)
    if told.subject is not None:
        whose.append(WebSession.provider_subject == told.subject)
    ended = tx.session.scalars(
        sa.update(WebSession).where(*whose).values(ended_at=tx.at).returning(WebSession.person_id)
    ).all()
    for person_id in sorted(set(ended)):
        trail.record(tx, tenant_of(provider), "person.logged_out", person_id)
    return len(ended)
