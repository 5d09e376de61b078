"""Break-glass: two leads of the vendor let a colleague in, without the customer's yes.

What must stay true: only where the customer's policy allows it, in the request and still when the
glass is broken; only masked live reads, soon and short, once on a ticket, by two people of whom
neither asked. The customer's admins are told when it is asked and when it is opened, refuse or end
it at any moment, and are owed a review; while one is late, no other glass is broken (case 50 of the
adversarial cases).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa

from broker import mail, people, tenants
from broker.errors import Conflict, Denied, Invalid
from broker.grants.approval_policy import ApprovalPolicy, find_in_force
from broker.grants.delegates import OWN, Capacity
from broker.grants.model import Grant, Review
from broker.grants.scope_kinds import RAW
from broker.grants.telling import page_of
from broker.ids import TenantId, new_id
from broker.letters import Letter, Phrase, phrase
from broker.states import record_birth
from broker.tenants import Tenant
from broker.tx import Tx

APPROVALS = 2
ANSWERED_WITHIN_S = 3600  # an emergency that waits longer can ask the customer
REVIEWED_WITHIN = timedelta(hours=72)
_SETTLES_NOTHING = (
    "it is decided by two leads of the vendor; refuse it, or end it, if you want it not"
)


class BreakGlassRefused(Denied):
    """The customer's policy, or what happened before, does not allow it."""

    type = "break-glass-refused"


def hold_policy(tx: Tx, tenant_id: TenantId) -> None:
    """Until the commit, no change of the policy comes between, and no other break-glass."""
    tx.session.get_one(Tenant, tenant_id, with_for_update={"key_share": True})


def check_request(tx: Tx, grant: Grant, policy: ApprovalPolicy) -> None:
    """Of a request that is not stored yet. Raises BreakGlassRefused, Conflict, Invalid."""
    _check_allowed(tx, TenantId(grant.tenant_id), policy)
    fields: dict[str, str] = {}
    if not 1 <= grant.asked_live_s <= policy.break_glass_max_s:
        fields["live_s"] = f"break-glass gives this customer's data for 1 to {_most(policy)}"
    for name, is_asked in (
        ("copy_s", grant.asked_copy_s > 0),
        ("platform_s", grant.asked_platform_s > 0),
        ("storage_s", grant.asked_storage_s > 0),
        ("starts_at", grant.starts_at is not None),
        ("extends", grant.extends is not None),
        ("kind", grant.asked_kind == RAW),
    ):
        if is_asked:
            fields[name] = "break-glass is masked live access at once, and nothing else"
    if fields:
        raise Invalid("the glass can't be broken for this; ask the customer", fields=fields)
    before = sa.select(Grant.id).where(
        Grant.ticket_id == grant.ticket_id,
        Grant.break_glass,
        sa.or_(Grant.state == "requested", Grant.given_digest.is_not(None)),
    )
    first = tx.session.scalar(before.limit(1))
    if first is not None:
        raise Conflict(f"once on a ticket, and {first} was it; ask the customer", grant=first)


def _most(policy: ApprovalPolicy) -> str:
    return f"{policy.break_glass_max_s} seconds, masked and live"


def list_capacities(tx: Tx, grant: Grant) -> Sequence[Capacity]:
    """Two leads, in person, neither of whom asked; then the policy is held. Raises Denied,
    and NotFound to strangers (G12).
    """
    tenant_id = TenantId(grant.tenant_id)
    if tx.actor.side == "tenant" and people.may(tx, "grant:approve", tenant_id):
        raise BreakGlassRefused(_SETTLES_NOTHING)
    people.check(tx, "glass:break", tenant_id)
    if tx.actor.person_id is None or tx.actor.side != "vendor":
        raise BreakGlassRefused("only leads of the vendor break the glass")
    if tx.actor.person_id == grant.requester_id:
        raise BreakGlassRefused("nobody breaks the glass for themselves; two other leads must")
    hold_policy(tx, tenant_id)
    return [OWN]


