"""Tables: sign-in services, who is linked with them, and answers on their way to a worker."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from broker.db import Base


class IdentityProvider(Base):
    """`tenant_id` None: the vendor's own. `issuer` and `client_id` never change: links and the
    sealed secret rest on them. `roles` is from a group's name to a role; `metadata` and `keys` are
    what a worker read there last.
    """

    __tablename__ = "identity_provider"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str | None] = mapped_column(sa.ForeignKey("tenant.id"))
    name: Mapped[str]
    issuer: Mapped[str]
    client_id: Mapped[str]
    sealed_secret: Mapped[bytes | None]
    groups_claim: Mapped[str] = mapped_column(default="groups")
    roles: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict)
    step_up_acr: Mapped[list[str]] = mapped_column(default=list)
    step_up_amr: Mapped[list[str]] = mapped_column(default=list)
    read: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSONB(none_as_null=True))
    keys: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    read_at: Mapped[datetime | None]
    asked_at: Mapped[datetime | None]
    problem: Mapped[str | None]
    registered_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]

    @property
    def is_ready(self) -> bool:
        return self.read is not None and self.keys is not None


class LinkedIdentity(Base):
    """`subject` is the token's `sub`: the only name by which a service's people are known here."""

    __tablename__ = "linked_identity"
    provider_id: Mapped[str] = mapped_column(
        sa.ForeignKey("identity_provider.id"), primary_key=True
    )
    subject: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    linked_at: Mapped[datetime]


class OidcAnswer(Base):
    """`sealed` is code and PKCE verifier, for the key port; gone once redeemed. `claims` is what a
    checked token says (`tokens.Proven`), without name or address.
    """

    __tablename__ = "oidc_answer"
    id: Mapped[str] = mapped_column(primary_key=True)
    provider_id: Mapped[str] = mapped_column(sa.ForeignKey("identity_provider.id"))
    state_digest: Mapped[bytes] = mapped_column(unique=True)
    nonce: Mapped[str]
    sealed: Mapped[bytes | None]
    asked_at: Mapped[datetime]
    claims: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    problem: Mapped[str | None]
    taken_at: Mapped[datetime | None]
