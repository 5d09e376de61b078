"""Platform tokens: leases whose credential is a short signed token for a tenant's platform.

Here: asking for one under a grant, fetching it once, and saying whether it holds. The worker that
signs is `token_steps`. What must stay true: a token is given only while its grant is live, for the
one audience that the grant names; from the moment its lease is condemned, and that is in the very
transaction that ends the grant, whoever asks us is told that it is void (RFC 7662). A verifier that
asks nobody takes it until its own end, `LIFE` at most; so the lease is `revoked` only after that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from broker import people, quarantine
from broker.errors import Conflict, Denied
from broker.grants import in_force, leases
from broker.grants.model import Grant, Lease
from broker.grants.requests import GrantRefused
from broker.ids import LeaseId, TenantId
from broker.jobs import Queue
from broker.platforms import Platform
from broker.secret import Secret
from broker.tx import Tx

LIFE = timedelta(seconds=300)
CLOCKS = timedelta(seconds=60)  # how far a verifier's clock may be behind ours
OPEN_PER_GRANT = 5


@dataclass(frozen=True, slots=True)
class Active:
    """What is said of a token that holds."""

    lease_id: str
    tenant_id: str
    person_id: str
    grant_id: str
    audience: str
    ends_at: datetime


def ask(tx: Tx, audience: str, grant_id: str | None, public: bytes, queue: Queue) -> LeaseId:
    """Ask for a token; the worker signs it and seals it to `public` (32 bytes, X25519).

    The actor's live grant that names `audience`, or the one of them named `grant_id`. Raises
    GrantRefused for none, the same for every reason (G12); Conflict for too many at once.
    """
    people.check(tx, "lease:issue")
    grant, platform = _find_grant(tx, audience, grant_id)
    until = in_force.check_usable(tx, grant, kind="platform")
    # Whole seconds, as a token has them; rounded down, so that it never outlives its grant.
    ends_at = min(tx.at + LIFE, until).replace(microsecond=0)
    _check_few(tx, grant)
    asked = leases.Sealed("platform", platform.id, public, ends_at)
    lease_id = leases.begin_sealed(tx, grant, asked)
    queue.put(tx, "issue_token", lease_id, queue="access")
    return lease_id


def _find_grant(tx: Tx, audience: str, grant_id: str | None) -> tuple[Grant, Platform]:
    """Locked: an end that is under way is waited for, and a later one sees this token."""
    query = (
        sa.select(Grant, Platform)
        .join(Platform, Platform.id == Grant.platform_id)
        .where(
            Platform.audience == audience,
            Platform.removed_at.is_(None),
            Grant.requester_id == tx.actor.person_id,
            Grant.state == "approved",
            Grant.platform_until > tx.at,
        )
        .order_by(Grant.platform_until.desc(), Grant.id)
        .limit(1)
        .with_for_update(of=Grant)
    )
    if grant_id is not None:
        query = query.where(Grant.id == grant_id)
    found = tx.session.execute(query).first()
    if found is None:
        raise GrantRefused("no live grant of yours gives access to this audience")
    people.check(tx, "lease:issue", TenantId(found.Grant.tenant_id))
    return found.Grant, found.Platform


def _check_few(tx: Tx, grant: Grant) -> None:
    alive = sa.select(sa.func.count()).where(
        Lease.grant_id == grant.id,
        Lease.platform_id.is_not(None),
        Lease.state.in_(("pending", "issued")),
    )
    count = tx.session.scalar(alive) or 0
    if count >= OPEN_PER_GRANT:
        raise Conflict(f"{grant.id} has {count} live tokens; use one of them, or revoke one")


def fetch(tx: Tx, lease_id: str) -> bytes | None:
    """The sealed token of the actor's own lease, once: it is forgotten here. None if not there."""
    lease = leases.get_lease(tx, lease_id)
    people.check(tx, "lease:issue", TenantId(lease.tenant_id))
    if lease.person_id != tx.actor.person_id:
        raise Denied("this token was asked by another person")
    sealed = lease.sealed
    lease.sealed = None
    return sealed if lease.state == "issued" else None


def promised_at(lease: Lease) -> datetime:
    """Since when the end of a condemned lease is owed: a token dies by itself, not at our word."""
    if lease.platform_id is None and lease.storage_id is None:
        return lease.state_at
    return max(lease.state_at, lease.ends_at)


def digest(token: Secret[str]) -> bytes:
    return hashlib.sha256(token.reveal().encode()).digest()


def find_active(tx: Tx, token: Secret[str], platform: Platform) -> Active | None:
    """What holds of a token for this platform now; None for void, unknown, or another's (G12).

    None in a quarantine too: a restored record may not know that the grant has ended.
    """
    if quarantine.find_open(tx) is not None:
        return None
    row = tx.session.execute(
        sa.select(Lease, Grant)
        .join(Grant, Grant.id == Lease.grant_id)
        .where(
            Lease.token_digest == digest(token),
            Lease.platform_id == platform.id,
            Lease.state == "issued",
            Lease.ends_at > tx.at,
            Grant.state == "approved",
            Grant.paused_at.is_(None),
            Grant.platform_until > tx.at,
        )
    ).first()
    if row is None:
        return None
    lease: Lease = row.Lease
    return Active(
        lease_id=lease.id,
        tenant_id=lease.tenant_id,
        person_id=lease.person_id,
        grant_id=lease.grant_id,
        audience=platform.audience,
        ends_at=lease.ends_at,
    )


def revoke(tx: Tx, token: Secret[str], queue: Queue) -> bool:
    """End a token by whoever holds it (RFC 7009); False for one that is void or unknown."""
    lease = tx.session.scalar(sa.select(Lease).where(Lease.token_digest == digest(token)))
    return lease is not None and leases.end(tx, lease, "revoked with the token itself", queue)
