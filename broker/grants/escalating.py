"""Escalation: a request that waits for answers longer than the tenant's policy says is told of to
the people whom that policy names for it, or to every admin; and those may decide it from then on.

Level-triggered, once for each request, with an entry before anybody decides by it. It decides
nothing and asks for no fewer approvals: silence never approves and never skips a step.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from broker import mail, people, trail
from broker.due import plain
from broker.grants.approval_policy import ApprovalPolicy, PolicyRow, get_version
from broker.grants.model import Grant
from broker.grants.telling import page_of, say_lapse
from broker.ids import PersonId, TenantId
from broker.letters import Letter, phrase
from broker.tx import Tx

_BATCH = 200


def escalate_due(tx: Tx) -> int:
    """Tell of each request that is due; returns how many."""
    due = _list_due(tx)
    for grant in due:
        _escalate(tx, grant)
    return len(due)


def _list_due(tx: Tx) -> Sequence[Grant]:
    """By the policy that was frozen into the request; one without a plan has nothing to read."""
    after_s = PolicyRow.document["escalate_after_s"].as_integer()
    waited = sa.extract("epoch", tx.at - Grant.requested_at)
    query = (
        sa.select(Grant)
        .join(
            PolicyRow,
            (PolicyRow.tenant_id == Grant.tenant_id) & (PolicyRow.version == Grant.policy_version),
        )
        .where(
            plain(Grant.state == "requested"),
            Grant.lapses_at > tx.at,
            Grant.asked_digest.is_not(None),
            Grant.escalated_at.is_(None),
            ~Grant.break_glass,  # its leads decide
            waited >= after_s,
        )
    )
    return tx.session.scalars(query.limit(_BATCH).with_for_update(of=Grant, key_share=True)).all()


def _escalate(tx: Tx, grant: Grant) -> None:
    tenant_id = TenantId(grant.tenant_id)
    policy = get_version(tx, tenant_id, grant.policy_version)
    grant.escalated_at = tx.at
    admins = people.list_recipients(tx, tenant_id, ["admin"])
    told = [one for one in admins if not policy.escalate_to or one in policy.escalate_to]
    facts = {"after_s": policy.escalate_after_s, "told": sorted(told)}
    trail.record(tx, tenant_id, "grant.escalated", grant.id, facts)
    letter = Letter(
        phrase("A request needs you: %(grant)s", grant=grant.id),
        [
            phrase(
                "%(grant)s waits, and too few have answered. You may decide it now, as your "
                "organisation's policy says. Read exactly what would be seen on your console.",
                grant=grant.id,
            ),
            say_lapse(grant),
        ],
        kind="waiting",
        page=page_of(grant),
        thread=grant.ticket_id,
    )
    for person_id in told:
        mail.write(tx, PersonId(person_id), tenant_id, letter)


def list_named(grant: Grant, policy: ApprovalPolicy) -> Collection[str]:
    """Whose approval counts now, as the policy names them; none named: every admin's."""
    if not policy.approvers or grant.escalated_at is None:
        return policy.approvers
    return {*policy.approvers, *policy.escalate_to} if policy.escalate_to else ()
