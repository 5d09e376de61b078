"""Standing approvals: a tenant's admins approve in advance what fits their conditions.

    proposed ─▶ given ─▶ ended        proposed ─▶ ended

What must stay true: it is given as a decision is, by as many distinct admins as the policy asks,
on a plan that they were shown; it always ends; and each of its uses is counted as approvals of
those who gave it and who may still approve, so that whatever holds for approvals holds for it.
Ending it is `lifecycle`'s: what rests on it must end too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from broker import entries, mail, people, tenants, trail
from broker.errors import NOT_THERE, Conflict, Denied, Invalid, NotFound
from broker.grants import requests, shown_plans
from broker.grants.approval_policy import ApprovalPolicy, at_most, find_in_force, get_version
from broker.grants.model import Grant, Standing, Voice
from broker.grants.narrowing import Narrowing, narrow_plan
from broker.grants.plan import Plan, from_document
from broker.grants.standing_rules import Conditions, check_conditions
from broker.grants.states import STANDING_ENDED, STANDING_GIVEN
from broker.ids import StandingId, TenantId, new_id
from broker.letters import Letter, Phrase, phrase
from broker.settings import Times
from broker.states import StateConflict, advance, record_birth
from broker.tickets import find_word
from broker.trail import Personal
from broker.tx import Tx

_MOST_WORDS = 20
_NOTE_MAX = 2000


@dataclass(frozen=True, slots=True)
class Draft:
    """What an admin proposes: on the plan of `grant_id` as it was shown, narrowed by `narrowing`,
    whose windows are the longest that are given. Severities and categories are the ticket system's.
    """

    grant_id: str
    shown_digest: str
    narrowing: Narrowing
    ends_at: datetime
    severities: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    per_ticket: int = 1
    note: str = ""


def propose(tx: Tx, draft: Draft, times: Times) -> StandingId:
    """Propose, and give where one admin is enough. Raises Invalid, Conflict, Denied, NotFound."""
    grant = requests.get_grant(tx, draft.grant_id)
    tenant_id = TenantId(grant.tenant_id)
    people.check(tx, "standing:give", tenant_id)
    version, policy = find_in_force(tx, tenant_id)
    _check_giver(tx, policy)
    if not draft.shown_digest or draft.shown_digest != grant.asked_digest:
        raise Conflict("the plan that you were shown is not the one of this request; read it again")
    if len(draft.note) > _NOTE_MAX:
        raise Invalid("the note is too long", fields={"note": f"{_NOTE_MAX} characters at most"})
    plan = narrow_plan(shown_plans.get_plan(tx, grant.id, draft.shown_digest), draft.narrowing)
    conditions = _conditions(draft, grant, policy, times)
    check_conditions(conditions, tx.at, times.standing_max_s)
    if not any(table.rows for table in plan.tables):
        raise Invalid("no table would be left; a standing approval gives some")
    lapses_at = tx.at + timedelta(seconds=at_most(times.unanswered_s, policy.unanswered_s))
    document = conditions.document(plan)
    row = Standing(
        id=new_id("sta"),
        tenant_id=grant.tenant_id,
        state="proposed",
        database_id=grant.database_id,
        like_grant=grant.id,
        conditions=document,
        plan=plan.document(),
        digest=hashlib.sha256(entries.canonical(document)).hexdigest(),
        note=draft.note.strip() or None,
        policy_version=version,
        approvals_needed=policy.approvals,
        proposed_at=tx.at,
        lapses_at=lapses_at,
        ends_at=conditions.ends_at,
    )
    facts = {**_terms(row), "grant": grant.id, "approvals": policy.approvals, "policy": version}
    record_birth(tx, row, "standing.proposed", facts=facts, personal=_personal(row, conditions))
    _speak(tx, row)
    return StandingId(row.id)


def _conditions(draft: Draft, grant: Grant, policy: ApprovalPolicy, times: Times) -> Conditions:
    """Raises Invalid for words that no ticket has, and for windows beyond what may be asked."""
    fields: dict[str, str] = {}
    words: dict[str, tuple[str, ...]] = {}
    for name in ("severities", "categories"):
        read = [find_word(word) for word in getattr(draft, name)]
        words[name] = tuple(sorted({word for word in read if word is not None}))
        if None in read or len(read) > _MOST_WORDS:
            fields[name] = f"up to {_MOST_WORDS}, each of 1 to 40 letters, digits, . _ - and spaces"
    live, copy = draft.narrowing.live_s or 0, draft.narrowing.copy_s or 0
    limits = (
        ("live_max_s", live, at_most(times.access_max_s, policy.live_max_s)),
        ("copy_max_s", copy, at_most(times.copy_max_s, policy.copy_max_s)),
    )
    for name, wished, most in limits:
        if not 0 <= wished <= most:
            fields[name] = f"0 to {most} seconds: no request gets more"
    if fields:
        raise Invalid("a standing approval can't be like this", fields=fields)
    return Conditions(
        database_id=grant.database_id,
        severities=words["severities"],
        categories=words["categories"],
        live_max_s=live,
        copy_max_s=copy,
        per_ticket=draft.per_ticket,
        ends_at=draft.ends_at.astimezone(UTC),
    )


def _personal(row: Standing, conditions: Conditions) -> list[Personal]:
    """What a person wrote: committed to, and opened beside it."""
    note = [Personal("note", row.note)] if row.note else []
    return [
        Personal("severities", list(conditions.severities)),
        Personal("categories", list(conditions.categories)),
        *note,
    ]


def _terms(row: Standing) -> dict[str, Any]:
    named = ("database", "live_max_s", "copy_max_s", "per_ticket", "ends_at", "plan")
    return {"digest": row.digest, **{name: row.conditions[name] for name in named}}


def agree(tx: Tx, standing_id: str, shown_digest: str) -> None:
    """Another admin agrees to what was proposed. Raises Conflict, Denied, NotFound."""
    row = get_standing(tx, standing_id)
    people.check(tx, "standing:give", TenantId(row.tenant_id))
    tx.session.refresh(row, with_for_update=True)  # voices come one after the other
    if row.state != "proposed":
        advance(tx, row, STANDING_GIVEN)  # raises, and says since when it is what
    if tx.at >= min(row.lapses_at, row.ends_at):
        raise Conflict(f"{row.id} waited too long; propose it afresh")
    if shown_digest != row.digest:
        raise Conflict("what you were shown is not what was proposed; read it again")
    if tx.session.get(Voice, (row.id, tx.actor.person_id)) is not None:
        raise Conflict(f"you agreed to {row.id} already; another person must agree too")
    _check_giver(tx, get_version(tx, TenantId(row.tenant_id), row.policy_version))
    _speak(tx, row)


def _check_giver(tx: Tx, policy: ApprovalPolicy) -> None:
    if tx.actor.person_id is None or tx.actor.side != "tenant":
        raise Denied("only an admin of the customer approves in advance")
    if policy.approvers and tx.actor.person_id not in policy.approvers:
        raise Denied("your organisation's policy names others to approve")


def _speak(tx: Tx, row: Standing) -> None:
    """Keep the actor's yes; the last one needed puts it in force."""
    tx.session.add(
        Voice(standing_id=row.id, person_id=tx.actor.person_id, via=tx.actor.via, at=tx.at)
    )
    tx.session.flush()
    missing = row.approvals_needed - len(list_givers(tx, row))
    if missing > 0:
        facts = {"digest": row.digest, "missing": missing}
        trail.record(tx, TenantId(row.tenant_id), "standing.agreed", row.id, facts)
        _tell(tx, row, phrase("A standing approval waits for you"))
    else:
        facts = {**_terms(row), "approvals": row.approvals_needed}
        advance(tx, row, STANDING_GIVEN, facts=facts)
        _tell(tx, row, phrase("A standing approval is in force"))


