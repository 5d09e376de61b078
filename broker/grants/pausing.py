"""Pausing: sessions cut and no login let in, while grant and clock go on as they were given.

    open ─pause─▶ asked ─worker─▶ paused ─resume─▶ resuming ─worker─▶ open

A pause is no state: it stands beside it, of one login or of a whole grant, and whatever ends a
login ends a paused one too. What must stay true: it is called paused only after a fresh look found
no session and no login that is let in (`Lease.held_at`), until then it is asked; no end moves by
it; a pause by the customer is lifted by the customer alone, the vendor's by either.

A token for a platform is not paused but ended, for it lives minutes; a paused grant gives no other.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from broker import mail, people, retries, trail
from broker.bell import ring
from broker.errors import Conflict, Denied
from broker.grants import leases as leasing
from broker.grants import requests
from broker.grants.leases import get_lease
from broker.grants.model import Grant, Lease
from broker.grants.telling import page_of
from broker.ids import PersonId, TenantId
from broker.jobs import Queue
from broker.languages import mark
from broker.letters import Letter, Phrase, phrase
from broker.tx import Tx

LIVING = ("pending", "issued")
_SIDES = {"tenant": "the customer", "vendor": "the vendor"}
_BY = {"tenant": mark("by the customer"), "vendor": mark("by the vendor")}
_CHANGED = {
    ("login", "paused"): mark("login paused"),
    ("login", "resumed"): mark("login resumed"),
    ("grant", "paused"): mark("grant paused"),
    ("grant", "resumed"): mark("grant resumed"),
}


def is_paused(lease: Lease, grant: Grant) -> bool:
    """What is wanted of a login: by a pause of its own, or of its grant."""
    return lease.paused_at is not None or grant.paused_at is not None


def say_pause(*, wanted: bool, held: bool) -> str:
    """`open`, `asked`, `paused` or `resuming`: what is wanted, and whether it is done."""
    if wanted:
        return "paused" if held else "asked"
    return "resuming" if held else "open"


def pause_lease(tx: Tx, lease_id: str, queue: Queue) -> None:
    """Raises Conflict when it is being ended, or is paused by this side already."""
    lease, grant = _get_locked(tx, lease_id)
    _note_pause(tx, lease)
    trail.record(tx, TenantId(lease.tenant_id), "lease.pause_asked", lease.id)
    _put(tx, [lease], queue)
    _tell(tx, grant, "login", "paused")


def resume_lease(tx: Tx, lease_id: str, queue: Queue) -> None:
    """Raises Conflict when it is not paused, Denied when the customer paused it."""
    lease, grant = _get_locked(tx, lease_id)
    if lease.paused_at is None and grant.paused_at is not None:
        raise Conflict(f"the whole grant is paused; resume it: broker grants resume {grant.id}")
    _lift(tx, lease)
    trail.record(tx, TenantId(lease.tenant_id), "lease.resume_asked", lease.id)
    _put(tx, [lease], queue)
    _tell(tx, grant, "login", "resumed")


def pause_grant(tx: Tx, grant_id: str, queue: Queue) -> None:
    """All its logins, on copies too; meanwhile it gives no new login and no new copy."""
    grant = _get_locked_grant(tx, grant_id)
    _note_pause(tx, grant)
    leases = _list_living(tx, grant)
    for token in leasing.list_open(tx, grant_id=grant.id):
        if token.platform_id is not None or token.storage_id is not None:
            leasing.end(tx, token, "its grant was paused", queue)
    trail.record(
        tx, TenantId(grant.tenant_id), "grant.pause_asked", grant.id, {"logins": len(leases)}
    )
    _put(tx, leases, queue)
    _tell(tx, grant, "grant", "paused")


def resume_grant(tx: Tx, grant_id: str, queue: Queue) -> None:
    """Logins that were paused by themselves stay so."""
    grant = _get_locked_grant(tx, grant_id)
    _lift(tx, grant)
    leases = [lease for lease in _list_living(tx, grant) if lease.paused_at is None]
    trail.record(
        tx, TenantId(grant.tenant_id), "grant.resume_asked", grant.id, {"logins": len(leases)}
    )
    _put(tx, leases, queue)
    _tell(tx, grant, "grant", "resumed")


def _get_locked(tx: Tx, lease_id: str) -> tuple[Lease, Grant]:
    """The grant is locked first, as by everything that ends one."""
    lease = get_lease(tx, lease_id)
    people.check(tx, "lease:pause", TenantId(lease.tenant_id))
    grant = requests.get_grant(tx, lease.grant_id, lock=True)
    tx.session.refresh(lease, with_for_update=True)
    if lease.platform_id is not None:
        raise Conflict(f"{lease.id} is a token: it lives minutes; end it, or pause {grant.id}")
    if lease.storage_id is not None:
        raise Conflict(f"{lease.id} is a session on a storage, which ends by itself; end it")
    if lease.state not in LIVING:
        raise Conflict(f"{lease.id} is {lease.state}; it can't be paused or resumed")
    return lease, grant


def _get_locked_grant(tx: Tx, grant_id: str) -> Grant:
    grant = requests.get_grant(tx, grant_id)
    people.check(tx, "grant:pause", TenantId(grant.tenant_id))
    grant = requests.get_grant(tx, grant_id, lock=True)
    if grant.state != "approved":
        raise Conflict(f"{grant.id} is {grant.state}; only what is given can be paused or resumed")
    return grant


def _note_pause(tx: Tx, row: Grant | Lease) -> None:
    """The customer's pause takes the place of the vendor's, never the reverse."""
    takes_over = row.paused_side == "vendor" and tx.actor.side == "tenant"
    if row.paused_at is not None and not takes_over:
        by = _SIDES[row.paused_side or "vendor"]
        raise Conflict(f"{row.id} is paused already by {by}, since {row.paused_at:%H:%M:%S} UTC")
    row.paused_at, row.paused_by, row.paused_side = tx.at, tx.actor.person_id, tx.actor.side


def _lift(tx: Tx, row: Grant | Lease) -> None:
    if row.paused_at is None:
        raise Conflict(f"{row.id} is not paused")
    if row.paused_side == "tenant" and tx.actor.side != "tenant":
        raise Denied(f"the customer paused {row.id}; the customer alone resumes it")
    row.paused_at = row.paused_by = row.paused_side = None


def _list_living(tx: Tx, grant: Grant) -> Sequence[Lease]:
    return tx.session.scalars(
        sa.select(Lease)
        .where(
            Lease.grant_id == grant.id,
            Lease.platform_id.is_(None),
            Lease.storage_id.is_(None),
            Lease.state.in_(LIVING),
        )
        .order_by(Lease.id)
        .with_for_update()
    ).all()


def _put(tx: Tx, leases: Sequence[Lease], queue: Queue) -> None:
    """The worker does it soon; the sweep finds what it did not."""
    for lease in leases:
        lease.attempts = 0
        retries.hint(lease, tx.at)
        queue.put(tx, "hold_lease", lease.id, queue="access")
        ring(tx, lease.id)


def _tell(tx: Tx, grant: Grant, what: str, done: str) -> None:
    """The other side, by mail."""
    changed = _CHANGED[what, done]
    letter = Letter(
        phrase("%(grant)s: %(what)s", grant=grant.id, what=Phrase(changed)),
        [
            phrase(
                "%(grant)s: %(what)s, %(who)s. Its end stays as it was given; the console shows "
                "how far the pause is done.",
                grant=grant.id,
                what=Phrase(changed),
                who=Phrase(_BY[tx.actor.side]),
            )
        ],
        page=page_of(grant),
        thread=grant.ticket_id,
    )
    if tx.actor.side == "tenant":
        mail.write(tx, PersonId(grant.requester_id), None, letter)
        return
    tenant_id = TenantId(grant.tenant_id)
    mail.write_to_roles(tx, tenant_id, ["admin"], letter)
