"""Port: an external ticket system. Drivers: `generic.py`.

A webhook is a hint, the fetch is the truth, the poll is the guarantee.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from broker.errors import BrokerError, Unavailable


class TicketSystemUnavailable(Unavailable):
    """The system refused us or did not answer; no ticket's state is known from this."""

    type = "ticket-system-unavailable"


class WebhookRefused(BrokerError):
    """Forged, stale or malformed; nothing changes."""

    type = "webhook-refused"


@dataclass(frozen=True, slots=True)
class FetchedTicket:
    """A case as its system shows it now. `customer` is the system's own id of the customer."""

    external_id: str
    title: str
    customer: str
    closed: bool
    url: str | None = None


class TicketSystem(Protocol):
    name: str

    def verify_webhook(self, headers: Mapping[str, str], body: bytes) -> str:
        """Return the external id that the webhook speaks of. Raises WebhookRefused."""

    def find(self, external_id: str) -> FetchedTicket | None:
        """None when the system says that there is no such ticket (404, 410) or that it is not ours
        to read (403). Raises TicketSystemUnavailable.
        """

    def probe(self) -> None:
        """Read the probe ticket: raises TicketSystemUnavailable unless it reads well."""
