"""Platforms: the SaaS applications, as each tenant sees them, that trust the broker's tokens.

A platform is registered for one tenant under an audience, the name that its tokens carry (RFC 7519,
section 4.1.3) and that no other platform has; so a token for one tenant is none for another. It
asks the broker about tokens (RFC 7662) with a secret of its own, of which a digest is kept.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import people, trail
from broker.accounts import digest
from broker.db import Base
from broker.errors import NOT_THERE, Conflict, Invalid, NotFound
from broker.ids import PlatformId, TenantId, new_id
from broker.secret import Secret
from broker.tenants import check_name, check_not_left
from broker.trail import Personal
from broker.tx import Tx

SECRET_PREFIX = "brp_"  # noqa: S105  # what secret scanners look for, not a secret
_AUDIENCE = re.compile(
    r"\Ahttps://[a-z0-9.-]{1,200}(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]{1,100}){0,8}\Z"
)


class Platform(Base):
    """`audience` never changes: a plan that names it was approved with it."""

    __tablename__ = "platform"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    name: Mapped[str]
    audience: Mapped[str]
    secret_digest: Mapped[bytes]
    registered_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]


def register(
    tx: Tx, tenant_id: TenantId, name: str, audience: str
) -> tuple[PlatformId, Secret[str]]:
    """Store a platform; its secret is shown once. Raises Invalid, Conflict for a taken audience."""
    people.check(tx, "platform:register", tenant_id)
    check_not_left(tx, tenant_id)
    if not _AUDIENCE.match(audience):
        problem = "an https:// address without a query, such as https://crm.example/tenants/acme"
        raise Invalid("this can't be an audience", fields={"audience": problem})
    if _find_by_audience(tx, audience) is not None:
        raise Conflict(f"{audience} is registered already; each tenant's platform has its own")
    secret = _new_secret()
    platform = Platform(
        id=new_id("plt"),
        tenant_id=tenant_id,
        name=check_name(name),
        audience=audience,
        secret_digest=digest(secret),
        registered_at=tx.at,
    )
    tx.session.add(platform)
    tx.session.flush()
    address = [Personal("address", audience)]
    trail.record(tx, tenant_id, "platform.registered", platform.id, {}, address)
    return PlatformId(platform.id), secret


def _new_secret() -> Secret[str]:
    return Secret(SECRET_PREFIX + secrets.token_urlsafe(32))


def replace_secret(tx: Tx, platform_id: str) -> Secret[str]:
    """Another secret in place of the old one, which is void at once."""
    platform = get_platform(tx, platform_id)
    people.check(tx, "platform:register", TenantId(platform.tenant_id))
    secret = _new_secret()
    platform.secret_digest = digest(secret)
    trail.record(tx, TenantId(platform.tenant_id), "platform.secret_replaced", platform.id)
    return secret


def mark_removed(tx: Tx, platform: Platform) -> None:
    """Only `lifecycle` calls this: the tokens for it must end with it."""
    platform.removed_at = tx.at
    trail.record(tx, TenantId(platform.tenant_id), "platform.removed", platform.id)


def find_authenticated(tx: Tx, platform_id: str, secret: Secret[str]) -> Platform | None:
    """The platform whose secret this is; the same None for no such platform."""
    platform = tx.session.get(Platform, platform_id)
    if platform is None or platform.removed_at is not None:
        return None
    return platform if hmac.compare_digest(platform.secret_digest, digest(secret)) else None


def get_platform(tx: Tx, platform_id: str) -> Platform:
    platform = tx.session.get(Platform, platform_id)
    if platform is None or platform.removed_at is not None:
        raise NotFound(NOT_THERE)
    return platform


def list_platforms(tx: Tx, tenant_id: TenantId | None = None) -> Sequence[Platform]:
    """Of one tenant, or of all that the actor may read."""
    readable = people.list_readable(tx, "platform:read", tenant_id)
    query = sa.select(Platform).where(
        Platform.tenant_id.in_(readable), Platform.removed_at.is_(None)
    )
    return tx.session.scalars(query.order_by(Platform.name, Platform.id)).all()


def _find_by_audience(tx: Tx, audience: str) -> Platform | None:
    query = sa.select(Platform).where(Platform.audience == audience, Platform.removed_at.is_(None))
    return tx.session.scalar(query)
