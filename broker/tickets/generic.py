"""Any ticket system that speaks this small contract, by itself or through an adapter. The whole of
it is `docs/ticket-system.openapi.json`; `broker tickets conformance` holds a system to it.

    GET  {base}/tickets/{id}            Authorization: Bearer …
         200 {"id", "title", "customer", "closed": true|false,
              "url"?, "severity"?, "category"?, "reopened"?}
         404, 410, 403: none for us
    GET  {base}/tickets?ids=a,b         200 {"tickets": […]}; optional: 404, 405 or 501 without it
    POST {base}/tickets/{id}/comments   {"key", "text"}; optional
    GET  {base}/tickets/{id}/comments   200 {"comments": [{"id", "internal", "author", "text",
                                        "at"}]}, the last ones; optional, for `/access` on tickets

    webhook, signed as Standard Webhooks say (https://www.standardwebhooks.com)
    {"type": "ticket.<what happened>", "data": {"id"}}

What must stay true: only a full and well-formed answer about the very ticket that was asked for
says anything of its state; everything else is TicketSystemUnavailable, so that a broken proxy
neither opens a ticket nor closes one. A webhook is only a hint to fetch, and what it says of the
ticket's state is not even read.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import httpx
import standardwebhooks

from broker.errors import SettingsError
from broker.secret import Secret
from broker.tickets import (
    FetchedTicket,
    Remark,
    TicketSystemUnavailable,
    Webhook,
    WebhookRefused,
)
from broker.tickets.client import (
    ID,
    Client,
    Json,
    as_list,
    as_object,
    bearer,
    check_id,
    link_of,
    mark_of,
    parse,
    read_each,
    read_remarks,
    unavailable,
    word_of,
)

MAX_WEBHOOK_BYTES = 1 << 20
_SECRET_BYTES = 24  # the least that Standard Webhooks allow
_MESSAGE_ID_LENGTH = 256
_EVENT = re.compile(r"ticket\.[a-z_]{1,40}")  # whatever happened, it is only a reason to look
_NO_LIST = frozenset({404, 405, 501})
NO_COMMENTS = _NO_LIST | {403, 410}
_NAMES = {"id": "id", "text": "text", "at": "at"}


class GenericTickets:
    """Implements `broker.tickets.TicketSystem`; see there what each call means.

    Several webhook secrets hold at once while one is replaced by the next; none means that no
    webhook is accepted. `transport` is for tests and for a proxy. Safe among threads.
    """

    name = "generic"
    at_once = 50  # ids of 128 letters fit in an address that servers take

    def __init__(
        self,
        base_url: str,
        token: Secret[str],
        webhook_secrets: Sequence[Secret[str]],
        probe_id: str,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Raises SettingsError for an address without TLS or a secret that is none."""
        if not ID.match(probe_id):
            raise SettingsError(f"the probe ticket {probe_id!r} can't be the id of a ticket")
        self._client = Client(base_url, bearer(token), transport=transport)
        self._probe_id = probe_id
        self._webhooks = [standardwebhooks.Webhook(webhook_key(one)) for one in webhook_secrets]

    def close(self) -> None:
        self._client.close()

    def find(self, external_id: str) -> FetchedTicket | None:
        """Raises Invalid when `external_id` can't be the id of a ticket of this system."""
        found = self._client.get(_path(external_id))
        return None if found is None else _read_ticket(as_object(found), external_id)

    def find_many(self, external_ids: Sequence[str]) -> Mapping[str, FetchedTicket]:
        """None of them where the system has no list."""
        asked = [one for one in external_ids if ID.match(one)]
        if not asked:
            return {}
        query = {"ids": ",".join(asked)}
        answer = as_object(self._client.get("/tickets", query, none_for=_NO_LIST))
        tickets = [as_object(one) for one in as_list(answer.get("tickets"))]
        return read_each(asked, {str(one.get("id")): one for one in tickets}, _read_ticket)

    def comment(self, external_id: str, key: str, text: str) -> None:
        document = {"key": key, "text": text}
        self._client.post(f"{_path(external_id)}/comments", document, {"Idempotency-Key": key})

    def list_commands(self, external_id: str) -> Sequence[Remark]:
        """None of them where the system shows no comments."""
        found = self._client.get(f"{_path(external_id)}/comments", none_for=NO_COMMENTS)
        shown = [as_object(one) for one in as_list(as_object(found).get("comments"))]
        hidden = [one for one in shown if one.get("internal") is True]
        return read_remarks(hidden, _NAMES, lambda one: one.get("author"))

    def probe(self) -> None:
        if self.find(self._probe_id) is None:
            raise TicketSystemUnavailable(
                f"the probe ticket {self._probe_id} can't be read at {self._client.base_url}; "
                "check the address and what the token may see"
            )

    def verify_webhook(self, headers: Mapping[str, str], body: bytes) -> str:
        return self.read_webhook(headers, body).external_id

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Webhook:
        """Check signature and age (5 minutes either way). Raises WebhookRefused.

        A replay within that time passes here: remember `message_id` to refuse it.
        """
        if len(body) > MAX_WEBHOOK_BYTES:
            raise WebhookRefused("the webhook is too large")
        if not any(is_signed(one, headers, body) for one in self._webhooks):
            raise WebhookRefused("the webhook is not signed with a secret of ours, or not of now")
        document = as_object(parse(body))
        external_id = as_object(document.get("data")).get("id")
        if not _EVENT.fullmatch(str(document.get("type"))):
            raise WebhookRefused("the webhook is of a kind that we don't know")
        if not isinstance(external_id, str) or not ID.match(external_id):
            raise WebhookRefused("the webhook names no ticket")
        return Webhook(_message_id(headers), external_id)


def _path(external_id: str) -> str:
    return f"/tickets/{quote(check_id(external_id), safe='')}"


def _read_ticket(document: Json, external_id: str) -> FetchedTicket:
    title, customer, closed = (document.get(key) for key in ("title", "customer", "closed"))
    if document.get("id") != external_id:
        raise unavailable("did not answer with the ticket that was asked for")
    if not (isinstance(title, str) and isinstance(customer, str) and isinstance(closed, bool)):
        raise unavailable("answered with a ticket that is not whole")
    severity, category = (word_of(document.get(key)) for key in ("severity", "category"))
    return FetchedTicket(
        external_id,
        title,
        customer,
        closed,
        link_of(document.get("url")),
        severity,
        category,
        mark_of(document.get("reopened")),
    )


def is_signed(webhook: standardwebhooks.Webhook, headers: Mapping[str, str], body: bytes) -> bool:
    """As Standard Webhooks say; 5 minutes old at most."""
    try:
        webhook.verify(body, dict(headers), json_parse=False)
    except (standardwebhooks.WebhookVerificationError, ValueError):
        return False  # a ValueError comes from a signature or a body that can't be decoded
    return True


def _message_id(headers: Mapping[str, str]) -> str:
    """The signed id; its header is there, or the signature would not have held."""
    message_id = next(value for key, value in headers.items() if key.lower() == "webhook-id")
    if len(message_id) > _MESSAGE_ID_LENGTH:
        raise WebhookRefused("the webhook's id is too long")
    return message_id


def webhook_key(secret: Secret[str]) -> bytes:
    """Raises SettingsError."""
    try:
        key = base64.b64decode(secret.reveal().removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < _SECRET_BYTES:
        raise SettingsError(
            f"a webhook secret is 'whsec_' and the base64 of {_SECRET_BYTES} random bytes or more"
        )
    return key
