"""What a login or a copy rests on, proved again by the worker that makes it.

Between a decision and its use an approver may lose the role, and somebody may write into our own
database by hand. So a worker counts the approvals that still stand, verifies the signed statement
of each, says the same statement again from the rows, and compares: scope, windows, kinds, who, on
what ticket and database. One query; an Ed25519 verification for each approval. The keys that may
have signed, the present one and those before it, are the key port's: one that only the control
database names counts for nothing.

What it can't see is a row that was changed before its statement was signed, seconds after the
decision: then the signature is of the changed row (`docs/threat-model.md`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from broker.audit.certified import statements_key_name
from broker.audit.note import VerifierKey
from broker.audit.statements import DECISION, open_statement
from broker.engines.postgres.sandbox_roles import owner_role_of, use_role_of
from broker.errors import VerificationFailed
from broker.grants import approvals, consented, leases, mismatch, requests, shown_plans, statements
from broker.grants.approvals import ApprovalLost
from broker.grants.consented import ConsentGone
from broker.grants.mismatch import GrantAltered
from broker.grants.model import Decision, Grant, Lease, Statement
from broker.grants.plan import Plan
from broker.keys import STATEMENTS_KEY, Signer
from broker.tenants import Tenant
from broker.tx import Tx

_NOT_COMPARED = ("at.signed", "promise", "software")
UNUSABLE = (ApprovalLost, ConsentGone, GrantAltered)
Unusable = ApprovalLost | ConsentGone | GrantAltered


@dataclass(frozen=True, slots=True)
class Made:
    """A login (`live`, or `copy` for one on a sandbox), a copy, a token (`platform`) or a session
    (`storage`), as its grant bounds it.
    """

    kind: str
    tenant_id: str
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class _Approval:
    """`stands` while its person may approve; `envelope` is its signed statement."""

    decision: Decision
    envelope: bytes | None
    origin: str
    stands: bool


def prove(tx: Tx, signer: Signer, grant: Grant, kind: str) -> None:
    """Raise ApprovalLost or GrantAltered unless what was signed gives what the rows give, and
    ConsentGone unless the customer consents to this kind of access still.
    """
    consented.check_kind(tx, grant, kind)
    found = _read(tx, grant)
    if any(one.envelope is None for one in found):  # the job that signs has not come by yet
        try:
            statements.sign_decisions(tx, signer, grant.id)
        except statements.AlreadySigned:
            raise GrantAltered(grant.id, ["statement"]) from None
        found = _read(tx, grant)
    approvals.check_count(grant, sum(one.stands for one in found))
    if sum(one.decision.settles for one in found) != 1:
        raise GrantAltered(grant.id, ["decision"])
    publics = (signer.public(STATEMENTS_KEY), *signer.list_former(STATEMENTS_KEY))
    fields = {field for one in found for field in _differing(grant, one, publics)}
    if fields:
        raise GrantAltered(grant.id, sorted(fields))


def _approvals(*, break_glass: bool) -> sa.Select[*tuple[Any, ...]]:
    stands = approvals.stands(sa.bindparam("tenant"), sa.bindparam("at"), break_glass=break_glass)
    return (
        sa.select(Decision, Statement.envelope, Tenant.log_origin, stands.label("stands"))
        .select_from(Decision)
        .join(Tenant, Tenant.id == sa.bindparam("tenant"))
        .outerjoin(Statement, Statement.subject == Decision.id)
        .where(Decision.grant_id == sa.bindparam("grant"), Decision.verdict == "approved")
    )


# Built once: every login asks it before it is made.
_APPROVALS = {glass: _approvals(break_glass=glass) for glass in (False, True)}
# The same bytes under the same key always say the same; what does not verify is not kept.
_open_decision = functools.lru_cache(maxsize=256)(open_statement)


def _read(tx: Tx, grant: Grant) -> list[_Approval]:
    rows = tx.session.execute(
        _APPROVALS[grant.break_glass],
        {"tenant": grant.tenant_id, "grant": grant.id, "at": tx.at},
    )
    return [_Approval(*row) for row in rows]


def _differing(grant: Grant, approval: _Approval, publics: tuple[bytes, ...]) -> Iterator[str]:
    name = statements_key_name(approval.origin)
    keys = (VerifierKey(name, public) for public in publics)
    try:
        signed = _open_decision(approval.envelope or b"", DECISION, *keys)
    except VerificationFailed:
        yield "signature"
        return
    fresh = {
        "v": 1,
        "type": DECISION,
        "log": approval.origin,
        "tenant": grant.tenant_id,
        **statements.state_decision(approval.decision, grant, grant.state_at),
    }
    yield from compare(signed, fresh)
    by = signed.get("by")
    if approval.decision.for_id and not (isinstance(by, dict) and by.get("for")):
        yield "by.for"  # an older release signed for whom of nobody, as everybody spoke for oneself


def compare(signed: Mapping[str, Any], fresh: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Names, `part.part`, of what was signed and is not so now.

    What an older release did not sign yet is not compared: its statements hold less.
    """
    for name, value in signed.items():
        where, now = f"{path}{name}", fresh.get(name)
        if where in _NOT_COMPARED:
            continue
        if isinstance(value, dict) and isinstance(now, dict):
            yield from compare(value, now, f"{where}.")
        elif name not in fresh or value != now:
            yield where


