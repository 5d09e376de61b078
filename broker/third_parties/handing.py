"""Handovers: a document of a customer's, made for one recipient, and written down as it is made."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import enrolling, people, trail
from broker.audit.export import begin_export, stream
from broker.consents import ledger, recipients
from broker.consents.ledger import Consent, ConsentMissing
from broker.consents.purposes import THIRD_PARTY
from broker.db import Base
from broker.errors import NOT_THERE, Invalid, NotFound
from broker.ids import TenantId, new_id
from broker.snapshots import certificates
from broker.third_parties import orders
from broker.third_parties.orders import AuthorityOrder
from broker.trail import Personal
from broker.tx import Tx

WHAT = ("certificate", "log")


class Handover(Base):
    """To `recipient_id` on `consent_id`, or on `order_id`; `digest` is the document's SHA-256."""

    __tablename__ = "handover"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    recipient_id: Mapped[str | None] = mapped_column(sa.ForeignKey("recipient.id"))
    consent_id: Mapped[str | None] = mapped_column(sa.ForeignKey("consent_act.id"))
    order_id: Mapped[str | None] = mapped_column(sa.ForeignKey("authority_order.id"))
    what: Mapped[str]
    subject: Mapped[str]
    reason: Mapped[str]
    digest: Mapped[str]
    bytes: Mapped[int]
    by_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class Wanted:
    """`to` is a recipient's id or an order's; `certificate_id` where a certificate is meant."""

    to: str
    what: str
    reason: str
    certificate_id: str | None = None


@dataclass(frozen=True, slots=True)
class HandoverView:
    id: str
    tenant_id: str
    to: str
    to_name: str
    what: str
    subject: str
    reason: str
    digest: str
    bytes: int
    at: datetime


def hand_over(tx: Tx, tenant_id: TenantId, wanted: Wanted) -> tuple[str, bytes]:
    """Make the document for whom it is meant; returns the handover's id and the document.

    Raises ConsentMissing, Conflict, Invalid, NotFound.
    """
    people.check(tx, "handover:make", tenant_id)
    if wanted.what not in WHAT:
        raise Invalid("that is not handed over", fields={"what": f"one of {', '.join(WHAT)}"})
    if not 10 <= len(wanted.reason.strip()) <= 2000:
        raise Invalid("say why", fields={"reason": "10 to 2,000 characters; the customer reads it"})
    order = orders.get_binding(tx, wanted.to, tenant_id) if wanted.to.startswith("ord_") else None
    consent_id = None if order is not None else _get_consent(tx, tenant_id, wanted.to)
    subject, document = _make(tx, tenant_id, wanted)
    row = Handover(
        id=new_id("hnd"),
        tenant_id=tenant_id,
        recipient_id=None if order is not None else wanted.to,
        consent_id=consent_id,
        order_id=order.id if order is not None else None,
        what=wanted.what,
        subject=subject,
        reason=wanted.reason.strip(),
        digest=hashlib.sha256(document).hexdigest(),
        bytes=len(document),
        by_id=tx.actor.person_id,
        at=tx.at,
    )
    tx.session.add(row)
    tx.session.flush()
    if order is not None:
        trail.record(tx, None, "order.answered", order.id, {"tenant": tenant_id, **_of(row)})
    if order is None or order.told_at is not None:
        _note(tx, row)
    return row.id, document


def _get_consent(tx: Tx, tenant_id: TenantId, recipient_id: str) -> str:
    """The act of the ledger on which that recipient may get anything of that tenant."""
    recipient = recipients.find_open(tx, recipient_id)
    if recipient is None:
        raise NotFound(NOT_THERE)
    ledger.hold(tx, tenant_id)
    consent = Consent(tenant_id, THIRD_PARTY, about=recipient_id)
    last = ledger.find_last(tx, consent)
    if last is None or not ledger.is_live(tx, consent):
        raise ConsentMissing(
            f"the customer does not consent, or no longer, to handing over to {recipient.name}; an "
            "admin of theirs can, on their console under Consents",
            purposes=[THIRD_PARTY],
        )
    return last.id


def _make(tx: Tx, tenant_id: TenantId, wanted: Wanted) -> tuple[str, bytes]:
    """What the document is about, and its bytes."""
    if wanted.what == "certificate":
        found = certificates.get_certificate(tx, wanted.certificate_id or "")
        if found.tenant_id != tenant_id:
            raise NotFound(NOT_THERE)
        return found.id, found.envelope
    people.check(tx, "certificate:read", tenant_id)
    keys = [key.format() for key in enrolling.list_keys(tx, tenant_id)]
    export = begin_export(tx, tenant_id, keys, certificates.list_envelopes)
    export.with_openings = False
    return tenant_id, b"".join(stream(lambda: nullcontext(tx), export))


def _of(row: Handover) -> dict[str, str | int]:
    return {"handover": row.id, "what": row.what, "about": row.subject, "digest": row.digest}


def _note(tx: Tx, row: Handover) -> None:
    """In the tenant's own log."""
    facts = {name: value for name, value in _of(row).items() if name != "handover"}
    ground = {"recipient": row.recipient_id, "consent": row.consent_id, "order": row.order_id}
    facts |= {name: value for name, value in ground.items() if value is not None}
    facts["made_at"] = row.at.isoformat()
    reason = [Personal("reason", row.reason)]
    trail.record(tx, TenantId(row.tenant_id), "handover.made", row.id, facts, reason)


def tell_due(tx: Tx) -> int:
    """Orders whose silence is over, with all that was handed over on them; returns how many."""
    due = orders.list_to_tell(tx)
    for order in due:
        orders.tell(tx, order)
        made = sa.select(Handover).where(Handover.order_id == order.id).order_by(Handover.at)
        for row in tx.session.scalars(made):
            _note(tx, row)
    return len(due)


def list_handovers(tx: Tx, tenant_id: TenantId) -> list[HandoverView]:
    """Newest first. A tenant sees those on a silent order once its silence is over."""
    people.check(tx, "handover:read", tenant_id)
    query = (
        sa.select(Handover, recipients.Recipient.name, AuthorityOrder.authority)
        .outerjoin(recipients.Recipient, recipients.Recipient.id == Handover.recipient_id)
        .outerjoin(AuthorityOrder, AuthorityOrder.id == Handover.order_id)
        .where(Handover.tenant_id == tenant_id)
        .order_by(Handover.at.desc(), Handover.id)
    )
    if not people.may(tx, "order:record"):
        query = query.where(
            sa.or_(Handover.order_id.is_(None), AuthorityOrder.told_at.is_not(None))
        )
    return [_view(row, name or authority) for row, name, authority in tx.session.execute(query)]


def _view(row: Handover, name: str) -> HandoverView:
    return HandoverView(
        id=row.id,
        tenant_id=row.tenant_id,
        to=row.recipient_id or row.order_id or "",
        to_name=name,
        what=row.what,
        subject=row.subject,
        reason=row.reason,
        digest=row.digest,
        bytes=row.bytes,
        at=row.at,
    )
