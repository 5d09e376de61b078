"""Whom anything of a customer may be handed to, beside the customer: a register that all can read.

    added ─▶ ended

A `sub_processor` works for the vendor, on contract (GDPR 28): customers are told before it starts.
A `third_party` acts for itself: an organisation consents to it by name, or it gets nothing. What
must stay true: what a consent was read with (`digest`) is never changed; another name, country or
use is another recipient.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import entries, mail, people, trail
from broker.db import Base, Json
from broker.errors import NOT_THERE, Conflict, Invalid, NotFound
from broker.ids import TenantId, new_id
from broker.letters import Letter, phrase
from broker.tenants import Tenant
from broker.trail import Personal
from broker.tx import Tx

KINDS = ("sub_processor", "third_party")
NOTICE = timedelta(days=30)  # before a new sub-processor gets anything
_COUNTRY = re.compile(r"\A[A-Z]{2}\Z")


class Recipient(Base):
    """`country` is ISO 3166-1's two letters; `safeguard` what protects data that leaves the EEA."""

    __tablename__ = "recipient"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    country: Mapped[str]
    use: Mapped[str]
    data: Mapped[str]
    safeguard: Mapped[str]
    added_by: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    added_at: Mapped[datetime]
    starts_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    def document(self) -> Json:
        """What of it is read by who consents to it."""
        named = ("id", "kind", "name", "country", "use", "data", "safeguard")
        return {name: getattr(self, name) for name in named}


@dataclass(frozen=True, slots=True)
class About:
    """A recipient as it is declared: who, where, for what, which data, with which safeguard."""

    name: str
    country: str
    use: str
    data: str
    safeguard: str = ""


def add(tx: Tx, kind: str, about: About) -> str:
    """Put one on the register. Customers are told of a sub-processor 30 days before it starts.

    Raises Invalid, Conflict when one of that name is there.
    """
    people.check(tx, "recipient:keep")
    if kind not in KINDS:
        raise Invalid("there is no such kind", fields={"kind": f"one of {', '.join(KINDS)}"})
    _check(about)
    if _find_named(tx, about.name.strip()) is not None:
        raise Conflict(f"{about.name.strip()} is on the register already; end that entry first")
    row = Recipient(
        id=new_id("rcp"),
        kind=kind,
        name=about.name.strip(),
        country=about.country,
        use=about.use.strip(),
        data=about.data.strip(),
        safeguard=about.safeguard.strip(),
        added_by=tx.actor.person_id,
        added_at=tx.at,
        starts_at=tx.at + NOTICE if kind == "sub_processor" else tx.at,
    )
    tx.session.add(row)
    tx.session.flush()
    facts = {"kind": kind, "digest": digest(row.document()), "starts_at": row.starts_at.isoformat()}
    trail.record(tx, None, "recipient.added", row.id, facts, [Personal("name", row.name)])
    if kind == "sub_processor":
        _tell_all(tx, row)
    return row.id


def _check(about: About) -> None:
    fields: dict[str, str] = {}
    for name in ("name", "use", "data"):
        if not 2 <= len(getattr(about, name).strip()) <= 400:
            fields[name] = "2 to 400 characters"
    if not _COUNTRY.match(about.country):
        fields["country"] = "two letters of ISO 3166-1, as FR"
    if len(about.safeguard) > 400:
        fields["safeguard"] = "400 characters at most"
    if fields:
        raise Invalid("the recipient can't be added like this", fields=fields)


def _find_named(tx: Tx, name: str) -> Recipient | None:
    query = sa.select(Recipient).where(
        sa.func.lower(Recipient.name) == name.lower(), Recipient.ended_at.is_(None)
    )
    return tx.session.scalar(query)


def _tell_all(tx: Tx, row: Recipient) -> None:
    said = [
        phrase(
            "From %(day)s on, %(name)s (%(country)s) works for us as a sub-processor: %(use)s. It "
            "gets: %(data)s.",
            day=row.starts_at.date(),
            name=row.name,
            country=row.country,
            use=row.use,
            data=row.data,
        ),
        phrase(
            "If you object, write to us before that day: your contract says what follows. The "
            "register is on the console, under Recipients."
        ),
    ]
    subject = phrase("A new sub-processor: %(name)s", name=row.name)
    for tenant_id in map(TenantId, tx.session.scalars(sa.select(Tenant.id).order_by(Tenant.id))):
        for person_id in people.list_recipients(tx, tenant_id, ["admin"]):
            page = "/recipients"
            mail.write(tx, person_id, tenant_id, Letter(subject, said, page=page))


def end(tx: Tx, recipient_id: str) -> None:
    """It gets nothing any more. Raises Conflict, NotFound."""
    people.check(tx, "recipient:keep")
    row = get(tx, recipient_id, lock=True)
    if row.ended_at is not None:
        raise Conflict(f"{recipient_id} was ended already, {row.ended_at:%Y-%m-%d}")
    row.ended_at = tx.at
    tx.session.flush()
    trail.record(tx, None, "recipient.ended", row.id, {"kind": row.kind})


def get(tx: Tx, recipient_id: str, *, lock: bool = False) -> Recipient:
    row = tx.session.get(Recipient, recipient_id, with_for_update=lock or None)
    if row is None:
        raise NotFound(NOT_THERE)
    return row


def find_open(tx: Tx, recipient_id: str) -> Recipient | None:
    """A third party to which an organisation can consent."""
    row = tx.session.get(Recipient, recipient_id)
    open_now = row is not None and row.ended_at is None and row.kind == "third_party"
    return row if open_now else None


def list_all(tx: Tx, kind: str | None = None, *, open_only: bool = False) -> Sequence[Recipient]:
    """By name; whoever is signed in may read it."""
    query = sa.select(Recipient).order_by(Recipient.ended_at.is_not(None), Recipient.name)
    if kind is not None:
        query = query.where(Recipient.kind == kind)
    if open_only:
        query = query.where(Recipient.ended_at.is_(None))
    return tx.session.scalars(query).all()


def digest(document: Json) -> str:
    return hashlib.sha256(entries.canonical(document)).hexdigest()
