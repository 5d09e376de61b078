"""GitLab: issues of one project, as Service Desk makes them.

After GitLab's pages "Issues API", "Notes API", "REST API authentication", "Webhooks" and "Webhook
events". Of these the signing token and the notes (docs.gitlab.com/api/notes: `sort`, `order_by`,
`internal`, `system`) were looked up; hold the rest against the pages, and run it against GitLab
itself, before you rely on it: neither was done.

- A ticket is the number of an issue of `project`. Closed is `closed`; one that was moved is closed
  where it was.
- The customer is what follows in the one label `customer::…`; scoped labels exclude each other.
- A webhook brings its secret token in clear (`X-Gitlab-Token`), or is signed as Standard Webhooks
  say where its signing token is set, which begins with `whsec_`: take that one.
- GitLab counts no re-openings, so closing and opening again between two looks is not seen.
- A comment is an internal note.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import standardwebhooks

from broker.errors import SettingsError
from broker.tickets import FetchedTicket, Remark, Webhook
from broker.tickets.client import (
    Json,
    as_list,
    as_object,
    bearer,
    link_of,
    read_each,
    read_remarks,
    text_of,
    unavailable,
    word_of,
)
from broker.tickets.driver import Account, Driver
from broker.tickets.generic import is_signed, webhook_key
from broker.tickets.signatures import digest_of, header_of, read_document

_PROJECT = re.compile(r"\A[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*\Z")
_LABEL = "customer::"
_NAMES = {"id": "id", "text": "body", "at": "created_at"}


class GitlabTickets(Driver):
    """The token is an access token, best of the project alone, with the scope `api`."""

    name = "gitlab"
    at_once = 100  # the largest page
    id_shape = re.compile(r"\A[1-9][0-9]{0,9}\Z")

    def __init__(self, account: Account, project: str | None) -> None:
        if project is None or not _PROJECT.match(project):
            raise SettingsError(
                "tickets of GitLab are the issues of one project; set BROKER_TICKETS__PROJECT to "
                "its path, as group/support, or its number"
            )
        super().__init__(account, bearer(account.token))
        self._issues = f"/api/v4/projects/{quote(project, safe='')}/issues"
        signing = [one for one in self._hooks.secrets if one.reveal().startswith("whsec_")]
        self._signing = [standardwebhooks.Webhook(webhook_key(one)) for one in signing]

    def find(self, external_id: str) -> FetchedTicket | None:
        found = self._client.get(f"{self._issues}/{self._check_id(external_id)}")
        return None if found is None else _read(as_object(found), external_id)

    def _list(self, asked: Sequence[str]) -> Mapping[str, FetchedTicket]:
        found = self._client.get(
            self._issues, {"iids[]": list(asked), "per_page": str(self.at_once)}
        )
        issues = [as_object(one) for one in as_list(found)]
        return read_each(asked, {text_of(one.get("iid")) or "": one for one in issues}, _read)

    def comment(self, external_id: str, key: str, text: str) -> None:
        """GitLab knows no key for these: tried again, it stands there twice."""
        del key
        path = f"{self._issues}/{self._check_id(external_id)}/notes"
        self._client.post(path, {"body": text, "internal": True})

    def list_commands(self, external_id: str) -> Sequence[Remark]:
        """Internal notes, which only members of the project write."""
        path = f"{self._issues}/{self._check_id(external_id)}/notes"
        query = {"sort": "desc", "order_by": "created_at", "per_page": str(self.at_once)}
        shown = [as_object(one) for one in as_list(self._client.get(path, query))]
        hidden = [one for one in shown if one.get("internal") is True and not one.get("system")]
        return read_remarks(hidden, _NAMES, self._find_address)

    def _find_address(self, note: Json) -> object:
        """The one that its author shows, which GitLab has verified: others see no other."""
        author = as_object(note.get("author"))
        number = text_of(author.get("id"))
        if number is None or not self.id_shape.match(number) or author.get("state") != "active":
            return None
        return as_object(self._client.get(f"/api/v4/users/{number}")).get("public_email")

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Webhook:
        if not any(is_signed(one, headers, body) for one in self._signing):
            self._hooks.check_token(header_of(headers, "X-Gitlab-Token"))
        document = read_document(body)
        if document.get("object_kind") == "note":
            named = as_object(document.get("issue"))
        else:
            named = as_object(document.get("object_attributes"))
        return self._hook(digest_of(body), text_of(named.get("iid")))


def _read(document: Json, external_id: str) -> FetchedTicket:
    title, state = document.get("title"), document.get("state")
    if text_of(document.get("iid")) != external_id:
        raise unavailable("did not answer with the ticket that was asked for")
    if not isinstance(title, str) or state not in {"opened", "closed"}:
        raise unavailable("answered with a ticket that is not whole")
    severity = word_of(document.get("severity"))
    return FetchedTicket(
        external_id,
        title,
        _find_customer(document.get("labels")),
        state == "closed",
        link_of(document.get("web_url")),
        None if severity == "unknown" else severity,
        word_of(document.get("issue_type")),
    )


def _find_customer(labels: object) -> str:
    named = [str(one) for one in as_list(labels) if str(one).startswith(_LABEL)]
    return named[0].removeprefix(_LABEL) if len(named) == 1 else ""
