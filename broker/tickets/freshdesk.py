"""Freshdesk.

After Freshdesk's pages "API v2: tickets, conversations, agents, rate limit, authentication"
(developers.freshdesk.com/api) and "Using webhooks in automation rules". Looked up were a ticket
with `include=stats`, its statuses and priorities, and a ticket's conversations with their paging;
hold the rest against the pages, and run it against Freshdesk itself, before you rely on it.

- Closed is 4 resolved, 5 closed, spam and deleted; a merged ticket is closed. Statuses of one's own
  making, from 6 on, are open.
- The customer is the ticket's company.
- There is no list by ids: each ticket is asked for by itself, so mind the plan's rate limit.
- Freshdesk signs nothing: an automation rule sends `X-Broker-Token` with a secret of ours, and
  `{"ticket_id": {{ticket.id}}}`. A replay costs one look.
- `stats.reopened_at` changes with each re-opening.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from broker.tickets import FetchedTicket, Remark, Webhook
from broker.tickets.client import (
    Json,
    as_html,
    as_list,
    as_object,
    mark_of,
    read_remarks,
    text_of,
    unavailable,
    word_of,
)
from broker.tickets.driver import Account, Driver, basic_key
from broker.tickets.signatures import header_of, read_document

_CLOSED = frozenset({4, 5})
_PAGE, _PAGES = 100, 10
_NAMES = {"id": "id", "text": "body_text", "at": "created_at"}
_NOTE = 2  # the source of a conversation that is a note
_PRIORITIES = {"1": "low", "2": "medium", "3": "high", "4": "urgent"}


class FreshdeskTickets(Driver):
    """The token is an agent's API key."""

    name = "freshdesk"
    id_shape = re.compile(r"\A[1-9][0-9]{0,18}\Z")

    def __init__(self, account: Account) -> None:
        super().__init__(account, basic_key(account.token))

    def find(self, external_id: str) -> FetchedTicket | None:
        path = f"/api/v2/tickets/{self._check_id(external_id)}"
        found = self._client.get(path, {"include": "stats"})
        return None if found is None else self._read(as_object(found), external_id)

    def comment(self, external_id: str, key: str, text: str) -> None:
        """A private note. Freshdesk knows no key for these: tried again, it stands there twice."""
        del key
        path = f"/api/v2/tickets/{self._check_id(external_id)}/notes"
        self._client.post(path, {"body": as_html(text), "private": True})

    def list_commands(self, external_id: str) -> Sequence[Remark]:
        """Private notes; the oldest come first, so the last page is looked for."""
        path = f"/api/v2/tickets/{self._check_id(external_id)}/conversations"
        for page in range(1, _PAGES + 1):
            found = as_list(self._client.get(path, {"per_page": "100", "page": str(page)}))
            shown = [as_object(one) for one in found]
            if len(shown) < _PAGE:
                break
        hidden = [one for one in shown if one.get("private") is True and _is_note(one)]
        return read_remarks(hidden, _NAMES, self._find_address)

    def _find_address(self, note: Json) -> object:
        """Of an agent; a contact has no page there."""
        agent = text_of(note.get("user_id"))
        if agent is None or not self.id_shape.match(agent):
            return None
        found = as_object(self._client.get(f"/api/v2/agents/{agent}"))
        return as_object(found.get("contact")).get("email")

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Webhook:
        self._hooks.check_token(header_of(headers, "X-Broker-Token"))
        document = read_document(body)
        # The simple form of the rule wraps what it sends.
        named = as_object(document.get("freshdesk_webhook")) or document
        return self._hook(None, text_of(named.get("ticket_id")))

    def _read(self, document: Json, external_id: str) -> FetchedTicket:
        status, subject = document.get("status"), document.get("subject")
        if text_of(document.get("id")) != external_id:
            raise unavailable("did not answer with the ticket that was asked for")
        if not isinstance(status, int) or isinstance(status, bool) or not isinstance(subject, str):
            raise unavailable("answered with a ticket that is not whole")
        is_out = document.get("spam") is True or document.get("deleted") is True
        return FetchedTicket(
            external_id,
            subject,
            text_of(document.get("company_id")) or "",
            is_out or status in _CLOSED,
            f"{self._client.base_url}/a/tickets/{external_id}",
            _PRIORITIES.get(text_of(document.get("priority")) or ""),
            word_of(document.get("type")),
            _find_mark(document.get("stats")),
        )


def _is_note(conversation: Json) -> bool:
    return conversation.get("source") == _NOTE and conversation.get("incoming") is False


def _find_mark(stats: object) -> str | None:
    """Also of a ticket never re-opened: or the first time would not change it."""
    if not isinstance(stats, dict) or "reopened_at" not in stats:
        return None
    return mark_of(stats["reopened_at"]) or "never"
