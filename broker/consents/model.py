"""Tables of the ledger of consents."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker.db import Base


class ConsentAct(Base):
    """One act on one consent, kept as it was. `act`: given, renewed, withdrawn or lapsed.

    `person_id` is None for the organisation's. `about` is what of the purpose it is about, where
    the purpose asks (a contact field, a recipient). `shown` is the digest of what was read, in
    `language`, of that version. `by_id` is None where time alone acted.
    """

    __tablename__ = "consent_act"
    id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(sa.Identity(always=True), unique=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    person_id: Mapped[str | None] = mapped_column(sa.ForeignKey("person.id"))
    purpose: Mapped[str]
    about: Mapped[str]
    act: Mapped[str]
    version: Mapped[int]
    language: Mapped[str | None]
    shown: Mapped[str | None]
    lapses_at: Mapped[datetime | None]
    by_id: Mapped[str | None] = mapped_column(sa.ForeignKey("person.id"))
    side: Mapped[str]
    via: Mapped[str]
    at: Mapped[datetime]
    __table_args__ = (
        sa.ForeignKeyConstraint(["purpose", "version"], ["purpose.name", "purpose.version"]),
    )


class UnexplainedAct(Base):
    """An act of a log for which no ground was found. Never changed."""

    __tablename__ = "unexplained_act"
    log_id: Mapped[str] = mapped_column(sa.ForeignKey("audit_log.id"), primary_key=True)
    idx: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    subject: Mapped[str]
    found_at: Mapped[datetime]
