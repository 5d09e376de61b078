"""Asking for access, planning what would be seen, and deciding.

What must stay true: no one approves their own request; a decision is about a digest that was shown
and only narrows (G2); the windows are computed once, at approval, and nothing moves them later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from broker import mail, people, platforms, retries, storages, tenants, trail
from broker.consents import ledger
from broker.due import AT, Due
from broker.engines.ownership import Owned
from broker.errors import NOT_THERE, Conflict, Denied, Invalid, NotFound
from broker.grants import approvals, break_glass, consented, delegates, mismatch, on_tickets
from broker.grants.approval_policy import ApprovalPolicy, at_most, find_in_force
from broker.grants.approvals import Given, Said
from broker.grants.delegates import Capacity
from broker.grants.model import Grant, PlanRow
from broker.grants.narrowing import Narrowing, Span, Windows, is_within
from broker.grants.plan import (
    FindObstacle,
    Plan,
    PlatformPlan,
    StoragePlan,
    from_document,
    make_plan,
)
from broker.grants.policy import Policy
from broker.grants.scope_kinds import RAW, Wanted, Ways, find_problems
from broker.grants.states import APPROVE, END, REFUSE
from broker.grants.telling import page_of, say_lapse
from broker.ids import GrantId, PersonId, TenantId, new_id
from broker.jobs import Queue
from broker.letters import Letter, Phrase, phrase
from broker.passkeys import Answered
from broker.settings import Times
from broker.states import StateConflict, advance, record_birth
from broker.tickets import hints, mirror
from broker.trail import Personal
from broker.tx import Tx

_START_WITHIN = timedelta(days=7)
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
    `break_glass` see the module of that name.
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


def request(tx: Tx, ask: Ask, times: Times, queue: Queue) -> GrantId:
    """Store a request and enqueue the making of its plan. Raises Invalid, Conflict, NotFound."""
    people.check(tx, "grant:request")
    _check_ask(ask, times)
    if ask.starts_at is not None and not tx.at <= ask.starts_at <= tx.at + _START_WITHIN:
        raise Invalid("it can't start then", fields={"starts_at": "within the next 7 days"})
    ticket = mirror.get_open_ticket(tx, ask.ticket_id)
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


def _plan_storage(tx: Tx, grant: Grant) -> StoragePlan | None:
    if grant.storage_id is None:
        return None
    storage = storages.get_storage(tx, grant.storage_id)
    return StoragePlan(storage.id, storage.name, storage.bucket, storage.prefix)


def _plan_platform(tx: Tx, grant: Grant) -> PlatformPlan | None:
    if grant.platform_id is None:
        return None
    platform = platforms.get_platform(tx, grant.platform_id)
    return PlatformPlan(platform.id, platform.name, platform.audience)


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


def keep_plan(
    tx: Tx,
    grant_id: str,
    owned: Owned,
    policy: Policy,
    find_obstacle: FindObstacle,
) -> str:
    """Store the plan that will be shown, and return its digest.

    Made once: a request whose plan is there keeps it, so that what is approved is what was shown.
    """
    grant = get_grant(tx, grant_id, lock=True)
    if grant.asked_digest is not None or grant.state != "requested":
        return grant.asked_digest or ""
    tenancy = tenants.get_database(tx, grant.database_id).whose
    catalogue = owned.catalogue
    made = make_plan(
        policy,
        catalogue,
        find_obstacle,
        whose=owned.whose,
        tenancy=tenancy.digest(),
        wanted=Wanted(
            grant.asked_kind,
            tuple(grant.raw_columns),
            grant.asked_develop,
            grant.asked_dedicated,
        ),
    )
    plan = replace(made, platform=_plan_platform(tx, grant), storage=_plan_storage(tx, grant))
    digest = plan.digest()
    grant.asked_digest = digest
    retries.note_success(grant)
    tx.session.add(
        PlanRow(
            grant_id=grant.id,
            digest=digest,
            document=plan.document(),
            literals={"literals": [asdict(literal) for literal in catalogue.literals]},
            made_at=tx.at,
        )
    )
    tenant_id = TenantId(grant.tenant_id)
    trail.record(tx, tenant_id, "plan.made", grant.id, {"digest": digest, **_counts(plan)})
    return digest


def tell_that_it_waits(tx: Tx, grant: Grant) -> None:
    """To the tenant's admins, once its plan can be read."""
    tenant_id = TenantId(grant.tenant_id)
    letter = Letter(
        phrase("A request waits for you: %(grant)s", grant=grant.id),
        [
            phrase(
                "A support engineer asks for access to your database and waits for your answer.\n"
                "Request: %(grant)s\n"
                "Read exactly what would be seen, and decide, on your console.",
                grant=grant.id,
            ),
            say_lapse(grant),
        ],
        kind="waiting",
        page=page_of(grant),
        thread=grant.ticket_id,
    )
    for person_id in delegates.list_deciders(tx, tenant_id):
        mail.write(tx, person_id, tenant_id, letter)


