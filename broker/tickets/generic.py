"""Any ticket system that speaks this small contract, by itself or through an adapter.

    GET {base}/tickets/{id}     Authorization: Bearer …
    200 {"id", "title", "customer", "closed": true|false, "url"?, "severity"?, "category"?}
    404, 410, 403: none for us

    webhook, signed as Standard Webhooks say (https://www.standardwebhooks.com)
    {"type": "ticket.<what happened>", "data": {"id"}}

What must stay true: only a full and well-formed answer about the very ticket that was asked for
says anything of its state; everything else is TicketSystemUnavailable, so that a broken proxy
neither opens a ticket nor closes one. A webhook is only a hint to fetch, and what it says of the
ticket's state is not even read. The token goes to the one base address and nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
import time
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import httpx
import standardwebhooks

from broker.errors import Invalid, SettingsError
from broker.secret import Secret
from broker.tickets import (
    FetchedTicket,
    TicketSystemUnavailable,
    Webhook,
    WebhookRefused,
    find_word,
)

MAX_BYTES = 1 << 20  # of an answer or a webhook
_STEP_S = 5.0  # to connect, or for the next bytes
_WHOLE_S = 20.0  # for an answer to end, or bytes that drip would hold a worker for ever
_SECRET_BYTES = 24  # the least that Standard Webhooks allow
_ID = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
_TOKEN = re.compile(r"\A[\x21-\x7e]+\Z")  # any other makes errors that quote it
_MESSAGE_ID_LENGTH = 256
_EVENT = re.compile(r"ticket\.[a-z_]{1,40}")  # whatever happened, it is only a reason to look
_NOT_OURS = frozenset({403, 404, 410})


class GenericTickets:
    """Implements `broker.tickets.TicketSystem`; see there what each call means.

    Several webhook secrets hold at once while one is replaced by the next; none means that no
    webhook is accepted. `transport` is for tests and for a proxy. Safe among threads.
    """

    name = "generic"

    def __init__(
        self,
        base_url: str,
        token: Secret[str],
        webhook_secrets: Sequence[Secret[str]],
        probe_id: str,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Raises SettingsError for an address without TLS or a secret that is none."""
        _check_base_url(base_url)
        if not _TOKEN.match(token.reveal()):
            raise SettingsError("the ticket system's token is empty or no word of ASCII")
        if not _ID.match(probe_id):
            raise SettingsError(f"the probe ticket {probe_id!r} can't be the id of a ticket")
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._probe_id = probe_id
        self._webhooks = [standardwebhooks.Webhook(_webhook_key(one)) for one in webhook_secrets]
        self._client = httpx.Client(
            timeout=_STEP_S,
            follow_redirects=False,  # the token would follow
            trust_env=False,  # a .netrc or proxy variable would replace or receive the token
            transport=transport,
        )

    def close(self) -> None:
        self._client.close()

    def find(self, external_id: str) -> FetchedTicket | None:
        """Raises Invalid when `external_id` can't be the id of a ticket of this system."""
        if not _ID.match(external_id):
            raise Invalid("this can't be the id of a ticket", fields={"ticket": "not an id"})
        content = self._fetch(external_id)
        return None if content is None else _read_ticket(content, external_id)

    def probe(self) -> None:
        if self.find(self._probe_id) is None:
            raise TicketSystemUnavailable(
                f"the probe ticket {self._probe_id} can't be read at {self._base_url}; "
                "check the address and what the token may see"
            )

    def verify_webhook(self, headers: Mapping[str, str], body: bytes) -> str:
        return self.read_webhook(headers, body).external_id

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Webhook:
        """Check signature and age (5 minutes either way). Raises WebhookRefused.

        A replay within that time passes here: remember `message_id` to refuse it.
        """
        if len(body) > MAX_BYTES:
            raise WebhookRefused("the webhook is too large")
        if not any(_is_signed(one, headers, body) for one in self._webhooks):
            raise WebhookRefused("the webhook is not signed with a secret of ours, or not of now")
        document = _parse(body)
        event = document.get("data")
        external_id = event.get("id") if isinstance(event, dict) else None
        if not _EVENT.fullmatch(str(document.get("type"))):
            raise WebhookRefused("the webhook is of a kind that we don't know")
        if not isinstance(external_id, str) or not _ID.match(external_id):
            raise WebhookRefused("the webhook names no ticket")
        return Webhook(_message_id(headers), external_id)

    def _fetch(self, external_id: str) -> bytes | None:
        """The body of a 200, or None for an answer that says "not for you"."""
        end = time.monotonic() + _WHOLE_S
        url = f"{self._base_url}/tickets/{quote(external_id, safe='')}"
        headers = {
            "Authorization": f"Bearer {self._token.reveal()}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # a packed megabyte could be a gigabyte
        }
        try:
            with self._client.stream("GET", url, headers=headers) as answer:
                if answer.status_code in _NOT_OURS:
                    return None
                if answer.status_code != httpx.codes.OK:
                    raise _unavailable(f"answered {answer.status_code}")
                return _read_bounded(answer, end)
        except httpx.HTTPError as error:
            # Only the kind: the text of some of these errors quotes what was sent.
            raise _unavailable(f"did not answer well ({type(error).__name__})") from None


