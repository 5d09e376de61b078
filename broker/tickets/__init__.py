"""Port: an external ticket system. Drivers: `generic.py`.

A webhook is a hint, the fetch is the truth, the poll is the guarantee.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from broker.errors import BrokerError, Unavailable

_WORD = re.compile(r"[a-z0-9][a-z0-9 ._-]{0,39}")


def find_word(text: str) -> str | None:
    """A severity or category as it is compared: lower case, one line, 1 to 40 characters.

    None for anything else: a customer's standing approval is never met by what can't be read.
    """
    word = " ".join(text.lower().split())
    return word if _WORD.fullmatch(word) else None


class TicketSystemUnavailable(Unavailable):
    """The system refused us or did not answer; no ticket's state is known from this."""

    type = "ticket-system-unavailable"


class WebhookRefused(BrokerError):
    """Forged, stale or malformed; nothing changes."""

    type = "webhook-refused"


@dataclass(frozen=True, slots=True)
class FetchedTicket:
    """A case as its system shows it now. `customer` is the system's own id of the customer;
    `severity` and `category` are its words for them, as `find_word` gives them.
    """

    external_id: str
    title: str
    customer: str
    closed: bool
    url: str | None = None
    severity: str | None = None
    category: str | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook that is truly the system's. `message_id` is the same when it is sent again."""

    message_id: str
    external_id: str


class TicketSystem(Protocol):
    name: str

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Webhook:
        """Check signature and age. Raises WebhookRefused; a replay passes, so remember the id."""

    def find(self, external_id: str) -> FetchedTicket | None:
        """None when the system says that there is no such ticket (404, 410) or that it is not ours
        to read (403). Raises TicketSystemUnavailable.
        """

    def probe(self) -> None:
        """Read the probe ticket: raises TicketSystemUnavailable unless it reads well."""