def _counts(plan: Plan) -> dict[str, int]:
    columns = [column for table in plan.tables if table.rows for column in table.columns]
    kept = sum(column.kept for column in columns)
    raw = sum(column.raw for column in columns)
    restricted = plan.tables_restricted
    return {
        **({"columns_raw": raw} if raw else {}),
        **({"tables_restricted": restricted} if restricted else {}),
        "tables": sum(table.rows for table in plan.tables),
        "columns_kept": kept,
        "columns_masked": len(columns) - kept,
    }


def get_grant(tx: Tx, grant_id: str, *, lock: bool = False) -> Grant:
    """Locked FOR NO KEY UPDATE: one at a time, yet in nobody's way who only refers to it. A login
    that is changed twice in one transaction has its references checked, and would wait.
    """
    how = {"key_share": True} if lock else None
    grant = tx.session.get(Grant, grant_id, with_for_update=how, populate_existing=lock)
    if grant is None:
        raise NotFound(NOT_THERE)
    return grant


def get_plan(tx: Tx, grant_id: str, digest: str | None) -> Plan:
    row = tx.session.get(PlanRow, (grant_id, digest)) if digest else None
    if row is None:
        raise Conflict("the plan is not made yet; look again in a moment")
    return from_document(row.document)


def approve(
    tx: Tx,
    grant_id: str,
    shown_digest: str,
    narrowing: Narrowing,
    note: str = "",
    *,
    answered: Answered | None = None,
) -> None:
    """A tenant's admin says yes to what was shown, or to less; the last one needed settles it.
    Of break-glass, two leads of the vendor do. `answered` is a passkey's answer for just this
    decision (see `challenges`).

    Raises StateConflict when somebody decided first, GrantRefused for one's own request, Conflict
    when the plan shown is not the one that stands, when the ticket has ended, or for a second
    approval by one person; Invalid when nothing is left that all give.
    """
    grant = get_grant(tx, grant_id)
    capacities = _list_capacities(tx, grant)  # before the lock: who may not decide waits for nobody
    ledger.hold(tx, TenantId(grant.tenant_id))  # before the grant: a withdrawal takes them so
    tx.session.refresh(grant, with_for_update=True)  # approvals come one after the other
    asked, mine, capacity = _weigh(tx, grant, capacities, (shown_digest, narrowing))
    all_given = [*approvals.list_given(tx, grant), mine]
    met = approvals.meet(all_given)
    if not is_within(met.plan, asked):  # no way leads here: the last look before it is given
        raise Invalid("a decision can only narrow what was asked")
    missing = grant.approvals_needed - len(all_given)
    said = Said("approved", missing <= 0, mine, note, capacity=capacity, answered=answered)
    approvals.keep(tx, grant, said)
    if missing > 0:
        facts = facts_given(shown_digest, mine) | _stood_in(capacity) | {"missing": missing}
        trail.record(tx, TenantId(grant.tenant_id), "approval.given", grant.id, facts)
        _tell_other_admins(tx, grant, missing)
    else:
        facts = facts_given(shown_digest, met) | _stood_in(capacity) | {"approvals": len(all_given)}
        _settle_by_people(tx, grant, met, facts)


