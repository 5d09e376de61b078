"""A request whose plan is made: answered by a standing approval that fits it, or left to people.

Those who gave the standing approval approve, each by a decision of their own that names it: so they
are counted, signed and looked at again as any who approve. Admins are told of each use.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from broker import mail
from broker.consents import ledger
from broker.grants import (
    approvals,
    break_glass,
    consented,
    deciding,
    requests,
    shown_plans,
    standing,
)
from broker.grants.approval_policy import get_version
from broker.grants.approvals import Given, Said
from broker.grants.model import Grant, Standing
from broker.grants.narrowing import Windows
from broker.grants.scope_kinds import RAW
from broker.grants.standing_rules import Wish, find_given, fits
from broker.grants.telling import page_of
from broker.ids import PersonId, TenantId
from broker.letters import Letter, phrase
from broker.tickets import mirror
from broker.tickets.mirror import Ticket
from broker.trail import Personal
from broker.tx import Actor, Tx


@dataclass(frozen=True, slots=True)
class _Fitting:
    """A standing approval that answers, who gives by it, and what."""

    row: Standing
    givers: dict[str, str]
    given: Given


def answer(tx: Tx, grant_id: str) -> None:
    """Approve a request that a standing approval fits; tell the admins of it, or that it waits."""
    ledger.hold(tx, TenantId(requests.get_grant(tx, grant_id).tenant_id))
    grant = requests.get_grant(tx, grant_id, lock=True)
    if grant.state != "requested" or grant.asked_digest is None:
        return
    if grant.break_glass:
        break_glass.tell_that_it_waits(tx, grant)
        return
    # Who wrote a comment is known from the ticket system alone: people decide on it each time.
    fitting = None if grant.asked_on_ticket else _find_fitting(tx, grant)
    if fitting is None:
        shown_plans.tell_that_it_waits(tx, grant)
        return
    _approve(tx, grant, fitting)
    _tell(tx, grant, fitting.row)


def _find_fitting(tx: Tx, grant: Grant) -> _Fitting | None:
    """The first that was given of those that fit. Locked: uses are counted one after the other."""
    if ledger.list_missing(tx, TenantId(grant.tenant_id), consented.needed_by(grant)):
        return None
    ticket = mirror.get_open_ticket(tx, grant.ticket_id)
    asked = shown_plans.get_plan(tx, grant.id, grant.asked_digest)
    rows = tx.session.scalars(
        sa.select(Standing)
        .where(
            Standing.tenant_id == grant.tenant_id,
            Standing.database_id == grant.database_id,
            Standing.state == "given",
        )
        .order_by(Standing.state_at, Standing.id)
        .with_for_update()
    ).all()
    policy = get_version(tx, TenantId(grant.tenant_id), grant.policy_version)
    for row in rows:
        givers = standing.list_givers(tx, row, policy)
        wish = _wish(tx, grant, ticket, row)
        plan = find_given(standing.read_plan(row), asked)
        if plan is not None and fits(standing.read_conditions(row), frozenset(givers), wish):
            return _Fitting(row, givers, Given(plan, wish.windows))
    return None


def _wish(tx: Tx, grant: Grant, ticket: Ticket, row: Standing) -> Wish:
    used = sa.select(sa.func.count()).where(
        Grant.standing_id == row.id, Grant.ticket_id == grant.ticket_id
    )
    return Wish(
        database_id=grant.database_id,
        requester_id=grant.requester_id,
        severity=ticket.severity,
        category=ticket.category,
        windows=Windows(grant.asked_live_s, grant.asked_copy_s, starts_at=grant.starts_at),
        approvals_needed=grant.approvals_needed,
        first_at=_first_at(tx.at, grant),
        used=tx.session.scalar(used) or 0,
        by_itself=grant.extends is None
        and grant.asked_platform_s == grant.asked_storage_s == 0
        and grant.asked_kind != RAW
        and not grant.asked_develop
        and not grant.break_glass,
    )


def _first_at(at: datetime, grant: Grant) -> datetime:
    return max(at, grant.starts_at or at)


def _approve(tx: Tx, grant: Grant, fitting: _Fitting) -> None:
    row, given = fitting.row, fitting.given
    *others, last = sorted(fitting.givers)
    for person_id in (*others, last):
        giver = Actor("tenant", fitting.givers[person_id], PersonId(person_id))
        said = Said(
            "approved", settles=person_id == last, given=given, in_advance=(row.id, row.digest)
        )
        approvals.keep(replace(tx, actor=giver), grant, said)
    ticket = mirror.get_open_ticket(tx, grant.ticket_id)
    words = {"severity": ticket.severity, "category": ticket.category}
    facts = deciding.facts_given(grant.asked_digest or "", given)
    deciding.settle(
        tx,
        grant,
        given,
        facts | {"approvals": len(fitting.givers), "standing": row.id, "terms": row.digest},
        [Personal(name, word) for name, word in words.items() if word is not None],
    )


def _tell(tx: Tx, grant: Grant, row: Standing) -> None:
    """Every use, to every admin of the tenant."""
    tenant_id = TenantId(grant.tenant_id)
    letter = Letter(
        phrase("Approved in advance: %(grant)s", grant=grant.id),
        [
            phrase(
                "%(grant)s was approved under your standing approval %(standing)s, without asking "
                "again.\nIt ends by %(end)s. Read on your console who asked, why, and exactly "
                "what is seen; any admin can end it there at once, and the standing approval too.",
                grant=grant.id,
                standing=row.id,
                end=grant.ends_at or "",
            )
        ],
        kind="opened",
        page=page_of(grant),
        thread=grant.ticket_id,
    )
    mail.write_to_roles(tx, tenant_id, ["admin"], letter)
