"""Signed statements of what people decided, and of when a login was gone.

A worker signs, after the commit: the web process has no signer. What has no statement yet is asked
of the tables, every time, so a lost job loses nothing. Signed once: who was second finds it there.

A statement holds ids, digests, windows and instants: no name, no address, no free text (G13).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from broker import __version__, entries, trail
from broker.assertions import challenge_of, check_assertion, parse_assertion
from broker.audit import dsse
from broker.audit.certified import statements_key_name
from broker.audit.promises import MERGE_DELAY
from broker.audit.statements import DECISION, END_OF_ACCESS, TYPES
from broker.db import Base, Busy, Database
from broker.errors import Conflict, VerificationFailed
from broker.grants import mismatch
from broker.grants.mismatch import GrantAltered
from broker.grants.model import Decision, Grant, Lease, Statement
from broker.ids import TenantId
from broker.keys import STATEMENTS_KEY, Signer
from broker.logs import get_log
from broker.retries import FAILURES, describe
from broker.tenants import get_tenant
from broker.tx import Tx, system

_WORKER = system("worker")
_BATCH = 200
_log = get_log(__name__)
_SOFTWARE = f"support-access-broker {__version__}"


class AlreadySigned(Conflict):
    """The log says that this was signed, and the statement is not there."""

    type = "already-signed"


def sign_due(database: Database, signer: Signer) -> int:
    """Sign what has no statement yet: decisions each in a transaction of its own, ends of access
    many in one, for each of them is plain; return how many.
    """
    try:
        with database.exclusive("statements"):
            with database.begin(_WORKER) as tx:
                altered = sa.select(Grant.id).where(
                    Grant.id == Decision.grant_id, Grant.altered_at.is_not(None)
                )
                mine = _unsigned(Decision.id).where(~altered.exists())  # told, and never signed
                decisions = tx.session.scalars(mine.order_by(Decision.at)).all()
                revoked = _unsigned(Lease.id).where(Lease.state == "revoked")
                ends = tx.session.scalars(revoked.order_by(Lease.state_at)).all()
            for decision_id in decisions:
                _sign_alone(database, signer, decision_id)
            if ends:
                with database.begin(_WORKER) as tx:
                    _sign_ends(tx, signer, ends)
    except Busy:
        return 0
    except FAILURES as error:  # the next run finds what is left
        _log.error("statements_not_signed", reason=describe(error))
        return 0
    return len(decisions) + len(ends)


def _sign_alone(database: Database, signer: Signer, decision_id: str) -> None:
    """In a transaction of its own; one that may not be signed keeps none of the others waiting."""
    try:
        with database.begin(_WORKER) as tx:
            _sign_decision(tx, signer, decision_id)
    except (AlreadySigned, GrantAltered) as error:
        fields = error.fields if isinstance(error, GrantAltered) else ["statement"]
        _log.error("decision_not_signed", decision=decision_id, reason=describe(error))
        with database.begin(_WORKER) as tx:
            decision = tx.session.get_one(Decision, decision_id)
            grant = tx.session.get_one(Grant, decision.grant_id, with_for_update=True)
            mismatch.note(tx, grant, GrantAltered(grant.id, fields))


def _unsigned(identity: sa.orm.InstrumentedAttribute[str]) -> sa.Select[str]:
    signed = sa.exists().where(Statement.subject == identity)
    return sa.select(identity).where(~signed).limit(_BATCH)


def sign_decisions(tx: Tx, signer: Signer, grant_id: str) -> None:
    """Sign now what was decided on one grant and is not signed yet."""
    unsigned = _unsigned(Decision.id).where(Decision.grant_id == grant_id)
    for decision_id in tx.session.scalars(unsigned).all():
        _sign_decision(tx, signer, decision_id)


def _sign_decision(tx: Tx, signer: Signer, decision_id: str) -> None:
    """Never twice: a statement that the log names and that is gone was taken away by somebody, and
    the row may say something else by now. Raises AlreadySigned.
    """
    decision = tx.session.get_one(Decision, decision_id)
    grant = tx.session.get_one(
        Grant, decision.grant_id, with_for_update=True, populate_existing=True
    )
    if tx.session.get(Statement, decision_id) is not None:  # by another worker, meanwhile
        return
    if trail.names_decision(tx, decision_id):
        raise AlreadySigned(f"the statement of {decision_id} was signed before, and is gone")
    statement = state_decision(decision, grant, tx.at)
    if decision.assertion is not None:  # nobody's word makes a person's passkey sign
        try:
            check_assertion(
                parse_assertion(decision.assertion), challenge_for(tx, grant, statement)
            )
        except VerificationFailed:
            raise GrantAltered(grant.id, ["passkey"]) from None
    promise = {"log_by": _instant(tx.at + MERGE_DELAY)}
    tenant_id = TenantId(grant.tenant_id)
    said = _Said(DECISION, decision.id, {**statement, "promise": promise})
    origin = get_tenant(tx, tenant_id).log_origin
    row = _seal(said, signer, signer.public(STATEMENTS_KEY), origin, tenant_id)
    tx.session.execute(_INSERT, {**row, "signed_at": tx.at})
    facts = {"grant": grant.id, "digest": _digest(row)}
    trail.record(tx, tenant_id, "decision.signed", decision.id, facts)


def challenge_for(tx: Tx, grant: Grant, statement: dict[str, Any]) -> bytes:
    """What a passkey signs of a decision that is stated so."""
    tenant = get_tenant(tx, TenantId(grant.tenant_id))
    return challenge_of({"log": tenant.log_origin, "tenant": tenant.id, **statement})


def state_decision(decision: Decision, grant: Grant, signed_at: datetime) -> dict[str, Any]:
    """What is signed of a decision, said from the rows as they are."""
    approved = decision.verdict == "approved"
    return {
        "decision": decision.id,
        "grant": grant.id,
        "ticket": grant.ticket_id,
        "database": grant.database_id,
        "verdict": decision.verdict,
        "settles": decision.settles,
        "by": _by(decision),
        "asked": {
            "by": grant.requester_id,
            "plan": grant.asked_digest,
            "live_s": grant.asked_live_s,
            "copy_s": grant.asked_copy_s,
            **_on_platform(grant, grant.asked_platform_s),
            "kind": grant.asked_kind,
            **_on_storage(grant, grant.asked_storage_s),
            "starts": _instant(grant.starts_at),
            "extends": grant.extends,
            "break_glass": grant.break_glass,
            **({"develop": True} if grant.asked_develop else {}),
            **({"dedicated": True} if grant.asked_dedicated else {}),
        },
        "policy": {"version": grant.policy_version, "approvals": grant.approvals_needed},
        "standing": _standing(decision),
        "shown": decision.shown_digest,
        "gives": {
            **_gives(decision.given_digest, decision.live_s, decision.copy_s),
            **_on_platform(grant, decision.platform_s),
            "kind": decision.kind,
            **_restricted(decision),
            **_on_storage(grant, decision.storage_s),
            "starts": _instant(decision.starts_at),
        }
        if approved
        else None,
        "result": _result(grant) if approved and decision.settles else None,
        "at": {
            "requested": _instant(grant.requested_at),
            "decided": _instant(decision.at),
            "signed": _instant(signed_at),
        },
        **({"passkey": decision.assertion} if decision.assertion else {}),
    }


def _standing(decision: Decision) -> dict[str, Any] | None:
    """What the person had agreed to before, when they decided in advance."""
    if decision.standing_id is None:
        return None
    return {"id": decision.standing_id, "terms": decision.terms_digest}


def _by(decision: Decision) -> dict[str, Any]:
    """Who decided; `for` is the admin whose delegate that was, null for who spoke for oneself."""
    stood_in = {
        "id": decision.for_id,
        "delegation": decision.delegation_id,
        "until": _instant(decision.for_until),
    }
    return {
        "id": decision.person_id,
        "side": decision.side,
        "via": decision.via,
        "for": stood_in if decision.for_id else None,
    }


def _restricted(decision: Decision) -> dict[str, int]:
    """Nothing, where every row was given of the tables that are shown."""
    count = decision.tables_restricted
    return {"tables_restricted": count} if count else {}


def _gives(plan: str | None, live_s: int, copy_s: int) -> dict[str, Any]:
    return {"plan": plan, "live_s": live_s, "copy_s": copy_s}


def _on_platform(grant: Grant, platform_s: int) -> dict[str, Any]:
    """Nothing, where no platform was asked."""
    return {"platform": grant.platform_id, "platform_s": platform_s} if grant.platform_id else {}


def _on_storage(grant: Grant, storage_s: int) -> dict[str, Any]:
    """Nothing, where no storage was asked."""
    return {"storage": grant.storage_id, "storage_s": storage_s} if grant.storage_id else {}


def _result(grant: Grant) -> dict[str, Any]:
    """What is given in all. Set once, at approval, so it is the same whenever it is signed."""
    return {
        **_gives(grant.given_digest, grant.given_live_s, grant.given_copy_s),
        "kind": grant.given_kind,
        "starts": _instant(grant.given_starts_at),
        "live_until": _instant(grant.live_until),
        "copy_until": _instant(grant.copy_until),
        **_on_platform(grant, grant.given_platform_s),
        **({"platform_until": _instant(grant.platform_until)} if grant.platform_id else {}),
        **_on_storage(grant, grant.given_storage_s),
        **({"storage_until": _instant(grant.storage_until)} if grant.storage_id else {}),
        "ends": _instant(grant.ends_at),
    }


_ENDS = sa.select(Lease.__table__).where(
    Lease.__table__.c.id == sa.any_(sa.bindparam("ids", type_=sa.ARRAY(sa.Text)))
)
_INSERT = sa.insert(Base.metadata.tables["statement"])


def _sign_ends(tx: Tx, signer: Signer, lease_ids: Sequence[str]) -> None:
    """All of them or none: the next run finds what was not kept."""
    key = signer.public(STATEMENTS_KEY)
    leases = tx.session.execute(_ENDS, {"ids": list(lease_ids)}).all()
    origins = {one: get_tenant(tx, one).log_origin for one in {row.tenant_id for row in leases}}
    rows, noted = [], []
    for lease in leases:
        said = _Said(END_OF_ACCESS, lease.id, _state_end(lease, tx.at))
        row = _seal(said, signer, key, origins[lease.tenant_id], lease.tenant_id)
        rows.append({**row, "signed_at": tx.at})
        noted.append((lease.tenant_id, lease.id, {"grant": lease.grant_id, "digest": _digest(row)}))
    tx.session.execute(_INSERT, rows)
    trail.record_each(tx, "lease.end_signed", noted)


def _state_end(lease: sa.Row[Any], signed_at: datetime) -> dict[str, Any]:
    return {
        "lease": lease.id,
        "grant": lease.grant_id,
        "person": lease.person_id,
        "role": lease.role_name,
        "server": lease.database_id or lease.server_id or lease.platform_id or lease.storage_id,
        "snapshot": lease.snapshot_id,
        **_looked_at(lease),
        "at": {
            "promised": _instant(lease.ends_at),
            "login_refused": _instant(lease.login_refused_at),
            "last_session_dead": _instant(lease.last_session_dead_at),
            "role_gone": _instant(lease.role_gone_at),
            "signed": _instant(signed_at),
        },
    }


def _looked_at(lease: sa.Row[Any]) -> dict[str, Any]:
    """The servers on which a fresh look found nothing; none is named of a token or a session."""
    return {"looked_at": lease.looked_at} if lease.looked_at else {}


@dataclass(frozen=True, slots=True)
class _Said:
    """What is stated, about which subject: `kind` is one of `TYPES`."""

    kind: str
    subject: str
    statement: dict[str, Any]


def _seal(
    said: _Said, signer: Signer, key: bytes, origin: str, tenant_id: TenantId
) -> dict[str, Any]:
    """The statement's row, signed; but for the instant. `key` is the public half that must fit."""
    whole = {
        "v": 1,
        "type": said.kind,
        "log": origin,
        "tenant": tenant_id,
        "software": _SOFTWARE,
        **said.statement,
    }
    envelope = dsse.seal(
        TYPES[said.kind],
        entries.canonical(whole, max_bytes=dsse.MAX_PAYLOAD_BYTES),
        statements_key_name(origin),
        key,
        lambda message: signer.sign(STATEMENTS_KEY, message),
    )
    return {
        "subject": said.subject,
        "tenant_id": tenant_id,
        "kind": said.kind,
        "envelope": envelope,
    }


def _digest(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(row["envelope"]).hexdigest()


def _instant(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None