def check_still_allowed(tx: Tx, grant: Grant) -> None:
    """By the policy in force now, too: the customer may have turned it off since it was asked."""
    tenant_id = TenantId(grant.tenant_id)
    _check_allowed(tx, tenant_id, find_in_force(tx, tenant_id)[1])


def _check_allowed(tx: Tx, tenant_id: TenantId, policy: ApprovalPolicy) -> None:
    if not policy.break_glass:
        raise BreakGlassRefused("this customer's policy allows no break-glass; ask the customer")
    late = sa.select(Review.id).where(
        Review.tenant_id == tenant_id, Review.state == "open", Review.due_at <= tx.at
    )
    review = tx.session.scalar(late.limit(1))
    if review is not None:
        raise BreakGlassRefused(
            f"review {review} of an earlier break-glass is late; until the customer closes it, "
            "ask the customer"
        )


def owe_review(tx: Tx, grant: Grant) -> None:
    """In the transaction that approves, before it: what is opened is owed."""
    due_at = tx.at + REVIEWED_WITHIN
    review = Review(
        id=new_id("rev"),
        tenant_id=grant.tenant_id,
        state="open",
        grant_id=grant.id,
        owed_at=tx.at,
        due_at=due_at,
    )
    facts = {"grant": grant.id, "due_at": due_at.isoformat()}
    record_birth(tx, review, "review.owed", facts=facts)


def tell_asked(tx: Tx, grant: Grant) -> None:
    """To every admin of the customer, as it is asked."""
    _tell_customer(
        tx,
        grant,
        phrase("Break-glass is asked"),
        phrase(
            "It opens, masked and read-only, if two leads of the vendor say so. You are not asked, "
            "as your policy allows; any of you can refuse it on your console, now."
        ),
    )


def tell_opened(tx: Tx, grant: Grant) -> None:
    """To every admin of the customer, as it opens."""
    _tell_customer(
        tx,
        grant,
        phrase("Break-glass is open"),
        phrase(
            "Two leads of the vendor opened it, masked and read-only, until %(until)s. Any of you "
            "can end it on your console, now. A review is owed to you within 72 hours; it stays "
            "open until one of you closes it.",
            until=grant.live_until or "",
        ),
    )


def _tell_customer(tx: Tx, grant: Grant, subject: Phrase, what: Phrase) -> None:
    tenant_id = TenantId(grant.tenant_id)
    letter = Letter(
        phrase("%(what)s: %(about)s", what=subject, about=grant.id),
        [
            phrase(
                "%(what)s: %(grant)s, on your database %(database)s, category %(category)s.\n"
                "%(more)s\nWho asked and why stand there too.",
                what=subject,
                grant=grant.id,
                database=tenants.get_database(tx, grant.database_id).name,
                category=grant.category,
                more=what,
            )
        ],
        kind="security",
        page=page_of(grant),
        thread=grant.ticket_id,
    )
    mail.write_to_roles(tx, tenant_id, ["admin"], letter)


def tell_that_it_waits(tx: Tx, grant: Grant) -> None:
    """To the leads who may still answer: not to who asked, nor to who just approved."""
    letter = Letter(
        phrase("Break-glass waits for you: %(grant)s", grant=grant.id),
        [
            phrase(
                "Break-glass is asked: %(grant)s. It opens once two leads other than who asked "
                "approve it; read exactly what would be seen on your console. It lapses at "
                "%(lapses)s.",
                grant=grant.id,
                lapses=grant.lapses_at,
            )
        ],
        kind="waiting",
        page=page_of(grant),
        thread=grant.ticket_id,
    )
    for person_id in people.list_recipients(tx, None, ["lead"]):
        if person_id not in {grant.requester_id, tx.actor.person_id}:
            mail.write(tx, person_id, None, letter)
