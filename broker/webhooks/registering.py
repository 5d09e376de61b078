"""Registering webhooks, by a tenant's own admins; a signing secret is shown once."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import sqlalchemy as sa

from broker import kinds, people, tenants, trail
from broker.errors import NOT_THERE, Conflict, Denied, Invalid, NotFound, Unavailable
from broker.ids import TenantId, new_id
from broker.keys.intake import INTAKE_KEY, seal_login, webhook_context
from broker.outgoing import check_url
from broker.secret import Secret
from broker.tenants import check_name
from broker.trail import AuditCheckpoint, AuditLog
from broker.tx import Tx
from broker.webhooks.model import FORMS, STANDARD, Webhook, WebhookDelivery

OVERLAP = timedelta(hours=24)  # both secrets sign meanwhile
_MOST, _MOST_SHOWN = 20, 200
_NOUNS = frozenset(kind.partition(".")[0] for kind in kinds.KINDS)


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """`kinds` are kinds or nouns of entries (`grant.approved`, `grant`); none: all."""

    name: str
    url: Secret[str]
    form: str = STANDARD
    kinds: Sequence[str] = ()


def register(
    tx: Tx, tenant_id: TenantId, new: NewWebhook, *, local: bool
) -> tuple[Webhook, Secret[str] | None]:
    """The secret signs what is sent; chats have none. Raises Invalid, Denied, Conflict."""
    _check_may_change(tx, tenant_id)
    _check(new)
    url = check_url(new.url.reveal().strip(), local=local)
    if len(list_webhooks(tx, tenant_id)) >= _MOST:
        raise Conflict(f"an organisation has {_MOST} webhooks at most; remove one first")
    secret = _new_secret() if new.form == STANDARD else None
    identity = new_id("whk")
    row = Webhook(
        id=identity,
        tenant_id=tenant_id,
        name=check_name(new.name),
        form=new.form,
        host=urlsplit(url).hostname or "",
        kinds=sorted(set(new.kinds)),
        sealed_url=_seal(tx, identity, Secret(url)),
        sealed_secret=_seal(tx, identity, secret) if secret is not None else None,
        told=_signed_size(tx, tenant_id),
        registered_at=tx.at,
    )
    tx.session.add(row)
    tx.session.flush()
    told = [trail.Personal("address", row.host)]
    trail.record(tx, tenant_id, "webhook.registered", row.id, {"form": row.form}, told)
    return row, secret


def replace_secret(tx: Tx, webhook_id: str) -> Secret[str]:
    """Another secret; the one before signs beside it for a day, so that none is refused."""
    row = get(tx, webhook_id)
    _check_may_change(tx, TenantId(row.tenant_id))
    if row.form != STANDARD:
        raise Conflict("a chat's webhook has no secret but its address; register another one")
    secret = _new_secret()
    row.sealed_former, row.former_until = row.sealed_secret, tx.at + OVERLAP
    row.sealed_secret = _seal(tx, row.id, secret)
    trail.record(tx, TenantId(row.tenant_id), "webhook.secret_replaced", row.id)
    return secret


def remove(tx: Tx, webhook_id: str) -> None:
    row = get(tx, webhook_id)
    _check_may_change(tx, TenantId(row.tenant_id))
    row.removed_at = tx.at
    row.sealed_url, row.sealed_secret, row.sealed_former = b"", None, None
    tx.session.execute(sa.delete(WebhookDelivery).where(WebhookDelivery.webhook_id == row.id))
    trail.record(tx, TenantId(row.tenant_id), "webhook.removed", row.id)


def get(tx: Tx, webhook_id: str) -> Webhook:
    """Raises NotFound, for another organisation's as for none (G12)."""
    row = tx.session.get(Webhook, webhook_id)
    if row is None or row.removed_at is not None:
        raise NotFound(NOT_THERE)
    people.check(tx, "webhook:read", TenantId(row.tenant_id))
    return row


def list_webhooks(tx: Tx, tenant_id: TenantId) -> Sequence[Webhook]:
    people.check(tx, "webhook:read", tenant_id)
    query = sa.select(Webhook).where(Webhook.tenant_id == tenant_id, Webhook.removed_at.is_(None))
    return tx.session.scalars(query.order_by(Webhook.name, Webhook.id)).all()


def list_deliveries(tx: Tx, webhook_id: str) -> Sequence[WebhookDelivery]:
    """The last 200, newest first."""
    row = get(tx, webhook_id)
    query = sa.select(WebhookDelivery).where(WebhookDelivery.webhook_id == row.id)
    newest = query.order_by(WebhookDelivery.position.desc()).limit(_MOST_SHOWN)
    return tx.session.scalars(newest).all()


def replay(tx: Tx, webhook_id: str, delivery_id: str) -> None:
    """Send it again, with the id that it had. Raises NotFound."""
    row = get(tx, webhook_id)
    _check_may_change(tx, TenantId(row.tenant_id))
    delivery = tx.session.get(WebhookDelivery, delivery_id, with_for_update=True)
    if delivery is None or delivery.webhook_id != row.id:
        raise NotFound(NOT_THERE)
    delivery.next_try_at, delivery.attempts = tx.at, 0
    delivery.taken_at = delivery.given_up_at = delivery.problem = None


def _check(new: NewWebhook) -> None:
    if new.form not in FORMS:
        raise Invalid("there is no such form", fields={"form": ", ".join(FORMS)})
    unknown = sorted(set(new.kinds) - set(kinds.KINDS) - _NOUNS)
    if unknown:
        problem = f"no such kind of entry: {', '.join(unknown)[:200]}"
        raise Invalid("these are no kinds of entries", fields={"kinds": problem})


def _new_secret() -> Secret[str]:
    """As Standard Webhooks writes them: 256 bits."""
    return Secret("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())


def _seal(tx: Tx, webhook_id: str, secret: Secret[str]) -> bytes:
    public = tenants.find_published_key(tx, INTAKE_KEY)
    if public is None:
        raise Unavailable("no worker has published the public keys yet; start one, then try again")
    return seal_login(public, secret, webhook_context(webhook_id))


def _signed_size(tx: Tx, tenant_id: TenantId) -> int:
    size = (
        sa.select(sa.func.max(AuditCheckpoint.size))
        .join(AuditLog, AuditLog.id == AuditCheckpoint.log_id)
        .where(AuditLog.tenant_id == tenant_id)
    )
    return tx.session.scalar(size) or 0


def _check_may_change(tx: Tx, tenant_id: TenantId) -> None:
    people.check(tx, "webhook:configure", tenant_id)
    if tx.actor.side != "tenant":
        raise Denied("only a tenant's own admins say what is told to its systems")
