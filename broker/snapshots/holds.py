"""Legal holds: a condemned copy whose sealed form is kept for a while, unreadable to everybody.

    asked ─▶ in force ─▶ over      asked ─▶ refused | over

A privacy officer asks. It is in force when an admin of the tenant agrees, or at once on the
recorded order of an authority, and ends within 90 days; going on is a new hold, asked and agreed
anew. It lengthens no access: when its copy is condemned, logins and sandbox go as ever, and the key
port refuses to unwrap from then on. What must stay true: a hold begins before the intent to erase
the key is written, or not at all (both lock the snapshot's row); when it is over, the copy is
destroyed by the same machinery as any other. The copy stays `condemned`: there is no way back (G7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import mail, people, retries, trail
from broker.due import AT, Due
from broker.errors import NOT_THERE, Conflict, Invalid, NotFound
from broker.ids import TenantId, new_id
from broker.jobs import Queue
from broker.letters import Letter, Phrase, phrase
from broker.snapshots.model import Snapshot
from broker.snapshots.ordering import get_snapshot
from broker.snapshots.states import HOLD_BEGIN, HOLD_END, HOLD_REFUSE
from broker.states import StateConflict, StatefulRow, advance, record_birth
from broker.trail import Personal
from broker.tx import Tx

MAX_DAYS = 90
_ANSWERED_WITHIN = timedelta(days=7)


class LegalHold(StatefulRow):
    """`authority_order` names an authority's order; without one a tenant's admin decides.

    `closed_at`: logins and sandbox were seen to be gone, and the key refuses to unwrap.
    """

    __tablename__ = "legal_hold"
    snapshot_id: Mapped[str] = mapped_column(sa.ForeignKey("snapshot.id"))
    authority_order: Mapped[str | None]
    reason: Mapped[str]
    days: Mapped[int]
    asked_by: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    asked_at: Mapped[datetime]
    decided_by: Mapped[str | None] = mapped_column(sa.ForeignKey("person.id"))
    begun_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]

    @property
    def basis(self) -> str:
        return "customer" if self.authority_order is None else "authority"


@dataclass(frozen=True, slots=True)
class Ask:
    reason: str
    days: int
    authority_order: str | None = None


@dataclass(frozen=True, slots=True)
class HoldView:
    id: str
    tenant_id: str
    snapshot_id: str
    state: str
    state_at: datetime
    basis: str
    authority_order: str | None
    reason: str
    days: int
    asked_at: datetime
    begun_at: datetime | None
    ends_at: datetime | None
    closed_at: datetime | None


def ask(tx: Tx, snapshot_id: str, wanted: Ask, queue: Queue) -> str:
    """Ask that a copy be kept; on an authority's order it is. Raises Invalid, Conflict."""
    snapshot = get_snapshot(tx, snapshot_id)
    people.check(tx, "hold:ask", TenantId(snapshot.tenant_id))
    _check_ask(wanted)
    tx.session.refresh(snapshot, with_for_update=True)
    _check_whole(snapshot)
    if _find(tx, snapshot_id, "asked") is not None:
        raise Conflict("a hold of this copy waits for the customer's answer already")
    hold = LegalHold(
        id=new_id("hld"),
        tenant_id=snapshot.tenant_id,
        state="asked",
        snapshot_id=snapshot.id,
        authority_order=wanted.authority_order,
        reason=wanted.reason.strip(),
        days=wanted.days,
        asked_by=tx.actor.person_id,
        asked_at=tx.at,
    )
    personal = [Personal("reason", hold.reason)]
    if hold.authority_order is not None:
        personal.append(Personal("order", hold.authority_order))
    facts = {"snapshot": snapshot.id, "basis": hold.basis, "days": hold.days}
    record_birth(tx, hold, "hold.asked", facts=facts, personal=personal)
    if hold.authority_order is not None:
        _begin(tx, hold, snapshot, queue)
    else:
        _tell(
            tx,
            hold,
            phrase("The copy waits for your decision; without one it is destroyed as ever."),
        )
    return hold.id