def _settle_by_people(tx: Tx, grant: Grant, met: Given, facts: dict[str, str | int]) -> None:
    if not grant.break_glass:
        settle(tx, grant, met, facts)
        return
    if met.windows.starts_at is not None:
        raise Invalid("break-glass starts at once", fields={"starts_at": "leave it out"})
    break_glass.owe_review(tx, grant)
    settle(tx, grant, met, facts | {"break_glass": True})
    break_glass.tell_opened(tx, grant)


def draft_approval(
    tx: Tx, grant_id: str, shown_digest: str, narrowing: Narrowing
) -> tuple[Grant, Said]:
    """What the actor would say by `approve`, and decides nothing. Raises as it does."""
    grant = get_grant(tx, grant_id)
    capacities = _list_capacities(tx, grant)
    _, mine, capacity = _weigh(tx, grant, capacities, (shown_digest, narrowing))
    return grant, Said("approved", settles=True, given=mine, capacity=capacity)


def _list_capacities(tx: Tx, grant: Grant) -> Sequence[Capacity]:
    """For whom the actor may approve this grant. Raises Denied, GrantRefused."""
    if grant.break_glass:
        return break_glass.list_capacities(tx, grant)
    capacities = delegates.list_capacities(tx, TenantId(grant.tenant_id), "grant:approve")
    _check_decider(tx, grant)
    return capacities


def _weigh(
    tx: Tx, grant: Grant, capacities: Sequence[Capacity], said: tuple[str, Narrowing]
) -> tuple[Plan, Given, Capacity]:
    """What was asked, what the actor gives of it, and for whom; `said` is the digest of the plan
    that was shown, and what is taken away. Raises as `approve` does.
    """
    shown_digest, narrowing = said
    if grant.state != "requested":
        advance(tx, grant, APPROVE)  # raises, and says who decided and when
    _check_shown(tx, grant, shown_digest)
    capacity = approvals.choose_capacity(tx, grant, capacities)
    if grant.break_glass:
        break_glass.check_still_allowed(tx, grant)
    asked = get_plan(tx, grant.id, grant.asked_digest)
    mismatch.check_plan(grant.id, asked, grant.asked_digest)
    span = Span(tx.at, grant.requested_at + _START_WITHIN)
    mine = approvals.narrow(grant, asked, narrowing, span)
    ledger.check_live(tx, TenantId(grant.tenant_id), consented.needed(mine.windows))
    return asked, mine, capacity


def _check_shown(tx: Tx, grant: Grant, shown_digest: str) -> None:
    mirror.get_open_ticket(tx, grant.ticket_id)
    if tx.at >= grant.lapses_at:
        raise Conflict(f"{grant.id} lapsed unanswered at {grant.lapses_at.isoformat()}")
    if shown_digest != grant.asked_digest:
        raise Conflict("the plan that you were shown is not the one that stands; read it again")


def facts_given(shown_digest: str, given: Given) -> dict[str, str | int]:
    """What the entry of an approval says of the plan shown and of what is given."""
    platform = {"platform_s": given.windows.platform_s} if given.plan.platform else {}
    storage = {"storage_s": given.windows.storage_s} if given.plan.storage else {}
    return {
        "shown": shown_digest,
        "given": given.plan.digest(),
        "live_s": given.windows.live_s,
        "copy_s": given.windows.copy_s,
        "kind": given.plan.kind,
        **platform,
        **storage,
        **({"starts_at": start.isoformat()} if (start := given.windows.starts_at) else {}),
        **({"develop": True} if given.plan.copy.develop else {}),
        **({"dedicated": True} if given.plan.copy.dedicated else {}),
        **_counts(given.plan),
    }


def _stood_in(capacity: Capacity) -> dict[str, str]:
    """For whom a delegate spoke, for the entry."""
    if capacity.for_id is None or capacity.delegation_id is None:
        return {}
    return {"for": capacity.for_id, "delegation": capacity.delegation_id}


