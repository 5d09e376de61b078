"""Registering a directory, by a tenant's own admins; its token is shown once."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa

from broker import people, trail
from broker.accounts import digest
from broker.directories.model import Directory
from broker.errors import NOT_THERE, Denied, Invalid, NotFound
from broker.ids import TenantId, new_id
from broker.people import TENANT_ROLES
from broker.secret import Secret
from broker.tenants import check_name
from broker.tx import Tx

TOKEN_PREFIX = "brd_"  # noqa: S105  # what secret scanners look for, not a secret
_USE_NOTED = timedelta(minutes=1)


def register(tx: Tx, tenant_id: TenantId, name: str, role: str) -> tuple[Directory, Secret[str]]:
    """Raises Invalid, Denied, NotFound."""
    _check_may_change(tx, tenant_id)
    if role not in TENANT_ROLES:
        raise Invalid("there is no such role", fields={"role": ", ".join(TENANT_ROLES)})
    token = _new_token()
    row = Directory(
        id=new_id("dir"),
        tenant_id=tenant_id,
        name=check_name(name),
        role=role,
        token_digest=digest(token),
        registered_at=tx.at,
    )
    tx.session.add(row)
    tx.session.flush()
    trail.record(tx, tenant_id, "directory.registered", row.id, {"role": role})
    return row, token


def replace_token(tx: Tx, directory_id: str) -> Secret[str]:
    """Another token in place of the old one, which is void at once."""
    row = get(tx, directory_id)
    _check_may_change(tx, TenantId(row.tenant_id))
    token = _new_token()
    row.token_digest = digest(token)
    trail.record(tx, TenantId(row.tenant_id), "directory.token_replaced", row.id)
    return token


def remove(tx: Tx, directory_id: str) -> None:
    """Its token opens nothing any more; the people stay as they are."""
    row = get(tx, directory_id)
    _check_may_change(tx, TenantId(row.tenant_id))
    row.removed_at = tx.at
    trail.record(tx, TenantId(row.tenant_id), "directory.removed", row.id)


def get(tx: Tx, directory_id: str) -> Directory:
    """Raises NotFound, for another organisation's as for none (G12)."""
    row = tx.session.get(Directory, directory_id)
    if row is None or row.removed_at is not None:
        raise NotFound(NOT_THERE)
    people.check(tx, "identity:read", TenantId(row.tenant_id))
    return row


def list_directories(tx: Tx, tenant_id: TenantId) -> Sequence[Directory]:
    people.check(tx, "identity:read", tenant_id)
    query = sa.select(Directory).where(
        Directory.tenant_id == tenant_id, Directory.removed_at.is_(None)
    )
    return tx.session.scalars(query.order_by(Directory.name, Directory.id)).all()


def find_authenticated(tx: Tx, token: Secret[str]) -> Directory | None:
    """Whose token this is; its use is noted, once a minute."""
    row = tx.session.scalar(
        sa.select(Directory).where(
            Directory.token_digest == digest(token), Directory.removed_at.is_(None)
        )
    )
    if row is not None and (row.used_at is None or row.used_at <= tx.at - _USE_NOTED):
        row.used_at = tx.at
    return row


def _new_token() -> Secret[str]:
    return Secret(TOKEN_PREFIX + secrets.token_urlsafe(32))


def _check_may_change(tx: Tx, tenant_id: TenantId) -> None:
    people.check(tx, "identity:configure", tenant_id)
    if tx.actor.side != "tenant":
        raise Denied("only a tenant's own admins say where its people come from")
