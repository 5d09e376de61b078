"""Restores: a backup is put back only where an admin of the customer allowed this very restore.

What must stay true: who asks is not who allows; it names a ticket, a backup, a place and a time;
it is used once, and lapses unused. The broker has no backup's bytes: `use` is what the tool asks
before it reads them, and it gets the digest that they must have.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from broker import mail, people
from broker.backups import runs
from broker.backups.model import Restore
from broker.backups.states import RESTORE_ALLOWED, RESTORE_ENDED, RESTORE_USED
from broker.errors import NOT_THERE, Conflict, Denied, Invalid, NotFound
from broker.ids import PersonId, TenantId, new_id
from broker.letters import Letter, phrase
from broker.states import advance, record_birth
from broker.tickets.mirror import Ticket
from broker.trail import Personal
from broker.tx import Tx

_ANSWERED_WITHIN = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Ask:
    """`target` is where it is to be put, in words; within `hours` it is begun, once allowed."""

    ticket_id: str
    reason: str
    target: str
    hours: int


def ask(tx: Tx, run_id: str, wanted: Ask) -> str:
    """Ask the customer to restore one backup. Raises Conflict, Invalid, NotFound."""
    run = runs.get(tx, run_id)
    tenant_id = TenantId(run.tenant_id)
    people.check(tx, "restore:ask", tenant_id)
    if run.outcome != "done" or run.gone_at is not None:
        raise Conflict(f"{run.id} has no backup that could be restored")
    ticket = tx.session.get(Ticket, wanted.ticket_id)
    _check(wanted, ticket_is_open=bool(ticket) and _serves(ticket, tenant_id))
    row = Restore(
        id=new_id("bks"),
        tenant_id=tenant_id,
        state="asked",
        run_id=run.id,
        ticket_id=wanted.ticket_id,
        asked_by=tx.actor.person_id,
        reason=wanted.reason.strip(),
        target=wanted.target.strip(),
        hours=wanted.hours,
        asked_at=tx.at,
        ends_at=tx.at + _ANSWERED_WITHIN,
    )
    facts = {"run": run.id, "ticket": row.ticket_id, "hours": row.hours}
    said = [Personal("reason", row.reason), Personal("target", row.target)]
    record_birth(tx, row, "restore.asked", facts=facts, personal=said)
    _tell_admins(tx, row)
    return row.id


def _serves(ticket: Ticket | None, tenant_id: TenantId) -> bool:
    return ticket is not None and ticket.tenant_id == tenant_id and ticket.ended_at is None


def _check(wanted: Ask, *, ticket_is_open: bool) -> None:
    fields = {
        name: "10 to 2,000 characters; the customer reads it"
        for name in ("reason", "target")
        if not 10 <= len(getattr(wanted, name).strip()) <= 2000
    }
    if not ticket_is_open:
        fields["ticket"] = "an open ticket of this customer's"
    if not 1 <= wanted.hours <= 72:
        fields["hours"] = "1 to 72"
    if fields:
        raise Invalid("a restore can't be asked like this", fields=fields)


def _tell_admins(tx: Tx, row: Restore) -> None:
    letter = Letter(
        phrase("A restore of your backup waits for you: %(restore)s", restore=row.id),
        [
            phrase(
                "Somebody of your vendor asks to restore the backup of %(run)s.\nWhere to: "
                "%(target)s\nWhy: %(reason)s",
                run=row.run_id,
                target=row.target,
                reason=row.reason,
            ),
            phrase("Nothing is restored unless you allow it, on the console under Backups."),
        ],
        kind="waiting",
        page=f"/tenants/{row.tenant_id}/backups",
        thread=row.ticket_id,
    )
    mail.write_to_roles(tx, TenantId(row.tenant_id), ["admin"], letter)


def allow(tx: Tx, restore_id: str) -> Restore:
    """An admin of the customer's says yes. Raises Conflict, Denied, NotFound."""
    row = _decide(tx, restore_id)
    until = tx.at + timedelta(hours=row.hours)
    advance(
        tx,
        row,
        RESTORE_ALLOWED,
        values={"ends_at": until},
        facts={"ends_at": until.isoformat()},
    )
    _tell_asker(tx, row, allowed=True)
    return row


def refuse(tx: Tx, restore_id: str) -> Restore:
    """An admin says no, or takes a yes back before it is used."""
    row = _decide(tx, restore_id)
    advance(tx, row, RESTORE_ENDED, facts={"why": "refused by the customer"})
    _tell_asker(tx, row, allowed=False)
    return row


def _decide(tx: Tx, restore_id: str) -> Restore:
    row = get(tx, restore_id)
    people.check(tx, "restore:decide", TenantId(row.tenant_id))
    if tx.actor.side != "tenant":
        raise Denied("only the customer decides about a restore")
    return row


def _tell_asker(tx: Tx, row: Restore, *, allowed: bool) -> None:
    said = (
        phrase("The customer allowed it, until %(end)s: it can be used once.", end=row.ends_at)
        if allowed
        else phrase("The customer does not allow it.")
    )
    letter = Letter(
        phrase("Restore %(restore)s", restore=row.id), [said], page="/", thread=row.ticket_id
    )
    mail.write(tx, PersonId(row.asked_by), None, letter)


def use(tx: Tx, restore_id: str) -> Restore:
    """Begin it, once, in its time, by who asked for it. Raises Conflict, Denied, NotFound."""
    row = get(tx, restore_id)
    people.check(tx, "restore:ask", TenantId(row.tenant_id))
    if tx.actor.person_id != row.asked_by:
        raise Denied(f"{row.id} was asked by somebody else, who alone uses it")
    if row.state == "asked":
        raise Conflict(f"{row.id} waits for the customer: nothing is restored before they allow it")
    ticket = tx.session.get(Ticket, row.ticket_id)
    if tx.at >= row.ends_at or not _serves(ticket, TenantId(row.tenant_id)):
        raise Conflict(f"the time of {row.id} is over, or its ticket was closed; ask afresh")
    run = runs.get(tx, row.run_id)
    advance(tx, row, RESTORE_USED, facts={"run": run.id, "digest": run.digest or ""})
    return row


def end_overdue(tx: Tx, row: Restore) -> bool:
    """Unanswered, or allowed and not used in its time."""
    advance(tx, row, RESTORE_ENDED, facts={"why": "its time is over"})
    return True


def get(tx: Tx, restore_id: str) -> Restore:
    row = tx.session.get(Restore, restore_id, with_for_update=True)
    if row is None:
        raise NotFound(NOT_THERE)
    return row
