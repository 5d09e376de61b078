"""Signing platform tokens, in a worker: the web process has no signer.

The token is signed outside any transaction and sealed to the key of who waits for it; it counts as
issued, and can be fetched, only once the row says so under the lock of its grant. So a token of a
grant that ended meanwhile is dropped here, where alone it exists. Tokens are JWTs as RFC 9068 has
them, with the `act` claim of RFC 8693: the subject is the tenant, the acting party the engineer.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from broker import retries
from broker.bell import ring
from broker.db import Database
from broker.faults import crash_point
from broker.grants import grounds, leases, requests, sealed_steps, shown_plans, token_keys, tokens
from broker.grants.leases import get_lease
from broker.grants.model import Grant, Lease
from broker.grants.sealed_steps import KeyPort
from broker.grants.states import LEASE_EXPIRED
from broker.jobs import Queue
from broker.keys import TOKEN_KEY, Signer
from broker.keys.intake import seal_login, waiting_context
from broker.platforms import Platform
from broker.secret import Secret
from broker.states import advance
from broker.tx import Tx, system

_WORKER = system("worker")
SCOPE = "support:read"  # writing is not given: see docs/platform-tokens.md
CLIENT = "support-access-broker"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. Instants are whole seconds."""

    tenant_id: str
    person_id: str
    audience: str
    grant_id: str
    lease_id: str
    issued_at: datetime
    ends_at: datetime


def sign_token(signer: Signer, kid: str, issuer: str, claims: Claims) -> Secret[str]:
    """A JWT in compact form (RFC 7515, section 7.1), `alg` EdDSA (RFC 8037) and no other."""
    header = {"alg": "EdDSA", "kid": kid, "typ": "at+jwt"}
    payload = {
        "iss": issuer,
        "sub": claims.tenant_id,
        "act": {"sub": claims.person_id},
        "aud": claims.audience,
        "client_id": CLIENT,
        "scope": SCOPE,
        "grant": claims.grant_id,
        "jti": claims.lease_id,
        "iat": int(claims.issued_at.timestamp()),
        "exp": int(claims.ends_at.timestamp()),
    }
    message = f"{_encode(header)}.{_encode(payload)}"
    signature = signer.sign(TOKEN_KEY + kid, message.encode())
    return Secret(f"{message}.{_base64url(signature)}")


def _encode(part: Mapping[str, object]) -> str:
    return _base64url(json.dumps(part, separators=(",", ":"), sort_keys=True).encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class _Work:
    """A pending token's row as read in a transaction that is over."""

    claims: Claims
    kid: str
    sealed_to: bytes


def issue(database: Database, port: KeyPort, lease_id: str, issuer: str, queue: Queue) -> None:
    """Sign a pending token; a failure is noted and tried again by the sweep."""
    sealed_steps.issue(
        database,
        lease_id,
        read=lambda: _read_work(database, port, lease_id, queue),
        make=lambda work: sign_token(port, work.kid, issuer, work.claims),
        confirm=lambda work, token: _confirm(database, work, token, queue),
    )


def _read_work(database: Database, port: KeyPort, lease_id: str, queue: Queue) -> _Work | None:
    """None when there is nothing to sign any more. Raises Quarantined."""
    with database.begin(_WORKER) as tx:
        lease = get_lease(tx, lease_id)
        if lease.state != "pending":
            return None
        grant = requests.get_grant(tx, lease.grant_id)
        platform = tx.session.get_one(Platform, lease.platform_id)
        why = _find_reason_against(tx, lease, grant, platform)
        if why is not None:
            leases.end(tx, lease, why, queue)
            return None

        def prove() -> None:
            grounds.prove(tx, port, grant, "platform")
            plan = shown_plans.get_plan(tx, grant.id, grant.given_digest)
            grounds.check_token(grant, lease, plan, platform.audience)

        if not sealed_steps.may_make(tx, port, lease, prove, queue):
            return None
        claims = Claims(
            tenant_id=lease.tenant_id,
            person_id=lease.person_id,
            audience=platform.audience,
            grant_id=lease.grant_id,
            lease_id=lease.id,
            issued_at=lease.state_at.replace(microsecond=0),
            ends_at=lease.ends_at,
        )
        return _Work(claims, token_keys.get_signing(tx).kid, lease.sealed_to or b"")


def _find_reason_against(tx: Tx, lease: Lease, grant: Grant, platform: Platform) -> str | None:
    why = sealed_steps.find_reason_against(grant)
    if why is not None:
        return why
    if platform.removed_at is not None:
        return "its platform was removed"
    return "its time is over" if lease.ends_at <= tx.at else None


def _confirm(database: Database, work: _Work, token: Secret[str], queue: Queue) -> None:
    """The grant is locked: an end and this see each other. A token not confirmed is dropped."""
    crash_point("token-signed")
    sealed = seal_login(work.sealed_to, token, waiting_context(work.claims.lease_id))
    with database.begin(_WORKER) as tx:
        lease = get_lease(tx, work.claims.lease_id)
        grant = requests.get_grant(tx, lease.grant_id, lock=True)
        platform = tx.session.get_one(Platform, lease.platform_id)
        why = _find_reason_against(tx, lease, grant, platform)
        if why is not None:
            leases.end(tx, lease, why, queue)
            return
        values = {"sealed": sealed, "token_digest": tokens.digest(token)}
        sealed_steps.note_issued(tx, lease, values, {"key": work.kid})


def expire(database: Database, lease_id: str) -> None:
    """Confirm a condemned token's end: once no verifier's clock can still take it, not before."""
    with database.begin(_WORKER) as tx:
        lease = get_lease(tx, lease_id)
        left = lease.token_digest is not None
        dead_at = lease.ends_at + tokens.CLOCKS
        if lease.state != "revoking":
            return
        if left and tx.at < dead_at:
            lease.next_try_at = dead_at
            return
        refused_at, expired_at = lease.state_at, min(lease.ends_at, tx.at)
        values = {"login_refused_at": refused_at, "sealed": None, "sealed_to": None}
        facts = {
            "refused_at": refused_at.isoformat(),
            "expired_at": expired_at.isoformat(),
            "left": left,
        }
        advance(tx, lease, LEASE_EXPIRED, values=values, facts=facts)
        retries.note_success(lease)
        ring(tx, lease_id)
