"""A tenant's own rules of approving: how many admins, which of them, for how long at most.

Data of the tenant, by version; a version is never changed. The one in force when a request is made
is frozen into it. Changing it is a decision of an admin, with an entry; where the policy in force
says so, another admin must confirm first. Silence confirms nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import entries, mail, people, trail
from broker.db import Base, Json
from broker.errors import Conflict, Denied, Invalid
from broker.ids import PersonId, TenantId
from broker.letters import Letter, phrase
from broker.tenants import Tenant
from broker.tx import Actor, Tx

_MOST_APPROVALS = 3
_LONGEST_S = 366 * 86400
_MOST_REMINDERS = 5
REMINDERS = (25, 75)  # percent of the time between a request and its lapse
BREAK_GLASS_DEFAULT_S = 3600
BREAK_GLASS_S = (60, 14_400)  # it is short, whatever a policy says


class PolicyRow(Base):
    """In force is the highest version with `in_force_at`; a higher one without it is proposed."""

    __tablename__ = "approval_policy"
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    document: Mapped[Json]
    proposed_by: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    proposed_at: Mapped[datetime]
    confirmed_by: Mapped[str | None] = mapped_column(sa.ForeignKey("person.id"))
    in_force_at: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """`approvers` are ids of admins, empty for all of them. Maxima are seconds; None leaves the
    broker's own. `second_person`: a change of the policy needs another admin. `masked_only`: nobody
    may ask for columns in clear. `dedicated_only`: every copy lives on a server of its own, on an
    encrypted volume. `reminders`: at which percent of its time a request is told of
    again. `escalate_after_s`: when `escalate_to`, or every admin where that is empty, are told and
    may decide; None: never. `break_glass`: two people of the vendor may let one in without asking,
    for `break_glass_max_s` at most.
    """

    approvals: int = 1
    approvers: tuple[str, ...] = ()
    live_max_s: int | None = None
    copy_max_s: int | None = None
    unanswered_s: int | None = None
    second_person: bool = False
    masked_only: bool = False
    dedicated_only: bool = False
    reminders: tuple[int, ...] = REMINDERS
    escalate_after_s: int | None = None
    escalate_to: tuple[str, ...] = ()
    break_glass: bool = False
    break_glass_max_s: int = BREAK_GLASS_DEFAULT_S


@dataclass(frozen=True, slots=True)
class PolicyView:
    """`version` 0 is the broker's own. `proposed` waits for another admin, if there is one."""

    tenant_id: TenantId
    version: int
    policy: ApprovalPolicy
    proposed_version: int | None
    proposed: ApprovalPolicy | None
    proposed_by: str | None


def at_most(limit: int, own: int | None) -> int:
    """The broker's limit, or the tenant's where that is less."""
    return limit if own is None else min(limit, own)


@dataclass(frozen=True, slots=True)
class Given:
    """What a grant gives, as far as a policy bounds it. Seconds; 0 is "not at all"."""

    live_s: int
    copy_s: int
    platform_s: int
    storage_s: int
    in_clear: bool
    break_glass: bool


def forbids(policy: ApprovalPolicy, given: Given) -> bool:
    """Whether a request for this would be refused under the policy. Pure.

    Who decides, and how many, is no question of what may be given: a decision stands.
    """
    longest = max(given.live_s, given.platform_s, given.storage_s)
    limits = [(longest, policy.live_max_s), (given.copy_s, policy.copy_max_s)]
    if given.break_glass:
        limits.append((longest, policy.break_glass_max_s if policy.break_glass else 0))
    too_long = any(limit is not None and asked > limit for asked, limit in limits)
    return too_long or (policy.masked_only and (given.in_clear or given.storage_s > 0))


def find_in_force(tx: Tx, tenant_id: TenantId) -> tuple[int, ApprovalPolicy]:
    row = tx.session.scalar(
        sa.select(PolicyRow)
        .where(PolicyRow.tenant_id == tenant_id, PolicyRow.in_force_at.is_not(None))
        .order_by(PolicyRow.version.desc())
        .limit(1)
    )
    return (0, ApprovalPolicy()) if row is None else (row.version, _read(row.document))


def get_version(tx: Tx, tenant_id: TenantId, version: int) -> ApprovalPolicy:
    """The policy as it was frozen into a request."""
    if version == 0:
        return ApprovalPolicy()
    return _read(tx.session.get_one(PolicyRow, (tenant_id, version)).document)


def get_view(tx: Tx, tenant_id: TenantId) -> PolicyView:
    people.check(tx, "policy:read", tenant_id)
    version, policy = find_in_force(tx, tenant_id)
    row = _find_proposed(tx, tenant_id)
    return PolicyView(
        tenant_id=tenant_id,
        version=version,
        policy=policy,
        proposed_version=row.version if row else None,
        proposed=_read(row.document) if row else None,
        proposed_by=row.proposed_by if row else None,
    )


def propose(tx: Tx, tenant_id: TenantId, policy: ApprovalPolicy) -> None:
    """Change the policy, or propose it where another admin must confirm. Raises Invalid.

    A proposal takes the place of an earlier one that nobody confirmed.
    """
    people.check(tx, "policy:change", tenant_id)
    tx.session.get_one(Tenant, tenant_id, with_for_update=True)  # one change at a time
    _check(policy, people.list_recipients(tx, tenant_id, ["admin"]))
    _, current = find_in_force(tx, tenant_id)
    last = sa.select(sa.func.max(PolicyRow.version)).where(PolicyRow.tenant_id == tenant_id)
    version = (tx.session.scalar(last) or 0) + 1
    row = PolicyRow(
        tenant_id=tenant_id,
        version=version,
        document=_document(policy),
        proposed_by=tx.actor.person_id,
        proposed_at=tx.at,
        in_force_at=None if current.second_person else tx.at,
    )
    tx.session.add(row)
    tx.session.flush()
    if current.second_person:
        trail.record(tx, tenant_id, "policy.proposed", tenant_id, _facts(row))
    else:
        trail.record(tx, tenant_id, "policy.changed", tenant_id, _facts(row))
    _tell(tx, row)