def list_givers(tx: Tx, row: Standing, policy: ApprovalPolicy | None = None) -> dict[str, str]:
    """Who agreed and may approve since then: a role that was lost counts not. Values are `via`."""
    stands = people.held_since(Voice.person_id, row.tenant_id, "grant:approve", Voice.at)
    voices = tx.session.scalars(sa.select(Voice).where(Voice.standing_id == row.id, stands))
    named = policy.approvers if policy is not None else ()
    return {one.person_id: one.via for one in voices if not named or one.person_id in named}


def get_standing(tx: Tx, standing_id: str) -> Standing:
    row = tx.session.get(Standing, standing_id)
    if row is None:
        raise NotFound(NOT_THERE)
    return row


def mark_ended(tx: Tx, row: Standing, why: str, *, keep: bool) -> bool:
    """Only `lifecycle` calls this; False when it was over already."""
    facts = {"why": why, "kept": keep}
    try:
        advance(tx, row, STANDING_ENDED, values={"keeps_grants": keep}, facts=facts)
    except StateConflict:
        return False
    _tell(tx, row, phrase("A standing approval is over"))
    return True


def _tell(tx: Tx, row: Standing, subject: Phrase) -> None:
    """Every other admin of the tenant learns of it."""
    tenant_id = TenantId(row.tenant_id)
    letter = Letter(
        phrase("%(what)s: %(about)s", what=subject, about=row.id),
        [
            phrase(
                "%(what)s: %(id)s, for database %(database)s, until %(end)s.\n"
                "Requests that fit it are approved without asking again. Read it on your console; "
                "any admin can end it there at once.",
                what=subject,
                id=row.id,
                database=tenants.get_database(tx, row.database_id).name,
                end=row.ends_at,
            )
        ],
        page=f"/standing-approvals/{row.id}",
    )
    for person_id in people.list_recipients(tx, tenant_id, ["admin"]):
        if person_id != tx.actor.person_id:
            mail.write(tx, person_id, tenant_id, letter)


def read_conditions(row: Standing) -> Conditions:
    said = row.conditions
    return Conditions(
        database_id=said["database"],
        severities=tuple(said["severities"]),
        categories=tuple(said["categories"]),
        live_max_s=said["live_max_s"],
        copy_max_s=said["copy_max_s"],
        per_ticket=said["per_ticket"],
        ends_at=row.ends_at,
    )


def read_plan(row: Standing) -> Plan:
    return from_document(row.plan)
