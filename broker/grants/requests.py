"""Asking for access: what a request may say, and the record of it.

What must stay true: what is asked lies within what the broker and the customer give at most; the
customer's policy is frozen into the request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from broker import people, platforms, retries, storages, tenants
from broker.errors import NOT_THERE, Conflict, Denied, Invalid, NotFound
from broker.grants import break_glass, consented
from broker.grants.approval_policy import ApprovalPolicy, at_most, find_in_force
from broker.grants.model import Grant
from broker.grants.narrowing import Windows
from broker.grants.scope_kinds import RAW, Wanted, Ways, find_problems
from broker.ids import GrantId, TenantId, new_id
from broker.jobs import Queue
from broker.settings import Times
from broker.states import record_birth
from broker.tickets import hints, mirror
from broker.trail import Personal
from broker.tx import Tx

START_WITHIN = timedelta(days=7)


CATEGORIES = ("customer_report", "vendor_finding", "incident", "backup", "legal")


class GrantRefused(Denied):
    """The rules of deciding do not allow this decision by this person."""

    type = "grant-refused"


@dataclass(frozen=True, slots=True)
class Ask:
    """What an engineer asks for: windows in seconds, 0 for "not this kind". `platform_id` names the
    platform for which `platform_s` is asked, `storage_id` the objects for which `storage_s` is.

    The clock starts at `starts_at`, or at approval if that is later. `extends` names the grant that
    this one goes on from: it is decided by itself, and moves nothing of the old one. For
    `break_glass` see the module of that name; `on_ticket` was written as a comment (`asking`).
    """

    ticket_id: str
    database_id: str
    category: str
    reason: str
    live_s: int
    copy_s: int
    starts_at: datetime | None = None
    extends: str | None = None
    platform_s: int = 0
    storage_s: int = 0
    platform_id: str | None = None
    wanted: Wanted = field(default_factory=Wanted)
    storage_id: str | None = None
    break_glass: bool = False
    on_ticket: bool = False


def request(tx: Tx, ask: Ask, times: Times, queue: Queue) -> GrantId:
    """Store a request and enqueue the making of its plan. Raises Invalid, Conflict, NotFound."""
    people.check(tx, "grant:request")
    _check_ask(ask, times)
    if ask.starts_at is not None and not tx.at <= ask.starts_at <= tx.at + START_WITHIN:
        raise Invalid("it can't start then", fields={"starts_at": "within the next 7 days"})
    ticket = mirror.get_open_ticket(tx, ask.ticket_id)
    tenants.check_not_left(tx, ticket.tenant_id)
    database = tenants.get_database(tx, ask.database_id)
    if database.tenant_id != ticket.tenant_id:
        raise NotFound("there is no such database for this ticket's customer")
    if ask.break_glass:
        break_glass.hold_policy(tx, TenantId(ticket.tenant_id))
    version, policy = find_in_force(tx, TenantId(ticket.tenant_id))
    _check_windows(ask, times, policy)
    _check_extended(tx, ask)
    _check_platform(tx, ask, ticket.tenant_id)
    _check_storage(tx, ask, ticket.tenant_id)
    wished = Windows(ask.live_s, ask.copy_s, ask.platform_s, ask.storage_s)
    consented.check_held(tx, ticket.tenant_id, wished)
    unanswered_s = at_most(times.unanswered_s, policy.unanswered_s)
    if ask.break_glass:
        unanswered_s = min(unanswered_s, break_glass.ANSWERED_WITHIN_S)
    grant = Grant(
        id=new_id("grt"),
        tenant_id=ticket.tenant_id,
        state="requested",
        database_id=database.id,
        ticket_id=ticket.id,
        requester_id=tx.actor.person_id,
        category=ask.category,
        reason=ask.reason.strip(),
        requested_at=tx.at,
        lapses_at=tx.at + timedelta(seconds=unanswered_s),
        extends=ask.extends,
        starts_at=ask.starts_at,
        policy_version=version,
        approvals_needed=break_glass.APPROVALS if ask.break_glass else policy.approvals,
        break_glass=ask.break_glass,
        asked_on_ticket=ask.on_ticket,
        asked_live_s=ask.live_s,
        asked_copy_s=ask.copy_s,
        asked_platform_s=ask.platform_s,
        asked_storage_s=ask.storage_s,
        platform_id=ask.platform_id,
        asked_kind=ask.wanted.kind,
        asked_develop=ask.wanted.develop,
        asked_dedicated=_is_dedicated(ask, policy),
        raw_columns=list(ask.wanted.raw),
        storage_id=ask.storage_id,
        next_try_at=tx.at + timedelta(seconds=retries.HINT_S),
    )
    if grant.break_glass:
        break_glass.check_request(tx, grant, policy)
        break_glass.tell_asked(tx, grant)
    record_birth(
        tx,
        grant,
        "grant.requested",
        facts=_facts_asked(grant),
        personal=[Personal("reason", grant.reason)],
    )
    queue.put(tx, "plan_grant", grant.id, queue="access")
    hints.keep_hint(tx, ticket.system, ticket.external_id)  # what was seen may be an hour old
    return GrantId(grant.id)


def _is_dedicated(ask: Ask, policy: ApprovalPolicy) -> bool:
    """As asked, or as the customer wants every copy."""
    return ask.copy_s > 0 and (ask.wanted.dedicated or policy.dedicated_only)


def _facts_asked(grant: Grant) -> dict[str, str | int]:
    start = grant.starts_at
    more = {
        "platform": grant.platform_id,
        "platform_s": grant.asked_platform_s if grant.platform_id else None,
        "storage": grant.storage_id,
        "storage_s": grant.asked_storage_s if grant.storage_id else None,
        "extends": grant.extends,
        "starts_at": start.isoformat() if start else None,
        "break_glass": grant.break_glass or None,
        "on_ticket": grant.asked_on_ticket or None,
        "develop": grant.asked_develop or None,
        "dedicated": grant.asked_dedicated or None,
    }
    return {
        "ticket": grant.ticket_id,
        "database": grant.database_id,
        "category": grant.category,
        "live_s": grant.asked_live_s,
        "copy_s": grant.asked_copy_s,
        "lapses_at": grant.lapses_at.isoformat(),
        "policy": grant.policy_version,
        "approvals": grant.approvals_needed,
        "kind": grant.asked_kind,
        **{name: value for name, value in more.items() if value is not None},
    }


def _check_ask(ask: Ask, times: Times) -> None:
    fields: dict[str, str] = {}
    if not 10 <= len(ask.reason.strip()) <= 4000:
        fields["reason"] = "say in 10 to 4,000 characters why the customer should agree"
    if ask.category not in CATEGORIES:
        fields["category"] = f"one of {', '.join(CATEGORIES)}"
    if not 0 <= ask.live_s <= times.access_max_s:
        fields["live_s"] = f"0 to {times.access_max_s} seconds"
    if not 0 <= ask.copy_s <= times.copy_max_s:
        fields["copy_s"] = f"0 to {times.copy_max_s} seconds"
    fields |= _check_things(ask, times)
    if ask.live_s == ask.copy_s == ask.platform_s == ask.storage_s == 0:
        fields["live_s"] = "ask for live access, a copy, a platform, a storage, or several of them"
    whole = ask.platform_s > 0 or ask.storage_s > 0
    ways = Ways(live=ask.live_s > 0, copy=ask.copy_s > 0, platform=whole)
    fields |= find_problems(ask.wanted, ways)
    if fields:
        raise Invalid("the request can't be made like this", fields=fields)


def _check_things(ask: Ask, times: Times) -> dict[str, str]:
    """Problems of what is asked on a platform or a storage, by field."""
    fields: dict[str, str] = {}
    if not 0 <= ask.platform_s <= times.access_max_s:
        fields["platform_s"] = f"0 to {times.access_max_s} seconds"
    if (ask.platform_id is None) != (ask.platform_s == 0):
        fields["platform"] = "name a platform and for how long, or neither"
    if not 0 <= ask.storage_s <= times.access_max_s:
        fields["storage_s"] = f"0 to {times.access_max_s} seconds"
    elif 0 < ask.storage_s < storages.SHORTEST_S:
        fields["storage_s"] = f"{storages.SHORTEST_S} seconds at least: no session is shorter"
    if (ask.storage_id is None) != (ask.storage_s == 0):
        fields["storage"] = "name a storage and for how long, or neither"
    return fields


def _check_extended(tx: Tx, ask: Ask) -> None:
    if ask.extends is None:
        return
    old = tx.session.get(Grant, ask.extends)
    if old is None or (old.requester_id, old.ticket_id, old.database_id) != (
        tx.actor.person_id,
        ask.ticket_id,
        ask.database_id,
    ):
        problem = "not a grant of yours on this ticket and database"
        raise Invalid("there is nothing to go on from", fields={"extends": problem})
    if old.state != "approved":
        raise Conflict(f"{old.id} is {old.state}; ask afresh, without naming it")


def _check_platform(tx: Tx, ask: Ask, tenant_id: str) -> None:
    if ask.platform_id is None:
        return
    platform = platforms.get_platform(tx, ask.platform_id)
    if platform.tenant_id != tenant_id:
        raise NotFound("there is no such platform for this ticket's customer")


def _check_storage(tx: Tx, ask: Ask, tenant_id: str) -> None:
    if ask.storage_id is None:
        return
    if storages.get_storage(tx, ask.storage_id).tenant_id != tenant_id:
        raise NotFound("there is no such storage for this ticket's customer")


def _check_windows(ask: Ask, times: Times, policy: ApprovalPolicy) -> None:
    """What the customer gives at most, where that is less than the broker's own limit."""
    live = at_most(times.access_max_s, policy.live_max_s)
    copy = at_most(times.copy_max_s, policy.copy_max_s)
    fields: dict[str, str] = {}
    if ask.live_s > live:
        fields["live_s"] = f"this customer gives {live} seconds at most"
    if ask.copy_s > copy:
        fields["copy_s"] = f"this customer gives {copy} seconds at most"
    if ask.platform_s > live:  # the live application: the same limit
        fields["platform_s"] = f"this customer gives {live} seconds at most"
    if policy.masked_only and ask.wanted.kind == RAW:
        fields["kind"] = "this customer shows nothing in clear; ask for masked rows"
    if ask.storage_s > live:  # live objects: the same limit
        fields["storage_s"] = f"this customer gives {live} seconds at most"
    if policy.masked_only and ask.storage_s > 0:  # objects are not masked
        fields["storage"] = "this customer shows nothing in clear, and objects are not masked"
    if fields:
        raise Invalid("the request asks for more than this customer gives", fields=fields)


def get_grant(tx: Tx, grant_id: str, *, lock: bool = False) -> Grant:
    """Locked FOR NO KEY UPDATE: one at a time, yet in nobody's way who only refers to it. A login
    that is changed twice in one transaction has its references checked, and would wait.
    """
    how = {"key_share": True} if lock else None
    grant = tx.session.get(Grant, grant_id, with_for_update=how, populate_existing=lock)
    if grant is None:
        raise NotFound(NOT_THERE)
    return grant