def confirm(tx: Tx, tenant_id: TenantId, version: int) -> None:
    """Another admin agrees to a proposed change. Raises Conflict, Denied."""
    people.check(tx, "policy:change", tenant_id)
    tx.session.get_one(Tenant, tenant_id, with_for_update=True)
    row = _find_proposed(tx, tenant_id)
    if row is None or row.version != version:
        raise Conflict(f"version {version} does not wait for a confirmation; look again")
    if row.proposed_by == tx.actor.person_id:
        raise Denied("you proposed this change; another admin must confirm it")
    proposer = replace(tx, actor=Actor("tenant", "", PersonId(row.proposed_by)))
    if not people.may(proposer, "policy:change", tenant_id):
        raise Conflict("who proposed this is no admin any more; propose it afresh")
    _check(_read(row.document), people.list_recipients(tx, tenant_id, ["admin"]))
    row.confirmed_by, row.in_force_at = tx.actor.person_id, tx.at
    tx.session.flush()
    trail.record(tx, tenant_id, "policy.changed", tenant_id, _facts(row))
    _tell(tx, row)


def _find_proposed(tx: Tx, tenant_id: TenantId) -> PolicyRow | None:
    row = tx.session.scalar(
        sa.select(PolicyRow)
        .where(PolicyRow.tenant_id == tenant_id)
        .order_by(PolicyRow.version.desc())
        .limit(1)
    )
    return row if row is not None and row.in_force_at is None else None


def _check(policy: ApprovalPolicy, admins: list[PersonId]) -> None:
    """Nobody locks a tenant out: there are as many admins as the policy asks for."""
    fields: dict[str, str] = {}
    may = set(policy.approvers) or set(admins)
    if not 1 <= policy.approvals <= _MOST_APPROVALS:
        fields["approvals"] = f"1 to {_MOST_APPROVALS}"
    elif policy.approvals > len(may):
        fields["approvals"] = f"only {len(may)} may approve; make more admins first"
    if set(policy.approvers) - set(admins):
        fields["approvers"] = "each must be an admin of the tenant"
    if policy.second_person and len(admins) < 2:
        fields["second_person"] = "there is no second admin; make one first"
    for name, least in (("live_max_s", 0), ("copy_max_s", 0), ("unanswered_s", 60)):
        value = getattr(policy, name)
        if value is not None and not least <= value <= _LONGEST_S:
            fields[name] = f"{least} to {_LONGEST_S} seconds"
    fields |= _check_waiting(policy, admins)
    least, most = BREAK_GLASS_S
    if not least <= policy.break_glass_max_s <= most:
        fields["break_glass_max_s"] = f"{least} to {most} seconds"
    if fields:
        raise Invalid("the policy can't be like this", fields=fields)


def _check_waiting(policy: ApprovalPolicy, admins: list[PersonId]) -> dict[str, str]:
    """What is wrong with reminders and escalation, by field."""
    fields: dict[str, str] = {}
    shares, after_s = policy.reminders, policy.escalate_after_s
    if len(shares) > _MOST_REMINDERS or not all(1 <= share <= 99 for share in shares):  # percent
        fields["reminders"] = f"up to {_MOST_REMINDERS}, each 1 to 99 percent"
    if set(policy.escalate_to) - set(admins):
        fields["escalate_to"] = "each must be an admin of the tenant"
    elif policy.escalate_to and after_s is None:
        fields["escalate_after_s"] = "say after how long they are told"
    if after_s is not None and not 60 <= after_s < (policy.unanswered_s or _LONGEST_S):
        fields["escalate_after_s"] = "60 seconds at least, and before an unanswered request lapses"
    return fields


_LISTS = ("approvers", "reminders", "escalate_to")


def _document(policy: ApprovalPolicy) -> dict[str, Any]:
    said = asdict(policy)
    return {**said, **{name: sorted(set(said[name])) for name in _LISTS}}


def _read(document: Json) -> ApprovalPolicy:
    """One of an older release says nothing of reminders: then they are the broker's own."""
    lists = {name: tuple(document[name]) for name in _LISTS if name in document}
    return ApprovalPolicy(**{**document, **lists})


def _facts(row: PolicyRow) -> dict[str, Any]:
    digest = hashlib.sha256(entries.canonical(row.document)).hexdigest()
    said = {name: value for name, value in row.document.items() if value is not None}
    return {"version": row.version, "digest": digest, **said}


def _tell(tx: Tx, row: PolicyRow) -> None:
    """Every other admin learns of a change, and of one that waits for them."""
    waits = row.in_force_at is None
    subject = (
        phrase("A change of your approval policy waits for you")
        if waits
        else phrase("A change of your approval policy is in force")
    )
    version = phrase(
        "%(what)s: version %(version)s. Read it on your console.", what=subject, version=row.version
    )
    more = phrase("It holds once another admin than who proposed it confirms.")
    letter = Letter(
        subject, [version, more] if waits else [version], page=f"/tenants/{row.tenant_id}/policy"
    )
    tenant_id = TenantId(row.tenant_id)
    for person_id in people.list_recipients(tx, tenant_id, ["admin"]):
        if person_id != tx.actor.person_id:
            mail.write(tx, person_id, tenant_id, letter)