def check_bounds(grant: Grant, made: Made) -> None:
    """What is made is of the grant's tenant, and ends with it or before. Raises GrantAltered."""
    ends = {
        "live": grant.live_until,
        "copy": grant.copy_until,
        "platform": grant.platform_until,
        "storage": grant.storage_until,
    }
    until = ends[made.kind]
    if made.tenant_id != grant.tenant_id:
        raise GrantAltered(grant.id, ["tenant"])
    if until is None or made.ends_at > until:
        raise GrantAltered(grant.id, ["ends_at"])


def kind_of(lease: Lease) -> str:
    """Of a login: on the live database, or on a copy."""
    return "live" if lease.snapshot_id is None else "copy"


def check_lease(tx: Tx, grant: Grant, lease: Lease) -> None:
    """A pending lease asks for no more than its grant gives. Raises GrantAltered."""
    is_live = lease.snapshot_id is None
    kind = kind_of(lease)
    check_bounds(grant, Made(kind, lease.tenant_id, lease.ends_at))
    if lease.person_id != grant.requester_id:
        raise GrantAltered(grant.id, ["person"])
    scope = leases.scope_name(grant.given_digest or "", grant.database_id)
    if is_live and (lease.database_id, lease.scope_name) != (grant.database_id, scope):
        raise GrantAltered(grant.id, ["scope"])
    if not is_live:
        _check_sandbox_role(tx, grant, lease, lease.snapshot_id or "")


def _check_sandbox_role(tx: Tx, grant: Grant, lease: Lease, snapshot_id: str) -> None:
    """A login on a copy inherits its role `use`, or its owner where the given plan says so."""
    if lease.scope_name == use_role_of(snapshot_id):
        return
    plan = shown_plans.get_plan(tx, grant.id, grant.given_digest)
    mismatch.check_plan(grant.id, plan, grant.given_digest)
    if lease.scope_name != owner_role_of(snapshot_id) or not plan.copy.develop:
        raise GrantAltered(grant.id, ["scope"])


def check_token(grant: Grant, lease: Lease, plan: Plan, audience: str) -> None:
    """A pending token names what was approved, the plan's own audience. Raises GrantAltered."""
    check_bounds(grant, Made("platform", lease.tenant_id, lease.ends_at))
    mismatch.check_plan(grant.id, plan, grant.given_digest)
    if lease.person_id != grant.requester_id:
        raise GrantAltered(grant.id, ["person"])
    planned = plan.platform
    if planned is None or (planned.id, planned.audience) != (lease.platform_id, audience):
        raise GrantAltered(grant.id, ["platform"])


def check_session(grant: Grant, lease: Lease, plan: Plan, objects: tuple[str, str]) -> None:
    """A pending session names what was approved, the plan's own (bucket, prefix).

    Raises GrantAltered.
    """
    check_bounds(grant, Made("storage", lease.tenant_id, lease.ends_at))
    mismatch.check_plan(grant.id, plan, grant.given_digest)
    if lease.person_id != grant.requester_id:
        raise GrantAltered(grant.id, ["person"])
    planned = plan.storage
    if planned is None or planned.id != lease.storage_id:
        raise GrantAltered(grant.id, ["storage"])
    if (planned.bucket, planned.prefix) != objects:
        raise GrantAltered(grant.id, ["storage"])


def note(tx: Tx, grant_id: str, found: Unusable) -> None:
    """What is kept of a use that was refused, beside its own end."""
    if isinstance(found, GrantAltered):
        mismatch.note(tx, requests.get_grant(tx, grant_id, lock=True), found)
