"""What signing in, passkeys and tokens share: digests of secrets, and entries about an account.

What must stay true: of a secret that opens something only its digest is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import sqlalchemy as sa

from broker import trail
from broker.ids import TenantId
from broker.people import Membership, Person
from broker.secret import Secret
from broker.tx import Tx


def digest(secret: Secret[str]) -> bytes:
    return hashlib.sha256(secret.reveal().encode()).digest()


def record_for_all(
    tx: Tx,
    person: Person,
    kind: str,
    subject: str | None = None,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Into the vendor's log for its people, into each tenant's for theirs."""
    tenants = tx.session.scalars(
        sa.select(Membership.tenant_id)
        .where(Membership.person_id == person.id, Membership.ended_at.is_(None))
        .distinct()
    )
    for tenant_id in tenants:
        trail.record(
            tx, TenantId(tenant_id) if tenant_id else None, kind, subject or person.id, facts
        )
