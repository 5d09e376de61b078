"""A worker's sweep: owes deliveries for what was signed since, and sends those that are due.

Level-triggered: how far a webhook is told stands in its row. A try is written down before it is
made; a crash between sends again, with the same id, which the receiver knows it by.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from broker.audit.formats import plain
from broker.audit.selecting import Chosen, signed_entries
from broker.db import Database
from broker.entries import parse_entry
from broker.errors import BrokerError
from broker.ids import new_id
from broker.keys import Sealer
from broker.keys.intake import webhook_context
from broker.outgoing import Outgoing, Sending
from broker.secret import Secret
from broker.trail import AuditEntry, AuditLog
from broker.tx import Tx, system
from broker.webhooks import messages
from broker.webhooks.model import Webhook, WebhookDelivery

_WAITS_S = (5, 30, 120, 600, 1800, 3600)  # the last for each that follows
_GIVEN_UP = timedelta(days=3)
_KEPT = timedelta(days=30)
_MOST_OWED, _MOST_SENT = 500, 50  # in one run
_ACTOR = system("webhooks")


@dataclass(frozen=True, slots=True)
class _Work:
    """One try: what to send where, still sealed."""

    delivery_id: str
    webhook: Webhook
    content: bytes
    at: datetime


def deliver_due(database: Database, keys: Sealer, outgoing: Outgoing, public_url: str) -> int:
    """How many were taken. One that fails holds up the others of its webhook alone."""
    with database.begin(_ACTOR) as tx:
        _owe(tx)
        _forget_old(tx)
    failed: set[str] = set()
    taken = 0
    for _ in range(_MOST_SENT):
        work = _take(database, failed, f"{public_url.rstrip('/')}/log")
        if work is None:
            break
        if _send(database, keys, outgoing, work):
            taken += 1
        else:
            failed.add(work.webhook.id)
    return taken


def _owe(tx: Tx) -> None:
    query = sa.select(Webhook, AuditLog.id).join(AuditLog, AuditLog.tenant_id == Webhook.tenant_id)
    live = query.where(Webhook.removed_at.is_(None)).order_by(Webhook.id)
    for row, log_id in tx.session.execute(live.with_for_update(of=Webhook, skip_locked=True)):
        for count, found in enumerate(signed_entries(tx, log_id, row.told)):
            if count == _MOST_OWED:
                break
            kind = parse_entry(found.entry).kind
            if not row.kinds or kind in row.kinds or kind.partition(".")[0] in row.kinds:
                tx.session.add(_delivery(row, found.idx, kind, tx.at))
            row.told = found.idx + 1


def _delivery(row: Webhook, position: int, kind: str, at: datetime) -> WebhookDelivery:
    return WebhookDelivery(
        id=new_id("whd"),
        webhook_id=row.id,
        position=position,
        kind=kind,
        created_at=at,
        next_try_at=at,
    )


def _take(database: Database, failed: set[str], page: str) -> _Work | None:
    """The delivery that is due longest, its try written down. What was pruned is never due."""
    due = (
        sa.select(WebhookDelivery, Webhook, AuditEntry, AuditLog.origin)
        .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
        .join(AuditLog, AuditLog.tenant_id == Webhook.tenant_id)
        .join(
            AuditEntry,
            sa.and_(AuditEntry.log_id == AuditLog.id, AuditEntry.idx == WebhookDelivery.position),
        )
        .where(Webhook.removed_at.is_(None), WebhookDelivery.webhook_id.not_in(failed))
        .order_by(WebhookDelivery.next_try_at, WebhookDelivery.position)
        .limit(1)
        .with_for_update(of=WebhookDelivery, skip_locked=True)
    )
    with database.begin(_ACTOR) as tx:
        found = tx.session.execute(due.where(WebhookDelivery.next_try_at <= tx.at)).first()
        if found is None:
            return None
        delivery, webhook, row, origin = found
        delivery.attempts += 1
        delivery.tried_at = tx.at
        wait_s = _WAITS_S[min(delivery.attempts, len(_WAITS_S)) - 1]
        delivery.next_try_at = tx.at + timedelta(seconds=wait_s)
        chosen = Chosen(delivery.position, row.id, row.leaf_hash or b"", parse_entry(row.entry))
        content = messages.write(webhook.form, plain(origin, chosen), page)
        tx.session.flush()
        tx.session.expunge(webhook)
        return _Work(delivery.id, webhook, content, tx.at)


def _send(database: Database, keys: Sealer, outgoing: Outgoing, work: _Work) -> bool:
    answered, problem = None, None
    try:
        url = _open(keys, work.webhook.id, work.webhook.sealed_url)
        secrets = [_open(keys, work.webhook.id, one) for one in _secrets(work)]
        told = messages.headers(work.delivery_id, work.at, work.content, secrets)
        sending = Sending("POST", url.reveal(), told, content=work.content)
        answered = outgoing.send(sending).status
        if not 200 <= answered < 300:
            problem = f"it answered {answered}"
    except BrokerError as error:
        problem = error.message
    _note(database, work.delivery_id, answered, problem)
    return problem is None


def _open(keys: Sealer, webhook_id: str, sealed: bytes) -> Secret[str]:
    return keys.open_intake(sealed, webhook_context(webhook_id))


def _secrets(work: _Work) -> list[bytes]:
    """The one that counts, and the one before while both do."""
    row = work.webhook
    found = [row.sealed_secret] if row.sealed_secret is not None else []
    if row.sealed_former is not None and row.former_until and row.former_until > work.at:
        found.append(row.sealed_former)
    return found


def _note(database: Database, delivery_id: str, answered: int | None, problem: str | None) -> None:
    with database.begin(_ACTOR) as tx:
        row = tx.session.get(WebhookDelivery, delivery_id, with_for_update=True)
        if row is None:  # its webhook was removed meanwhile
            return
        row.answered, row.problem = answered, problem
        if problem is None:
            row.taken_at, row.next_try_at = tx.at, None
        elif tx.at - row.created_at > _GIVEN_UP:
            row.given_up_at, row.next_try_at = tx.at, None


def _forget_old(tx: Tx) -> None:
    old = WebhookDelivery.created_at < tx.at - _KEPT
    tx.session.execute(sa.delete(WebhookDelivery).where(old))
