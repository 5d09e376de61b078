"""Certificates get the time of a third party (RFC 3161), where an authority is set.

What must stay true: what has no timestamp yet is asked of the tables, every time, so an authority
that is away delays nothing and is asked again; the answer is verified before it is kept, and an
entry of the tenant's log names it by digest, so that none is swapped or withheld.
"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from broker import trail
from broker.audit.anchoring import ACTOR, Tsa, keep, try_ask
from broker.db import Database
from broker.ids import TenantId
from broker.snapshots.model import Certificate
from broker.trail import TrustedTime

_BATCH = 50


def stamp_certificates(database: Database, tsa: Tsa) -> int:
    """Have each certificate stamped that is not yet; how many were. Stops at the first failure."""
    with database.begin(ACTOR) as tx:
        stamped = sa.select(TrustedTime.subject).where(TrustedTime.subject == Certificate.id)
        due = tx.session.execute(
            sa.select(Certificate.id, Certificate.tenant_id, Certificate.envelope)
            .where(~stamped.exists())
            .order_by(Certificate.issued_at)
            .limit(_BATCH)
        ).all()
    for done, (certificate_id, tenant_id, envelope) in enumerate(due):
        told = try_ask(tsa, certificate_id, envelope)
        if told is None:
            return done
        with database.begin(ACTOR) as tx:
            if not keep(tx, certificate_id, tenant_id, told):
                continue
            response, stamp = told
            facts = {
                "digest": hashlib.sha256(response).hexdigest(),
                "said_at": stamp.at.isoformat(),
            }
            trail.record(tx, TenantId(tenant_id), "certificate.stamped", certificate_id, facts)
    return len(due)