def _check_ask(wanted: Ask) -> None:
    fields: dict[str, str] = {}
    if not 10 <= len(wanted.reason.strip()) <= 2000:
        fields["reason"] = "say in 10 to 2,000 characters why the copy must be kept"
    if not 1 <= wanted.days <= MAX_DAYS:
        fields["days"] = f"1 to {MAX_DAYS}; going on after that is a new hold"
    if wanted.authority_order is not None and not 3 <= len(wanted.authority_order.strip()) <= 200:
        fields["authority_order"] = "the authority and its reference, in 3 to 200 characters"
    if fields:
        raise Invalid("the hold can't be asked like this", fields=fields)


def _check_whole(snapshot: Snapshot) -> None:
    if snapshot.erasing_at is not None or snapshot.state == "destroyed":
        raise Conflict(f"{snapshot.id} is being destroyed or is gone: there is nothing to keep")


def decide(tx: Tx, hold_id: str, *, agree: bool, queue: Queue) -> None:
    """An admin of the tenant agrees to a hold, or refuses it. Raises Conflict."""
    hold = get_hold(tx, hold_id)
    people.check(tx, "hold:decide", TenantId(hold.tenant_id))
    if not agree:
        advance(tx, hold, HOLD_REFUSE, values={"decided_by": tx.actor.person_id}, facts=_of(hold))
        return
    snapshot = get_snapshot(tx, hold.snapshot_id, lock=True)
    _check_whole(snapshot)
    _begin(tx, hold, snapshot, queue)


def _begin(tx: Tx, hold: LegalHold, snapshot: Snapshot, queue: Queue) -> None:
    """The snapshot's row is locked. A hold that this one goes on from is over."""
    if hold.state == "asked":
        before = _find(tx, snapshot.id, "in_force")
        if before is not None:
            advance(tx, before, HOLD_END, facts={**_of(before), "why": "renewed"})
    ends_at = tx.at + timedelta(days=hold.days)
    by = tx.actor.person_id if hold.authority_order is None else None
    values = {"begun_at": tx.at, "ends_at": ends_at, "decided_by": by}
    facts = {**_of(hold), "basis": hold.basis, "ends_at": ends_at.isoformat()}
    advance(tx, hold, HOLD_BEGIN, values=values, facts=facts)
    _hurry(tx, snapshot, queue)
    _tell(
        tx,
        hold,
        phrase("The copy is kept in its sealed form, unreadable, until %(end)s.", end=ends_at),
    )


def lift(tx: Tx, hold_id: str, queue: Queue) -> None:
    """End a hold: the copy is destroyed. An authority's is ended by the vendor alone.

    Raises Conflict, also when it is over already.
    """
    hold = get_hold(tx, hold_id)
    people.check(tx, "hold:lift", TenantId(hold.tenant_id))
    if hold.authority_order is not None and tx.actor.side == "tenant":
        raise Conflict("an authority ordered this hold; the vendor's privacy officer ends it")
    if not end(tx, hold, "lifted", queue):
        raise Conflict(f"{hold.id} is {hold.state} already, since {hold.state_at.isoformat()}")


def end(tx: Tx, hold: LegalHold, why: str, queue: Queue) -> bool:
    """False when it was over already."""
    snapshot = get_snapshot(tx, hold.snapshot_id, lock=True)
    try:
        advance(tx, hold, HOLD_END, facts={**_of(hold), "why": why})
    except StateConflict:
        tx.session.refresh(hold)
        return False
    _hurry(tx, snapshot, queue)
    _tell(
        tx,
        hold,
        phrase(
            "The copy is held no longer (%(why)s), and destroyed once nothing else needs it.",
            why=Phrase(why),
        ),
    )
    return True


def _hurry(tx: Tx, snapshot: Snapshot, queue: Queue) -> None:
    if snapshot.state == "condemned":
        retries.hint(snapshot, tx.at)
        queue.put(tx, "destroy_snapshot", snapshot.id, queue="copies")


# Those whose time is over, and those that nobody answered.
OVER = Due(
    LegalHold, sa.and_(LegalHold.state == "in_force", LegalHold.ends_at <= AT), LegalHold.ends_at
)
UNANSWERED = Due(
    LegalHold,
    sa.and_(LegalHold.state == "asked", LegalHold.asked_at <= AT - _ANSWERED_WITHIN),
    LegalHold.asked_at,
)


