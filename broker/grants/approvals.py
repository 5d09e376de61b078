"""Counting approvals: distinct people, who may still approve, each giving what they saw, or less.

What is given in all is the intersection: whatever one of them took away is away.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import sqlalchemy as sa

from broker import people
from broker.errors import Conflict, Denied
from broker.grants import by_passkey, delegates
from broker.grants.approval_policy import get_version
from broker.grants.delegates import OWN, Capacity
from broker.grants.escalating import list_named
from broker.grants.model import Decision, Grant, PlanRow
from broker.grants.narrowing import (
    NOT_AT_ALL,
    Narrowing,
    Span,
    Windows,
    meet_plans,
    meet_windows,
    narrow_plan,
    narrow_start,
    narrow_windows,
)
from broker.grants.plan import Plan, from_document
from broker.ids import TenantId, new_id
from broker.passkeys import Answered
from broker.tx import Tx


class ApprovalLost(Denied):
    """Too few of those who approved may still approve; nothing more is made under the grant."""

    type = "approval-lost"
    why: ClassVar[str] = "too few of those who approved may still approve"


@dataclass(frozen=True, slots=True)
class Given:
    """What one person gives, or all of them together."""

    plan: Plan
    windows: Windows


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said, and for whom: `settles` when it answers the request."""

    verdict: str
    settles: bool
    given: Given | None = None
    note: str = ""
    in_advance: tuple[str, str] | None = None  # the standing approval, and the digest of its terms
    capacity: Capacity = OWN
    answered: Answered | None = None  # by the person's passkey


def narrow(grant: Grant, asked: Plan, narrowing: Narrowing, span: Span) -> Given:
    """What one person gives of what was asked. Raises Invalid."""
    start = narrow_start(grant.starts_at, narrowing, span)
    windows = Windows(
        grant.asked_live_s,
        grant.asked_copy_s,
        grant.asked_platform_s,
        grant.asked_storage_s,
        start,
    )
    return Given(narrow_plan(asked, narrowing), narrow_windows(windows, narrowing))


def keep(tx: Tx, grant: Grant, said: Said) -> None:
    """Raises PasskeyRefused when a passkey answered, and not for this decision."""
    row = draft(tx, grant, said)
    if said.answered is not None:
        by_passkey.prove(tx, grant, row, said.answered)
    tx.session.add(row)
    if said.given:
        store_plan(tx, grant, said.given.plan)


def draft(tx: Tx, grant: Grant, said: Said) -> Decision:
    """The row of what the actor says; not kept yet."""
    windows = said.given.windows if said.given else NOT_AT_ALL
    return Decision(
        id=new_id("dec"),
        grant_id=grant.id,
        person_id=tx.actor.person_id,
        side=tx.actor.side,
        verdict=said.verdict,
        settles=said.settles,
        live_s=windows.live_s,
        copy_s=windows.copy_s,
        platform_s=windows.platform_s,
        kind=said.given.plan.kind if said.given else None,
        tables_restricted=said.given.plan.tables_restricted if said.given else 0,
        storage_s=windows.storage_s,
        starts_at=windows.starts_at,
        shown_digest=grant.asked_digest,
        given_digest=said.given.plan.digest() if said.given else None,
        note=said.note.strip() or None,
        via=tx.actor.via,
        at=tx.at,
        standing_id=said.in_advance[0] if said.in_advance else None,
        terms_digest=said.in_advance[1] if said.in_advance else None,
        for_id=said.capacity.for_id,
        for_until=said.capacity.until,
        delegation_id=said.capacity.delegation_id,
    )


def store_plan(tx: Tx, grant: Grant, plan: Plan) -> None:
    digest = plan.digest()
    if tx.session.get(PlanRow, (grant.id, digest)) is None:
        row = PlanRow(grant_id=grant.id, digest=digest, document=plan.document(), made_at=tx.at)
        tx.session.add(row)


