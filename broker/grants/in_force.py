"""What was approved: whether it gives something now, and its end.

What must stay true: every use asks here first (G1), and what is over comes back by no way.
"""

from __future__ import annotations

from datetime import datetime

from broker.grants import approvals, consented, on_tickets
from broker.grants.approvals import Said
from broker.grants.model import Grant
from broker.grants.requests import GrantRefused
from broker.grants.shown_plans import forget_literals
from broker.grants.states import END
from broker.states import StateConflict, advance
from broker.tickets import mirror
from broker.tx import Tx


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
