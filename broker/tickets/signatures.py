"""Checks of vendors' webhooks: over the exact bytes, in constant time, with several secrets while
one is replaced by the next, and within a window of time where the vendor signs an instant.

A replay within the window passes here and is known by its id. Where nothing in it tells one webhook
from the next there is no id, and a replay costs one look.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from broker.errors import SettingsError
from broker.secret import Secret
from broker.tickets import WebhookRefused
from broker.tickets.client import Json, as_object, parse

MAX_BYTES = 4 << 20  # some send the whole ticket with its fields
_LEAST = 16  # characters of a secret
Encoding = Callable[[bytes], str]


def as_hex(digest: bytes) -> str:
    return digest.hex()


def as_base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


@dataclass(frozen=True, slots=True)
class Hooks:
    """The secrets of one system's webhooks; none means that none is accepted. `clock` is of now."""

    secrets: Sequence[Secret[str]]
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if any(len(one.reveal()) < _LEAST for one in self.secrets):
            raise SettingsError(f"a webhook secret has {_LEAST} characters or more")

    def check_hmac(self, signed: bytes, given: str, encoding: Encoding = as_hex) -> None:
        """HMAC-SHA-256 of `signed`. Raises WebhookRefused."""
        made = [
            encoding(hmac.digest(one.reveal().encode(), signed, hashlib.sha256))
            for one in self.secrets
        ]
        _check_any(made, given, "signed with a secret of ours")

    def check_token(self, given: str) -> None:
        """The secret itself, for vendors that sign nothing. Raises WebhookRefused."""
        _check_any([one.reveal() for one in self.secrets], given, "sent with a secret of ours")

    def check_age(self, at_s: float, window_s: int) -> None:
        """Raises WebhookRefused for what is not of now, either way."""
        if not abs(self.clock() - at_s) <= window_s:  # so written that a NaN is refused
            raise WebhookRefused("the webhook is not of now")


def _check_any(made: Sequence[str], given: str, what: str) -> None:
    """All are compared, so that the time tells nothing of which secret it was."""
    met = [hmac.compare_digest(one.encode(), given.encode()) for one in made]
    if not any(met):
        raise WebhookRefused(f"the webhook is not {what}")


def read_document(body: bytes) -> Json:
    """Raises WebhookRefused for what is too large or no JSON object."""
    if len(body) > MAX_BYTES:
        raise WebhookRefused("the webhook is too large")
    document = as_object(parse(body))
    if not document:
        raise WebhookRefused("the webhook is no JSON object")
    return document


def header_of(headers: Mapping[str, str], name: str) -> str:
    """Empty when there is none; names are compared in any capitals."""
    return next((value for key, value in headers.items() if key.lower() == name.lower()), "")


def instant_of(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 instant. Raises WebhookRefused."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise WebhookRefused("the webhook says no instant") from None
    if at.tzinfo is None:
        raise WebhookRefused("the webhook says no instant")
    return at.timestamp()


def seconds_of(value: object, *, per_second: int = 1) -> float:
    """Of a whole number, or of the digits of one. Raises WebhookRefused."""
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise WebhookRefused("the webhook says no instant")
    return int(text) / per_second


def digest_of(*signed: bytes) -> str:
    """An id for what has none that is signed: the same when the very same is sent again."""
    return hashlib.sha256(b"\0".join(signed)).hexdigest()
