"""Jira and Jira Service Management, Cloud and Data Center.

After Atlassian's pages "The Jira Cloud platform REST API: issues, issue comments", "Basic auth for
REST APIs", "Webhooks" (secured admin webhooks), "Rate limiting" and, for Data Center, "Managing
webhooks" and "Personal access tokens". Of these the webhooks' signature, the bulk fetch and the
comments' `jsdPublic` were looked up; hold the rest against the pages, and run it against Jira
itself, before you rely on it: neither was done.

- Closed is a status of the category `done`, whatever the workflow calls it.
- The customer is what `customer_field` holds: `project` (each customer has one), the field of
  organizations of Service Management, or any field with one value. None or several can't be mapped.
- An issue that moved answers under its new key: under the old one it has ended. Jira counts no
  re-openings, so closing and opening again between two looks is not seen.
- A wrong token may be taken for nobody, to whom each issue is a 404: the probe tells it apart.
- `X-Hub-Signature` is the HMAC-SHA-256 of the body, which holds an instant. Jira tries again for
  hours what was not taken, with the same body.
- A comment is internal in Service Management; elsewhere whoever sees the issue sees it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from broker.errors import SettingsError
from broker.tickets import FetchedTicket, Remark, Webhook, WebhookRefused
from broker.tickets.client import (
    Json,
    as_list,
    as_object,
    read_each,
    read_remarks,
    text_of,
    unavailable,
    word_of,
)
from broker.tickets.driver import Account, Driver, basic_or_bearer
from broker.tickets.signatures import digest_of, header_of, read_document, seconds_of

_WINDOW_S = 12 * 3600  # within what ids of webhooks are remembered
_CATEGORIES = frozenset({"new", "indeterminate", "done"})
_NO_LIST = frozenset({404, 405})  # Data Center has none
_FIELD = re.compile(r"\A(project|[a-z]+|customfield_[0-9]{1,9})\Z")
_NAMES = {"id": "id", "text": "body", "at": "created"}
_INTERNAL = {"key": "sd.public.comment", "value": {"internal": True}}


class JiraTickets(Driver):
    """With `user`, an address, the token is an API token of Cloud; else a personal access token."""

    name = "jira"
    at_once = 100  # "Bulk fetch issues" takes as many
    id_shape = re.compile(r"\A[A-Z][A-Z0-9_]{1,40}-[1-9][0-9]{0,9}\Z")

    def __init__(self, account: Account, customer_field: str = "project") -> None:
        super().__init__(account, basic_or_bearer(account.user, account.token))
        if not _FIELD.match(customer_field):
            raise SettingsError(
                "BROKER_TICKETS__CUSTOMER_FIELD is 'project' or the id of a field of Jira, as "
                "customfield_10002"
            )
        self._customer_field = customer_field
        self._fields = ["summary", "status", "priority", "issuetype", customer_field]

    def find(self, external_id: str) -> FetchedTicket | None:
        path = f"/rest/api/2/issue/{self._check_id(external_id)}"
        found = self._client.get(path, {"fields": ",".join(self._fields)})
        return None if found is None else self._read(as_object(found), external_id)

    def _list(self, asked: Sequence[str]) -> Mapping[str, FetchedTicket]:
        """What moved stands there under its new key, and is asked for by itself."""
        document = {"issueIdsOrKeys": list(asked), "fields": self._fields}
        found = self._client.ask("/rest/api/3/issue/bulkfetch", document, none_for=_NO_LIST)
        issues = [as_object(one) for one in as_list(as_object(found).get("issues"))]
        return read_each(asked, {str(one.get("key")): one for one in issues}, self._read)

    def comment(self, external_id: str, key: str, text: str) -> None:
        """Jira knows no key for these: tried again, it stands there twice."""
        del key
        path = f"/rest/api/2/issue/{self._check_id(external_id)}/comment"
        self._client.post(path, {"body": text, "properties": [_INTERNAL]})

    def list_commands(self, external_id: str) -> Sequence[Remark]:
        """Internal ones, which Service Management alone has."""
        path = f"/rest/api/2/issue/{self._check_id(external_id)}/comment"
        query = {"orderBy": "-created", "maxResults": "100", "expand": "properties"}
        found = as_object(self._client.get(path, query))
        shown = [as_object(one) for one in as_list(found.get("comments"))]
        hidden = [one for one in shown if _is_internal(one) and _is_of_vendor(one)]
        return read_remarks(
            hidden, _NAMES, lambda one: as_object(one.get("author")).get("emailAddress")
        )

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Webhook:
        scheme, _, given = header_of(headers, "X-Hub-Signature").partition("=")
        if scheme != "sha256":
            raise WebhookRefused("the webhook is not signed")
        self._hooks.check_hmac(body, given)
        document = read_document(body)
        self._hooks.check_age(seconds_of(document.get("timestamp"), per_second=1000), _WINDOW_S)
        external_id = text_of(as_object(document.get("issue")).get("key"))
        return self._hook(digest_of(body), external_id)

    def _read(self, document: Json, external_id: str) -> FetchedTicket:
        key, fields = document.get("key"), as_object(document.get("fields"))
        summary, status = fields.get("summary"), as_object(fields.get("status"))
        category = as_object(status.get("statusCategory")).get("key")
        if not isinstance(key, str) or not self.id_shape.match(key):
            raise unavailable("did not answer with the ticket that was asked for")
        if not isinstance(summary, str) or category not in _CATEGORIES:
            raise unavailable("answered with a ticket that is not whole")
        return FetchedTicket(
            external_id,
            summary,
            _find_customer(fields.get(self._customer_field)),
            category == "done" or key != external_id,
            f"{self._client.base_url}/browse/{key}",
            word_of(as_object(fields.get("priority")).get("name")),
            word_of(as_object(fields.get("issuetype")).get("name")),
        )


def _is_internal(comment: Json) -> bool:
    """As Cloud says it, and as Data Center does."""
    return comment.get("jsdPublic") is False or _INTERNAL in as_list(comment.get("properties"))


def _is_of_vendor(comment: Json) -> bool:
    """Data Center tells no type of account; its customers write no internal comment either."""
    author = as_object(comment.get("author"))
    return author.get("active") is True and author.get("accountType", "atlassian") == "atlassian"


def _find_customer(value: object) -> str:
    """The one value of a field: of a project its key, of an organization or option its id."""
    values = value if isinstance(value, list) else [value]
    if len(values) != 1:
        return ""
    one = values[0]
    if not isinstance(one, dict):
        return text_of(one) or ""
    return text_of(one.get("key")) or text_of(one.get("id")) or ""
