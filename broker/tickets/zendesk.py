"""Zendesk Support.

After Zendesk's pages "Tickets", "Ticket Comments" (developer.zendesk.com, api-reference/ticketing/
tickets/ticket_comments), "Side-Loading", "Ticket Metrics", "Rate limits", "Security and
authentication", "Webhook event types: ticket events" and "Verifying webhooks". Looked up were the
webhooks' signature and the comments (fields, flags, `via`); hold the rest against the pages,
`metric_set` first, and run it against Zendesk itself, before you rely on it: neither was done.

- Closed is `solved`, `closed` (merged tickets too) and `deleted`. A deleted ticket is a 404.
- The customer is the ticket's organization; without one it can't be mapped. It changes with the
  requester.
- `metric_set.reopens` counts re-openings.
- A webhook is to be subscribed to ticket events, not made by a trigger: a trigger's body is of its
  author's making. `X-Zendesk-Webhook-Signature` is base64 of HMAC-SHA-256 over timestamp and body.
- A closed ticket takes no comment (422); a solved one does, and an internal note leaves it solved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from broker.tickets import FetchedTicket, Remark, Webhook, WebhookRefused
from broker.tickets.client import (
    Json,
    as_list,
    as_object,
    mark_of,
    read_each,
    read_remarks,
    text_of,
    unavailable,
    word_of,
)
from broker.tickets.driver import Account, Driver, basic_or_bearer
from broker.tickets.signatures import (
    as_base64,
    digest_of,
    header_of,
    instant_of,
    read_document,
)

_CLOSED = frozenset({"solved", "closed", "deleted"})
_OPEN = frozenset({"new", "open", "pending", "hold"})
_WINDOW_S = 300
_EVENT = "zen:event-type:ticket."
_AGENTS = frozenset({"agent", "admin"})
_WRITTEN = frozenset({"web", "mobile"})
_NAMES = {"id": "id", "text": "plain_body", "at": "created_at"}
_WITH = {"include": "metric_sets"}


class ZendeskTickets(Driver):
    """With `user`, an agent's address, the token is an API token; else it is one of OAuth."""

    name = "zendesk"
    at_once = 100  # "Show Multiple Tickets" takes as many
    id_shape = re.compile(r"\A[1-9][0-9]{0,18}\Z")

    def __init__(self, account: Account) -> None:
        user = None if account.user is None else f"{account.user}/token"
        super().__init__(account, basic_or_bearer(user, account.token))

    def find(self, external_id: str) -> FetchedTicket | None:
        found = self._client.get(f"/api/v2/tickets/{self._check_id(external_id)}", _WITH)
        if found is None:
            return None
        return self._read(as_object(as_object(found).get("ticket")), external_id)

    def _list(self, asked: Sequence[str]) -> Mapping[str, FetchedTicket]:
        found = self._client.get("/api/v2/tickets/show_many", {"ids": ",".join(asked), **_WITH})
        tickets = [as_object(one) for one in as_list(as_object(found).get("tickets"))]
        return read_each(asked, {text_of(one.get("id")) or "": one for one in tickets}, self._read)

    def comment(self, external_id: str, key: str, text: str) -> None:
        """An internal note. Zendesk knows no key for these: tried again, it stands there twice."""
        del key
        comment = {"body": text, "public": False}
        path = f"/api/v2/tickets/{self._check_id(external_id)}"
        self._client.put(path, {"ticket": {"comment": comment}})

    def list_commands(self, external_id: str) -> Sequence[Remark]:
        """Private ones, written in Zendesk itself: who sent what came by mail is not certain."""
        path = f"/api/v2/tickets/{self._check_id(external_id)}/comments"
        query = {"sort_order": "desc", "per_page": "100", "include": "users"}
        found = as_object(self._client.get(path, query))
        users = {one.get("id"): one for one in map(as_object, as_list(found.get("users")))}
        agents = {
            number: user.get("email")
            for number, user in users.items()
            if user.get("role") in _AGENTS and user.get("suspended") is not True
        }
        hidden = [
            one
            for one in map(as_object, as_list(found.get("comments")))
            if one.get("public") is False
            and as_object(one.get("via")).get("channel") in _WRITTEN
            and one.get("author_id") in agents
        ]
        return read_remarks(hidden, _NAMES, lambda one: agents[one["author_id"]])

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Webhook:
        timestamp = header_of(headers, "X-Zendesk-Webhook-Signature-Timestamp")
        signed = timestamp.encode() + body
        self._hooks.check_hmac(signed, header_of(headers, "X-Zendesk-Webhook-Signature"), as_base64)
        self._hooks.check_age(instant_of(timestamp), _WINDOW_S)
        document = read_document(body)
        if not str(document.get("type")).startswith(_EVENT):
            raise WebhookRefused("the webhook is of a kind that we don't know")
        external_id = text_of(as_object(document.get("detail")).get("id"))
        return self._hook(digest_of(signed), external_id)

    def _read(self, document: Json, external_id: str) -> FetchedTicket:
        status, subject = document.get("status"), document.get("subject")
        if text_of(document.get("id")) != external_id:
            raise unavailable("did not answer with the ticket that was asked for")
        if status not in _CLOSED | _OPEN or not isinstance(subject, str | None):
            raise unavailable("answered with a ticket that is not whole")
        return FetchedTicket(
            external_id,
            subject or f"Ticket {external_id}",
            text_of(document.get("organization_id")) or "",
            status in _CLOSED,
            f"{self._client.base_url}/agent/tickets/{external_id}",
            word_of(document.get("priority")),
            word_of(document.get("type")),
            mark_of(as_object(document.get("metric_set")).get("reopens")),
        )