def settle(
    tx: Tx,
    grant: Grant,
    given: Given,
    facts: dict[str, str | int],
    personal: Sequence[Personal] = (),
) -> None:
    """Those who must have approved. The clock starts now, or at the agreed start; nothing moves an
    end later.
    """
    ends = _ends(max(tx.at, given.windows.starts_at or tx.at), given.windows)
    advance(
        tx,
        grant,
        APPROVE,
        values={
            "given_live_s": given.windows.live_s,
            "given_copy_s": given.windows.copy_s,
            "given_platform_s": given.windows.platform_s,
            "given_storage_s": given.windows.storage_s,
            "given_digest": given.plan.digest(),
            "given_kind": given.plan.kind,
            "given_starts_at": given.windows.starts_at,
            "live_until": ends[0],
            "copy_until": ends[1],
            "platform_until": ends[2],
            "storage_until": ends[3],
            "ends_at": max(end for end in ends if end is not None),
            "standing_id": facts.get("standing"),
        },
        facts={**facts, "policy": grant.policy_version},
        personal=personal,
    )
    approvals.store_plan(tx, grant, given.plan)
    _tell_requester(tx, grant, "approved")
    on_tickets.say_opened(tx, grant)


def _tell_other_admins(tx: Tx, grant: Grant, missing: int) -> None:
    if grant.break_glass:
        break_glass.tell_that_it_waits(tx, grant)
        return
    tenant_id = TenantId(grant.tenant_id)
    letter = Letter(
        phrase("A request waits for you: %(grant)s", grant=grant.id),
        [
            phrase(
                "Somebody approved %(grant)s; %(missing)s more must, or nothing is seen. Read "
                "exactly what would be seen, and decide, on your console.",
                grant=grant.id,
                missing=missing,
            )
        ],
        kind="waiting",
        page=page_of(grant),
        thread=grant.ticket_id,
    )
    for person_id in delegates.list_deciders(tx, tenant_id):
        if person_id != tx.actor.person_id:
            mail.write(tx, person_id, tenant_id, letter)


def _ends(at: datetime, windows: Windows) -> tuple[datetime | None, ...]:
    """Of live access, of copies, of the platform's tokens, of sessions on the storage."""
    lengths = (windows.live_s, windows.copy_s, windows.platform_s, windows.storage_s)
    return tuple(at + timedelta(seconds=length) if length else None for length in lengths)


def _check_decider(tx: Tx, grant: Grant) -> None:
    """A person is one verified address: the same id means the same person (see `people`)."""
    if tx.actor.person_id is None or tx.actor.side != "tenant":
        raise GrantRefused("only an admin of the customer decides")
    if tx.actor.person_id == grant.requester_id:
        raise GrantRefused("nobody decides on their own request")


def draft_refusal(tx: Tx, grant_id: str) -> tuple[Grant, Said]:
    """What the actor would say by `refuse`, and decides nothing. Raises as it does."""
    grant, capacity = _check_may_refuse(tx, grant_id)
    if grant.state != "requested":
        _to_refused(tx, grant, {}, ())  # raises, and says who decided and when
    return grant, Said("refused", settles=True, capacity=capacity)


def _check_may_refuse(tx: Tx, grant_id: str) -> tuple[Grant, Capacity]:
    grant = get_grant(tx, grant_id)
    capacity, *_ = delegates.list_capacities(tx, TenantId(grant.tenant_id), "grant:refuse")
    _check_decider(tx, grant)
    return grant, capacity


def refuse(tx: Tx, grant_id: str, note: str, *, answered: Answered | None = None) -> None:
    """A tenant's admin says no, with a reason for the engineer.

    Raises StateConflict, which of what was approved meanwhile says how to take it back.
    """
    grant, capacity = _check_may_refuse(tx, grant_id)
    if not 3 <= len(note.strip()) <= 2000:
        raise Invalid("say in a few words why not", fields={"note": "3 to 2,000 characters"})
    _to_refused(tx, grant, _stood_in(capacity), [Personal("note", note.strip())])
    said = Said("refused", settles=True, note=note, capacity=capacity, answered=answered)
    approvals.keep(tx, grant, said)
    forget_literals(tx, grant)
    _tell_requester(tx, grant, "refused")


