"""Tables: directories, and what each says of people."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker.db import Base


class Directory(Base):
    """`role` is what a person gets of whom it names no role. Of its token a digest is kept."""

    __tablename__ = "directory"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    name: Mapped[str]
    role: Mapped[str]
    token_digest: Mapped[bytes] = mapped_column(unique=True)
    registered_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]


class DirectoryPerson(Base):
    """What a tenant's directories say of a person. `roles` are those it had when it was taken out,
    to be given again; `shown_name` and `shown_email` are how it was called here then.
    """

    __tablename__ = "directory_person"
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"), primary_key=True)
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"), primary_key=True)
    external_id: Mapped[str | None]
    roles: Mapped[list[str]] = mapped_column(default=list)
    shown_name: Mapped[str]
    shown_email: Mapped[str]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