def choose_capacity(tx: Tx, grant: Grant, capacities: Sequence[Capacity]) -> Capacity:
    """For whom the actor approves: oneself where that counts, else the first of whom it does.

    Raises Denied where the policy names others, Conflict for a second approval by one person. Where
    it names people, each of them is heard once, in person or by a delegate.
    """
    policy = get_version(tx, TenantId(grant.tenant_id), grant.policy_version)
    named, me = () if grant.break_glass else list_named(grant, policy), tx.actor.person_id
    counted = [one for one in capacities if not named or _whose(one, me) in named]
    if not counted:
        raise Denied("your organisation's policy names others to approve this")
    spoken = _list_spoken(tx, grant)
    if me in {one.person_id for one in spoken}:
        raise Conflict(f"you approved {grant.id} already; another person must approve it too")
    heard = {one.whose for one in spoken if one.counts} if named else set()
    fresh = [one for one in counted if _whose(one, me) not in heard]
    if not fresh:
        raise Conflict(
            f"{grant.id} was approved already by a delegate or by whom you stand for; another of "
            "those whom the policy names must approve it too"
        )
    return fresh[0]


def _whose(capacity: Capacity, me: str | None) -> str | None:
    return capacity.for_id or me


@dataclass(frozen=True, slots=True)
class _Spoken:
    """An approval that was given: by whom, as whose capacity, and whether it counts now."""

    person_id: str
    whose: str
    counts: bool


def _list_spoken(tx: Tx, grant: Grant) -> Sequence[_Spoken]:
    rows = tx.session.execute(
        sa.select(Decision.person_id, Decision.for_id, stands_on(grant, tx.at)).where(
            Decision.grant_id == grant.id, Decision.verdict == "approved"
        )
    )
    return [_Spoken(row[0], row[1] or row[0], bool(row[2])) for row in rows]


def list_given(tx: Tx, grant: Grant) -> Sequence[Given]:
    """What was given so far by those who may still approve now: a role that was lost counts not."""
    rows = tx.session.execute(
        sa.select(Decision, PlanRow.document)
        .join(
            PlanRow,
            (PlanRow.grant_id == Decision.grant_id) & (PlanRow.digest == Decision.given_digest),
        )
        .where(
            Decision.grant_id == grant.id,
            Decision.verdict == "approved",
            stands_on(grant, tx.at),
        )
    ).all()
    return [
        Given(from_document(document), _windows(decision, grant)) for decision, document in rows
    ]


def _windows(decision: Decision, grant: Grant) -> Windows:
    return Windows(
        decision.live_s,
        decision.copy_s,
        decision.platform_s,
        decision.storage_s,
        decision.starts_at or grant.starts_at,
    )


def stands(tenant_id: Any, at: Any, *, break_glass: bool = False) -> sa.ColumnElement[bool]:
    """SQL for "this decision counts at `at`": its person may still approve, without a break since;
    or decided for an admin of whom that is true, under a delegation that still stands. Of
    `break_glass` the vendor's leads decide, in person.
    """
    if break_glass:
        held = people.held_since(Decision.person_id, None, "glass:break", Decision.at)
        return sa.and_(Decision.side == "vendor", Decision.delegation_id.is_(None), held)
    own = people.held_since(Decision.person_id, tenant_id, "grant:approve", Decision.at)
    in_person = sa.and_(Decision.delegation_id.is_(None), own)
    return sa.or_(in_person, delegates.stands(tenant_id, at))


def stands_on(grant: Grant, at: Any) -> sa.ColumnElement[bool]:
    return stands(grant.tenant_id, at, break_glass=grant.break_glass)


def check_still_reached(tx: Tx, grant: Grant) -> None:
    """Raises Denied when too few of those who approved may still approve (case 7 of the research).

    Asked of every login and every copy before it is made: who lost the role since is not counted,
    nor what a delegate said once the delegation is over.
    """
    asked = {"grant": grant.id, "tenant": grant.tenant_id, "at": tx.at}
    check_count(grant, tx.session.scalar(_standing(break_glass=grant.break_glass), asked) or 0)


@functools.cache
def _standing(*, break_glass: bool) -> sa.Select[int]:
    """Built once: every login asks it."""
    return sa.select(sa.func.count(sa.distinct(Decision.person_id))).where(
        Decision.grant_id == sa.bindparam("grant"),
        Decision.verdict == "approved",
        stands(sa.bindparam("tenant"), sa.bindparam("at"), break_glass=break_glass),
    )


def check_count(grant: Grant, standing: int) -> None:
    if standing < grant.approvals_needed:
        raise ApprovalLost(
            f"{grant.id} needs {grant.approvals_needed} approvals, and {standing} of those given "
            "still count: who gave the others may not approve any more; make a new request"
        )


def meet(given: Sequence[Given]) -> Given:
    """What all of them give. Raises Invalid when nothing would be left."""
    return Given(
        meet_plans([one.plan for one in given]), meet_windows([one.windows for one in given])
    )
