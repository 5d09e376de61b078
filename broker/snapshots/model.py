"""Tables of snapshots, their inventories, looks, remnants and certificates."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker.db import Base, Json, Retried
from broker.engines.postgres.sandbox_roles import owner_role_of, use_role_of
from broker.states import StatefulRow


class Snapshot(StatefulRow, Retried):
    """`wrapped_key` is the data key under the snapshot's own wrapping key, which never lies here:
    an old backup of this table opens nothing once that key is erased (G6).
    """

    __tablename__ = "snapshot"
    grant_id: Mapped[str] = mapped_column(sa.ForeignKey("access_grant.id"))
    database_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant_database.id"))
    server_id: Mapped[str] = mapped_column(sa.ForeignKey("test_server.id"))
    requester_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    plan_digest: Mapped[str]
    ordered_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
    ends_at: Mapped[datetime]
    condemned_at: Mapped[datetime | None]
    condemned_why: Mapped[str | None]
    erasing_at: Mapped[datetime | None]  # the intent to erase its key
    destroyed_at: Mapped[datetime | None]
    wrapped_key: Mapped[bytes | None]
    needed_bytes: Mapped[int] = mapped_column(default=0)  # on its test server, at most
    port: Mapped[int | None]  # of its own server, on a host of dedicated ones
    wrapped_volume_key: Mapped[bytes | None]
    manifest_size: Mapped[int | None]
    manifest_sha256: Mapped[str | None]
    progress: Mapped[Json]
    report: Mapped[Json | None]

    @property
    def being_reset(self) -> bool:
        """A reset is no state: a ready copy with work that is due is being reset."""
        return self.state == "ready" and self.next_try_at is not None

    @property
    def sandbox(self) -> str:
        """Name of the sandbox database; its roles carry the same letters."""
        return f"sab_{self.id[4:]}"

    @property
    def owner_role(self) -> str:
        return owner_role_of(self.id)

    @property
    def use_role(self) -> str:
        return use_role_of(self.id)

    @property
    def wrapping_key(self) -> str:
        return f"snapshot/{self.id}"

    @property
    def volume_key(self) -> str:
        return f"volume/{self.id}"

    @property
    def prefix(self) -> str:
        return f"snapshots/{self.id}/"


class InventoryItem(Base):
    """A place that holds, or is about to hold, a part of a snapshot: written before the part."""

    __tablename__ = "inventory_item"
    id: Mapped[int] = mapped_column(sa.Identity(always=True), primary_key=True)
    snapshot_id: Mapped[str] = mapped_column(sa.ForeignKey("snapshot.id"))
    kind: Mapped[str]
    place: Mapped[str]
    written_at: Mapped[datetime]


class Remnant(StatefulRow, Retried):
    """What was found of a snapshot after it was destroyed: condemned anew, under an id of its own.

    `kinds` are those of the looks or of the janitor; `certificate_id` is what it proves wrong.
    """

    __tablename__ = "remnant"
    snapshot_id: Mapped[str] = mapped_column(sa.ForeignKey("snapshot.id"))
    certificate_id: Mapped[str | None] = mapped_column(sa.ForeignKey("certificate.id"))
    kinds: Mapped[list[str]]
    found_at: Mapped[datetime]
    destroyed_at: Mapped[datetime | None]


class Look(Base):
    """A fresh look at one place, made after the end: what it found, and how it was made."""

    __tablename__ = "look"
    id: Mapped[int] = mapped_column(sa.Identity(always=True), primary_key=True)
    snapshot_id: Mapped[str] = mapped_column(sa.ForeignKey("snapshot.id"))
    remnant_id: Mapped[str | None] = mapped_column(sa.ForeignKey("remnant.id"))
    kind: Mapped[str]
    place: Mapped[str]
    method: Mapped[str]
    found: Mapped[bool]
    at: Mapped[datetime]


class LaterLook(Base, Retried):
    """A look that is due some time after a destruction: of a snapshot, or of a remnant of it.

    `of_id` is whose destruction it follows, by `after_s` seconds. It is due until it has passed.
    """

    __tablename__ = "later_look"
    of_id: Mapped[str] = mapped_column(primary_key=True)
    after_s: Mapped[int] = mapped_column(primary_key=True)
    snapshot_id: Mapped[str] = mapped_column(sa.ForeignKey("snapshot.id"))
    due_at: Mapped[datetime]
    passed_at: Mapped[datetime | None]


class Certificate(Base):
    """The signed statement of a destruction: a DSSE envelope, kept as it was signed.

    `remnant_id` names the remnant whose destruction it follows, when it replaces an earlier one.
    """

    __tablename__ = "certificate"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    snapshot_id: Mapped[str] = mapped_column(sa.ForeignKey("snapshot.id"))
    remnant_id: Mapped[str | None] = mapped_column(sa.ForeignKey("remnant.id", use_alter=True))
    envelope: Mapped[bytes]
    issued_at: Mapped[datetime]


class Revocation(Base):
    """The signed statement that a certificate was proved wrong, by what, and when."""

    __tablename__ = "revocation"
    certificate_id: Mapped[str] = mapped_column(sa.ForeignKey("certificate.id"), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    remnant_id: Mapped[str] = mapped_column(sa.ForeignKey("remnant.id"))
    envelope: Mapped[bytes]
    revoked_at: Mapped[datetime]
