"""Tables: webhooks, and each delivery."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker.db import Base

STANDARD, SLACK, TEAMS = "standard", "slack", "teams"
FORMS = (STANDARD, SLACK, TEAMS)


class Webhook(Base):
    """`host` is all that is shown of the address, which is a secret where chats make it. `kinds`
    are kinds or nouns of entries, none: all. `told` is how far in the log deliveries are owed.
    """

    __tablename__ = "webhook"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    name: Mapped[str]
    form: Mapped[str]
    host: Mapped[str]
    kinds: Mapped[list[str]]
    sealed_url: Mapped[bytes]
    sealed_secret: Mapped[bytes | None]
    sealed_former: Mapped[bytes | None]
    former_until: Mapped[datetime | None]
    told: Mapped[int]
    registered_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]


class WebhookDelivery(Base):
    """`answered` is the status that came last; `problem` why it was not taken."""

    __tablename__ = "webhook_delivery"
    id: Mapped[str] = mapped_column(primary_key=True)
    webhook_id: Mapped[str] = mapped_column(sa.ForeignKey("webhook.id"))
    position: Mapped[int]
    kind: Mapped[str]
    created_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime | None]
    tried_at: Mapped[datetime | None]
    taken_at: Mapped[datetime | None]
    given_up_at: Mapped[datetime | None]
    answered: Mapped[int | None]
    problem: Mapped[str | None]

    @property
    def state(self) -> str:
        if self.taken_at is not None:
            return "taken"
        return "given up" if self.given_up_at is not None else "waiting"
