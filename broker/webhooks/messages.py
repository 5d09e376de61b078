"""What is sent: Standard Webhooks, or a line for a chat. Pure.

https://www.standardwebhooks.com: `webhook-id`, `webhook-timestamp`, and `webhook-signature`, which
holds one signature for each secret that counts, so that rotating refuses none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from standardwebhooks.webhooks import Webhook as Signer

from broker import kinds
from broker.secret import Secret
from broker.webhooks.model import SLACK, STANDARD

_CARD = "application/vnd.microsoft.card.adaptive"


def write(form: str, event: Mapping[str, Any], page: str) -> bytes:
    """`event` is an entry as `audit.formats.plain` gives it, `page` where a person reads more."""
    if form == STANDARD:
        body: dict[str, Any] = {"type": event["kind"], "timestamp": event["at"], "data": event}
    elif form == SLACK:
        body = {"text": f"{_say(event)} <{page}|{event['subject']}>"}
    else:
        text = f"{_say(event)} [{event['subject']}]({page})"
        card = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": [{"type": "TextBlock", "text": text, "wrap": True}],
        }
        body = {"type": "message", "attachments": [{"contentType": _CARD, "content": card}]}
    return json.dumps(body, ensure_ascii=False).encode()


def headers(
    delivery_id: str, at: datetime, content: bytes, secrets: Sequence[Secret[str]]
) -> dict[str, str]:
    """Signed with each secret; none for a chat."""
    sent = {"Content-Type": "application/json", "User-Agent": "support-access-broker"}
    if not secrets:
        return sent
    whole = at.astimezone(UTC).replace(microsecond=0)
    signed = [Signer(one.reveal()).sign(delivery_id, whole, content.decode()) for one in secrets]
    return {
        **sent,
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(whole.timestamp())),
        "webhook-signature": " ".join(signed),
    }


def _say(event: Mapping[str, Any]) -> str:
    """Our own words alone: nothing that a person wrote reaches a chat's markup."""
    kind = kinds.KINDS.get(event["kind"])
    return f"{event['kind']}: {kind.says if kind else ''}"