def _unavailable(what: str) -> TicketSystemUnavailable:
    return TicketSystemUnavailable(f"the ticket system {what}; no ticket's state is known from it")


def _read_bounded(answer: httpx.Response, end: float) -> bytes:
    content = bytearray()
    for block in answer.iter_raw():
        content += block
        if len(content) > MAX_BYTES:
            raise _unavailable("sent too much")
        if time.monotonic() > end:
            raise _unavailable("answered too slowly")
    return bytes(content)


def _read_ticket(content: bytes, external_id: str) -> FetchedTicket:
    document = _parse(content)
    title, customer, closed = (document.get(key) for key in ("title", "customer", "closed"))
    if document.get("id") != external_id:
        raise _unavailable("did not answer with the ticket that was asked for")
    if not (isinstance(title, str) and isinstance(customer, str) and isinstance(closed, bool)):
        raise _unavailable("answered with a ticket that is not whole")
    severity, category = (_word(document.get(key)) for key in ("severity", "category"))
    link = _link(document.get("url"))
    return FetchedTicket(external_id, title, customer, closed, link, severity, category)


def _parse(content: bytes) -> Mapping[str, object]:
    """The JSON object; an empty one, which is never enough, for anything else."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):  # also text that is no UTF-8
        return {}
    return document if isinstance(document, dict) else {}


def _link(url: object) -> str | None:
    """Only what is safe to click; a ticket without its link is still that ticket."""
    if isinstance(url, str) and url.startswith(("https://", "http://")):
        return url
    return None


def _word(value: object) -> str | None:
    """Of a text or a whole number; a ticket without it is that ticket, and meets no condition."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return find_word(str(value)) if is_number or isinstance(value, str) else None


def _is_signed(webhook: standardwebhooks.Webhook, headers: Mapping[str, str], body: bytes) -> bool:
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


def _webhook_key(secret: Secret[str]) -> bytes:
    try:
        key = base64.b64decode(secret.reveal().removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < _SECRET_BYTES:
        raise SettingsError(
            f"a webhook secret is 'whsec_' and the base64 of {_SECRET_BYTES} random bytes or more"
        )
    return key


def _check_base_url(base_url: str) -> None:
    """With the parser of the client itself: two parsers may see two hosts in one address."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        raise SettingsError("the ticket system's address is malformed") from None
    if url.userinfo or url.query or url.fragment:
        raise SettingsError("the ticket system's address holds more than host and path")
    local = url.scheme == "http" and _is_loopback(url.host)
    if not url.host or (url.scheme != "https" and not local):
        raise SettingsError(
            f"the ticket system's address {base_url!r} must begin with https://, "
            "or with http:// for a system on this machine"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
