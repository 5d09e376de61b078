"""What people decided: kept as it was, one row each, and never changed.

The database keeps what must stay true whatever this code does: one decision answers a request, and
nobody counts twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from broker import people
from broker.assertions import parse_assertion
from broker.errors import NOT_THERE, Conflict, NotFound
from broker.grants.leases import get_lease
from broker.grants.model import Decision, Grant, Statement
from broker.ids import TenantId
from broker.tx import Tx


@dataclass(frozen=True, slots=True)
class DecisionView:
    """`settles`: it answered the request; `signed_at` is None until its statement is signed;
    `for_id` is the admin whose delegate decided.
    """

    id: str
    grant_id: str
    verdict: str
    settles: bool
    person_id: str
    person: str
    side: str
    via: str
    for_id: str | None
    for_person: str | None
    delegation_id: str | None
    at: datetime
    shown_digest: str | None
    given_digest: str | None
    live_s: int
    copy_s: int
    platform_s: int
    kind: str | None  # of `scope_kinds.KINDS`, where it was approved
    tables_restricted: int
    storage_s: int
    starts_at: datetime | None
    note: str | None
    standing_id: str | None
    signed_at: datetime | None
    passkey: str | None  # fingerprint of what signed it; None: the vendor attests it


def list_decisions(tx: Tx, grant_id: str) -> list[DecisionView]:
    """Of one grant, oldest first."""
    grant = tx.session.get(Grant, grant_id)
    if grant is None:
        raise NotFound(NOT_THERE)
    people.check(tx, "grant:read", TenantId(grant.tenant_id))
    rows = tx.session.execute(
        sa.select(
            Decision,
            people.shown_name(Decision.person_id, grant.tenant_id),
            people.shown_name(Decision.for_id, grant.tenant_id),
            Statement.signed_at,
        )
        .outerjoin(Statement, Statement.subject == Decision.id)
        .where(Decision.grant_id == grant_id)
        .order_by(Decision.at, Decision.id)
    )
    return [
        DecisionView(
            id=row.id,
            grant_id=row.grant_id,
            verdict=row.verdict,
            settles=row.settles,
            person_id=row.person_id,
            person=name,
            side=row.side,
            via=row.via,
            for_id=row.for_id,
            for_person=for_name,
            delegation_id=row.delegation_id,
            at=row.at,
            shown_digest=row.shown_digest,
            given_digest=row.given_digest,
            live_s=row.live_s,
            copy_s=row.copy_s,
            platform_s=row.platform_s,
            kind=row.kind,
            tables_restricted=row.tables_restricted,
            storage_s=row.storage_s,
            starts_at=row.starts_at,
            note=row.note,
            standing_id=row.standing_id,
            signed_at=signed_at,
            passkey=_fingerprint(row),
        )
        for row, name, for_name, signed_at in rows
    ]


def _fingerprint(decision: Decision) -> str | None:
    return parse_assertion(decision.assertion).fingerprint if decision.assertion else None


def read_decision_envelope(tx: Tx, decision_id: str) -> bytes:
    """The signed statement of a decision. Raises NotFound; Conflict while it is not signed yet."""
    tenant_id = tx.session.scalar(
        sa.select(Grant.tenant_id)
        .join(Decision, Decision.grant_id == Grant.id)
        .where(Decision.id == decision_id)
    )
    if tenant_id is None:
        raise NotFound(NOT_THERE)
    people.check(tx, "grant:read", TenantId(tenant_id))
    return _read_envelope(tx, decision_id)


def read_end_envelope(tx: Tx, lease_id: str) -> bytes:
    """The signed statement of a login's end. Raises NotFound; Conflict while there is none yet."""
    lease = get_lease(tx, lease_id)
    people.check(tx, "lease:read", TenantId(lease.tenant_id))
    if lease.state != "revoked":
        raise Conflict(f"{lease.id} is {lease.state}; its end is stated once it is revoked")
    return _read_envelope(tx, lease_id)


def _read_envelope(tx: Tx, subject: str) -> bytes:
    row = tx.session.get(Statement, subject)
    if row is None:
        raise Conflict(f"the statement of {subject} is not signed yet; look again in a moment")
    return row.envelope