def _to_refused(tx: Tx, grant: Grant, facts: dict[str, str], personal: Sequence[Personal]) -> None:
    """Nobody ends by a refusal what they did not see approved; they are told how it is ended."""
    try:
        advance(tx, grant, REFUSE, facts=facts, personal=personal)
    except StateConflict as late:
        if late.facts.get("state") != "approved":
            raise
        raise StateConflict(f"{late.message}; to take it back, end it", **late.facts) from None


def _tell_requester(tx: Tx, grant: Grant, verdict: str) -> None:
    word = Phrase(verdict)
    letter = Letter(
        phrase("Request %(grant)s: %(verdict)s", grant=grant.id, verdict=word),
        [
            phrase(
                "Your request %(grant)s was answered: %(verdict)s. What was given stands on its "
                "page.",
                grant=grant.id,
                verdict=word,
            )
        ],
        kind="decision",
        page=page_of(grant),
        thread=grant.ticket_id,
    )
    mail.write(tx, PersonId(grant.requester_id), None, letter)


def mark_ended(tx: Tx, grant: Grant, why: str) -> bool:
    """Move a grant or request to `ended`; False when it already was over.

    Only `lifecycle` calls this: what rests on the grant must end with it.
    """
    try:
        advance(tx, grant, END, values={"end_reason": why, "next_try_at": None}, facts={"why": why})
    except StateConflict:
        return False
    forget_literals(tx, grant)
    on_tickets.say_ended(tx, grant)
    if tx.actor.person_id is not None:
        approvals.keep(tx, grant, Said("ended", settles=False))
    return True


def forget_literals(tx: Tx, grant: Grant) -> None:
    tx.session.execute(sa.update(PlanRow).where(PlanRow.grant_id == grant.id).values(literals=None))


def check_usable(tx: Tx, grant: Grant, *, kind: str) -> datetime:
    """Until when `kind` (`live`, `copy`, `platform` or `storage`) is given.

    Raises GrantRefused saying what to do, ApprovalLost when an approver has lost the role since,
    ConsentGone when the customer's consent is no longer there.
    """
    if grant.state == "requested":
        raise GrantRefused(
            f"{grant.id} is not approved yet; "
            + ("two leads" if grant.break_glass else "the customer's admin")
            + " must decide first"
        )
    if grant.state != "approved":
        raise GrantRefused(f"{grant.id} is {grant.state}; make a new request")
    if grant.paused_at is not None:
        by = "the customer" if grant.paused_side == "tenant" else "the vendor"
        raise GrantRefused(
            f"{grant.id} was paused by {by} at {grant.paused_at:%H:%M:%S} UTC; it gives nothing "
            "new until it is resumed"
        )
    ends = {
        "live": grant.live_until,
        "copy": grant.copy_until,
        "platform": grant.platform_until,
        "storage": grant.storage_until,
    }
    until = ends[kind]
    if until is None:
        raise GrantRefused(f"{grant.id} does not give {kind} access; it was not asked or not given")
    if grant.given_starts_at is not None and tx.at < grant.given_starts_at:
        raise GrantRefused(f"{grant.id} starts at {grant.given_starts_at.isoformat()}; not before")
    if tx.at >= until:
        raise GrantRefused(f"{grant.id} gave {kind} access until {until.isoformat()}; it is over")
    mirror.get_open_ticket(tx, grant.ticket_id)
    consented.check_kind(tx, grant, kind)
    approvals.check_still_reached(tx, grant)
    return until


def note_plan_failure(tx: Tx, grant_id: str, error: Exception) -> None:
    """Say on the request why its plan is not there yet; the sweep tries again."""
    grant = get_grant(tx, grant_id, lock=True)
    retries.note_failure(grant, tx.at, retries.describe(error))


WITHOUT_PLAN = Due(
    Grant,
    sa.and_(Grant.state == "requested", Grant.asked_digest.is_(None), Grant.next_try_at <= AT),
    Grant.next_try_at,
)