def find_in_force(tx: Tx, snapshot_id: str) -> LegalHold | None:
    return _find(tx, snapshot_id, "in_force")


def count_held(tx: Tx) -> int:
    """Condemned copies that are kept sealed: counted apart, and never late."""
    held = LegalHold.state == "in_force", LegalHold.closed_at.is_not(None)
    return tx.session.scalar(sa.select(sa.func.count()).where(*held)) or 0


def _find(tx: Tx, snapshot_id: str, state: str) -> LegalHold | None:
    return tx.session.scalar(
        sa.select(LegalHold).where(LegalHold.snapshot_id == snapshot_id, LegalHold.state == state)
    )


def find_or_rule_out(tx: Tx, snapshot_id: str) -> LegalHold | None:
    """The hold in force on a condemned copy; without one, none can begin from here on: the intent
    to erase its key is written, before it is erased.
    """
    snapshot = get_snapshot(tx, snapshot_id, lock=True)
    hold = find_in_force(tx, snapshot_id)
    if hold is None:
        snapshot.erasing_at = snapshot.erasing_at or tx.at
    return hold


def note_closed(tx: Tx, hold_id: str) -> LegalHold:
    """Logins and sandbox are gone and the key opens nothing: from now on the copy is held."""
    hold = tx.session.get_one(LegalHold, hold_id)
    get_snapshot(tx, hold.snapshot_id, lock=True)  # an end of the hold comes before or after
    tx.session.refresh(hold)
    if hold.closed_at is None:
        hold.closed_at = tx.at
        trail.record(tx, TenantId(hold.tenant_id), "hold.closed", hold.id, _of(hold))
    return hold


def get_hold(tx: Tx, hold_id: str) -> LegalHold:
    """Raises NotFound, the same for none and for another tenant's (G12)."""
    hold = tx.session.get(LegalHold, hold_id)
    if hold is None:
        raise NotFound(NOT_THERE)
    people.check(tx, "snapshot:read", TenantId(hold.tenant_id))
    return hold


def list_of_snapshot(tx: Tx, snapshot_id: str) -> Sequence[LegalHold]:
    query = sa.select(LegalHold).where(LegalHold.snapshot_id == snapshot_id)
    return tx.session.scalars(query.order_by(LegalHold.asked_at, LegalHold.id)).all()


def get_view(tx: Tx, hold_id: str) -> HoldView:
    return _view(get_hold(tx, hold_id))


def list_views(tx: Tx, snapshot_id: str) -> list[HoldView]:
    """Of one copy, oldest first. Raises NotFound."""
    snapshot = get_snapshot(tx, snapshot_id)
    people.check(tx, "snapshot:read", TenantId(snapshot.tenant_id))
    return [_view(hold) for hold in list_of_snapshot(tx, snapshot_id)]


def _view(hold: LegalHold) -> HoldView:
    return HoldView(
        **{name: getattr(hold, name) for name in HoldView.__dataclass_fields__},
    )


def _of(hold: LegalHold) -> dict[str, str]:
    return {"snapshot": hold.snapshot_id}


def _tell(tx: Tx, hold: LegalHold, what: Phrase) -> None:
    """The tenant's admins: whoever asked, and whatever its basis."""
    tenant_id = TenantId(hold.tenant_id)
    named = {"hold": hold.id, "copy": hold.snapshot_id}
    asked = (
        phrase(
            "A legal hold %(hold)s was asked on the order of an authority for the copy %(copy)s of "
            "your database.",
            **named,
        )
        if hold.authority_order
        else phrase(
            "A legal hold %(hold)s was asked by the vendor for the copy %(copy)s of your database.",
            **named,
        )
    )
    letter = Letter(
        phrase("Legal hold of the copy %(copy)s", copy=hold.snapshot_id),
        [
            asked,
            what,
            phrase(
                "Its logins and its sandbox go when the copy ends, hold or not. The page of the "
                "copy shows the reason and who decided."
            ),
        ],
        page=f"/copies/{hold.snapshot_id}",
    )
    mail.write_to_roles(tx, tenant_id, ["admin"], letter)
