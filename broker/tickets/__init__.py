"""Port: an external ticket system. Drivers: `generic.py`.

A webhook is a hint, the fetch is the truth, the poll is the guarantee. A list is a hint too: what
it leaves out is asked for by itself before it counts as missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from broker.errors import BrokerError, Unavailable

_TITLE_LENGTH, _URL_LENGTH = 500, 2000
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
WORD = "/access"
_WORD = re.compile(r"[a-z0-9][a-z0-9 ._-]{0,39}")


def find_word(text: str) -> str | None:
    """A severity or category as it is compared: lower case, one line, 1 to 40 characters.

    None for anything else: a customer's standing approval is never met by what can't be read.
    """
    word = " ".join(text.lower().split())
    return word if _WORD.fullmatch(word) else None


class TicketSystemUnavailable(Unavailable):
    """The system refused us or did not answer; no ticket's state is known from this.

    `facts['retry_after_s']`, where it is there, is how long the system wants to be left alone.
    """

    type = "ticket-system-unavailable"


class CommentRefused(BrokerError):
    """The ticket takes no comment: it is gone, locked or closed for good. Trying again is vain."""

    type = "comment-refused"


class WebhookRefused(BrokerError):
    """Forged, stale or malformed; nothing changes."""

    type = "webhook-refused"


@dataclass(frozen=True, slots=True)
class FetchedTicket:
    """A case as its system shows it now. `customer` is the system's own id of the customer;
    `severity` and `category` are its words for them, as `find_word` gives them.

    `reopened`, where the system has one, is a mark that changes each time the ticket is opened
    again (a count, an instant). It is compared with itself alone: no clock of theirs matters.
    """

    external_id: str
    title: str
    customer: str
    closed: bool
    url: str | None = None
    severity: str | None = None
    category: str | None = None
    reopened: str | None = None

    def __post_init__(self) -> None:
        """Whoever writes to the vendor's support words the title: it is cut, and what no database
        takes (NUL, half a surrogate) is a space. A customer of that kind is nobody.
        """
        object.__setattr__(self, "title", _NO_TEXT.sub(" ", self.title)[:_TITLE_LENGTH])
        for name in ("url", "reopened"):
            value = getattr(self, name)
            if value is not None and (_NO_TEXT.search(value) or len(value) > _URL_LENGTH):
                object.__setattr__(self, name, None)
        if _NO_TEXT.search(self.customer):
            object.__setattr__(self, "customer", "")


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook that is truly the system's. `message_id` is the same when it is sent again; None
    where nothing in it tells one from the next.
    """

    message_id: str | None
    external_id: str


@dataclass(frozen=True, slots=True)
class Remark:
    """An internal comment on a ticket, by somebody of the vendor's there. `author` is the address
    that the system gives for them; empty where it gives none.
    """

    id: str
    author: str
    text: str
    at: datetime


def is_command(text: str) -> bool:
    """Whether a comment speaks to us: its first word says so."""
    return text.split(maxsplit=1)[:1] == [WORD]


class TicketSystem(Protocol):
    name: str
    at_once: int  # how many tickets one `find_many` may ask for; 1: there is no list

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Webhook:
        """Check signature and age. Raises WebhookRefused; a replay passes, so remember the id."""

    def find(self, external_id: str) -> FetchedTicket | None:
        """None when the system says that there is no such ticket (404, 410) or that it is not ours
        to read (403). Raises TicketSystemUnavailable.
        """

    def find_many(self, external_ids: Sequence[str]) -> Mapping[str, FetchedTicket]:
        """Those of at most `at_once` tickets that a list shows: one that it leaves out is not known
        to be missing. Raises TicketSystemUnavailable.
        """

    def comment(self, external_id: str, key: str, text: str) -> None:
        """Write on the ticket, where the system can hide it from the customer so that only the
        vendor reads it. `key` is the same when it is tried again, for systems that know such keys.
        Raises CommentRefused, TicketSystemUnavailable.
        """

    def list_commands(self, external_id: str) -> Sequence[Remark]:
        """Of the last comments those that speak to us (`is_command`), that are hidden from
        the customer, and that one of the vendor's people wrote there, as the system says. Raises
        TicketSystemUnavailable.
        """

    def probe(self) -> None:
        """Read the probe ticket: raises TicketSystemUnavailable unless it reads well."""
