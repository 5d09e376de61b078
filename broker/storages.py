"""Storages: objects of a tenant in a bucket, all under one prefix, as the operator registered them.

What must stay true: two tenants never have the same objects, so no prefix of one lies in another's;
a prefix means itself and nothing else in a policy, so it holds none of `*`, `?` and `$`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import people, trail
from broker.db import Base
from broker.errors import NOT_THERE, Conflict, Invalid, NotFound
from broker.ids import StorageId, TenantId, new_id
from broker.tenants import check_name, check_not_left
from broker.trail import Personal
from broker.tx import Tx

SHORTEST_S = (
    900  # of a session: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
)
_BUCKET = re.compile(r"\A[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_PREFIX = re.compile(r"\A(?:[A-Za-z0-9!_.'()=-]{1,100}/){1,10}\Z")
_LOCK = "storages"


class Storage(Base):
    """`bucket` and `prefix` never change: a plan that names them was approved with them."""

    __tablename__ = "storage"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    name: Mapped[str]
    bucket: Mapped[str]
    prefix: Mapped[str]
    registered_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]


def register(tx: Tx, tenant_id: TenantId, name: str, bucket: str, prefix: str) -> StorageId:
    """Store where a tenant's objects are. Raises Invalid, Conflict for another tenant's objects."""
    people.check(tx, "storage:register", tenant_id)
    check_not_left(tx, tenant_id)
    check_place(bucket, prefix)
    # One registration at a time: two overlapping ones would not see each other.
    tx.session.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(_LOCK))))
    if _find_overlapping(tx, bucket, prefix) is not None:
        raise Conflict(f"{bucket}/{prefix} lies in a storage that is registered, or holds one")
    storage = Storage(
        id=new_id("sto"),
        tenant_id=tenant_id,
        name=check_name(name),
        bucket=bucket,
        prefix=prefix,
        registered_at=tx.at,
    )
    tx.session.add(storage)
    tx.session.flush()
    address = [Personal("address", f"{bucket}/{prefix}")]
    trail.record(tx, tenant_id, "storage.registered", storage.id, {}, address)
    return StorageId(storage.id)


def check_place(bucket: str, prefix: str) -> None:
    """Raises Invalid, naming the field."""
    fields = {}
    if not _BUCKET.match(bucket):
        fields["bucket"] = "3 to 63 of a-z, 0-9, '.', '-'"
    if not _PREFIX.match(prefix) or {".", ".."} & set(prefix.split("/")):
        fields["prefix"] = "folders of letters, digits and !_.'()=-, each ending in '/'"
    if fields:
        raise Invalid("this can't be a storage", fields=fields)


def overlap(one: str, other: str) -> bool:
    """Whether two prefixes, each ending in `/`, have an object in common."""
    return one.startswith(other) or other.startswith(one)


def _find_overlapping(tx: Tx, bucket: str, prefix: str) -> Storage | None:
    query = sa.select(Storage).where(Storage.bucket == bucket, Storage.removed_at.is_(None))
    return next((one for one in tx.session.scalars(query) if overlap(one.prefix, prefix)), None)


def mark_removed(tx: Tx, storage: Storage) -> None:
    """Only `lifecycle` calls this: what was given on it must end with it."""
    storage.removed_at = tx.at
    trail.record(tx, TenantId(storage.tenant_id), "storage.removed", storage.id)


def get_storage(tx: Tx, storage_id: str) -> Storage:
    storage = tx.session.get(Storage, storage_id)
    if storage is None or storage.removed_at is not None:
        raise NotFound(NOT_THERE)
    return storage


def list_storages(tx: Tx, tenant_id: TenantId | None = None) -> Sequence[Storage]:
    """Of one tenant, or of all that the actor may read."""
    readable = people.list_readable(tx, "storage:read", tenant_id)
    query = sa.select(Storage).where(Storage.tenant_id.in_(readable), Storage.removed_at.is_(None))
    return tx.session.scalars(query.order_by(Storage.name, Storage.id)).all()
