"""Deciding on a request: yes, to what was shown or to less of it, or no.

What must stay true: no one approves their own request; a decision is about a digest that was shown
and only narrows (G2); the windows are computed once, at approval, and nothing moves them later.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from broker import mail, trail
from broker.consents import ledger
from broker.errors import Conflict, Invalid
from broker.grants import approvals, break_glass, consented, delegates, mismatch, on_tickets
from broker.grants.approvals import Given, Said
from broker.grants.delegates import Capacity
from broker.grants.model import Grant
from broker.grants.narrowing import Narrowing, Span, Windows, is_within
from broker.grants.plan import (
    Plan,
)
from broker.grants.requests import START_WITHIN, GrantRefused, get_grant
from broker.grants.shown_plans import counts_of, forget_literals, get_plan
from broker.grants.states import APPROVE, REFUSE
from broker.grants.telling import page_of
from broker.ids import PersonId, TenantId
from broker.letters import Letter, Phrase, phrase
from broker.passkeys import Answered
from broker.states import StateConflict, advance
from broker.tickets import mirror
from broker.trail import Personal
from broker.tx import Tx


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
    span = Span(tx.at, grant.requested_at + START_WITHIN)
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
        **counts_of(given.plan),
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
