"""Linear.

After Linear's pages "GraphQL: getting started, filtering", "Rate limiting" and "Webhooks"
(linear.app/developers). Looked up were the signature, `RATELIMITED` and how complexity is counted;
hold the queries against the schema, and run them against Linear itself, before you rely on it:
neither was done.

- Closed is a state of type `completed`, `canceled` or `duplicate` (merged), an issue in the trash,
  and one that moved to another team, where it has another name.
- The customer is the name of the one label within the label group `customer`.
- Everything is one GraphQL address: "not found" is an error among others, told by its words, and
  too many requests are an answer 400 with the code RATELIMITED.
- `Linear-Signature` is the HMAC-SHA-256 of the body, whose `webhookTimestamp` is at most a minute
  old. Linear counts no re-openings, and shows comments to everybody of the workspace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from broker.secret import Secret
from broker.tickets import WORD, CommentRefused, FetchedTicket, Remark, Webhook
from broker.tickets.client import (
    Json,
    as_list,
    as_object,
    bearer,
    check_login,
    link_of,
    read_each,
    read_remarks,
    text_of,
    unavailable,
    word_of,
)
from broker.tickets.driver import Account, Driver
from broker.tickets.signatures import digest_of, header_of, read_document, seconds_of

_CLOSED = frozenset({"completed", "canceled", "duplicate"})
_OPEN = frozenset({"triage", "backlog", "unstarted", "started"})
_WINDOW_S = 60
_BUSY_S = 60
_FIELDS = (
    "identifier title url trashed priorityLabel state { type } "
    # Asked for alone, and two at most: Linear counts what an answer might hold.
    'labels(first: 2, filter: { parent: { name: { eq: "customer" } } }) { nodes { name } }'
)
_ONE = f"query($id: String!) {{ issue(id: $id) {{ {_FIELDS} }} }}"
_MANY = (
    f"query($filter: IssueFilter!, $first: Int!) "
    f"{{ issues(filter: $filter, first: $first) {{ nodes {{ {_FIELDS} }} }} }}"
)
_COMMANDS = (
    "query($id: String!) { issue(id: $id) { comments(first: 50, "
    f'filter: {{ body: {{ startsWith: "{WORD}" }}, createdAt: {{ gt: "-P2D" }} }}) {{ nodes {{ '
    "id body createdAt externalThread { type } user { email active guest } } } } }"
)
_NAMES = {"id": "id", "text": "body", "at": "createdAt"}
_SAY = "mutation($input: CommentCreateInput!) { commentCreate(input: $input) { success } }"


class LinearTickets(Driver):
    """The token is a personal API key (`lin_api_…`) or one of OAuth."""

    name = "linear"
    at_once = 50
    id_shape = re.compile(r"\A[A-Z][A-Z0-9]{0,9}-[1-9][0-9]{0,8}\Z")

    def __init__(self, account: Account) -> None:
        super().__init__(account, _login(account.token))

    def find(self, external_id: str) -> FetchedTicket | None:
        data = self._ask(_ONE, {"id": self._check_id(external_id)})
        return None if data is None else _read(as_object(data.get("issue")), external_id)

    def _list(self, asked: Sequence[str]) -> Mapping[str, FetchedTicket]:
        variables = {"filter": {"or": [_named(one) for one in asked]}, "first": self.at_once}
        found = as_object(as_object(self._ask(_MANY, variables)).get("issues"))
        issues = [as_object(one) for one in as_list(found.get("nodes"))]
        return read_each(asked, {str(one.get("identifier")): one for one in issues}, _read)

    def comment(self, external_id: str, key: str, text: str) -> None:
        """Seen by everybody of the workspace, and twice when it is tried again."""
        del key
        said = {"issueId": self._check_id(external_id), "body": text}
        answer = as_object(self._ask(_SAY, {"input": said}))
        if as_object(answer.get("commentCreate")).get("success") is not True:
            raise CommentRefused("the ticket system took no comment on this ticket")

    def list_commands(self, external_id: str) -> Sequence[Remark]:
        """Of people of the workspace: no guest, and none in a thread that is told elsewhere too."""
        data = as_object(self._ask(_COMMANDS, {"id": self._check_id(external_id)}))
        found = as_object(as_object(data.get("issue")).get("comments"))
        written = [
            one
            for one in map(as_object, as_list(found.get("nodes")))
            if one.get("externalThread") is None and _is_colleague(as_object(one.get("user")))
        ]
        return read_remarks(written, _NAMES, lambda one: as_object(one["user"]).get("email"))

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Webhook:
        self._hooks.check_hmac(body, header_of(headers, "Linear-Signature"))
        document = read_document(body)
        at_s = seconds_of(document.get("webhookTimestamp"), per_second=1000)
        self._hooks.check_age(at_s, _WINDOW_S)
        data = as_object(document.get("data"))
        named = as_object(data.get("issue")) if document.get("type") == "Comment" else data
        return self._hook(digest_of(body), text_of(named.get("identifier")))

    def _ask(self, query: str, variables: Json) -> Json | None:
        """The data, or None for "not found". Raises TicketSystemUnavailable."""
        document = {"query": query, "variables": variables}
        answer = as_object(self._client.ask("/graphql", document, none_for=(), read_for=(200, 400)))
        errors = [as_object(one) for one in as_list(answer.get("errors"))]
        if any(as_object(one.get("extensions")).get("code") == "RATELIMITED" for one in errors):
            raise unavailable("asks us to wait", retry_after_s=_BUSY_S)
        if errors and all(str(one.get("message")).startswith("Entity not found") for one in errors):
            return None
        data = answer.get("data")
        if errors or not isinstance(data, dict):
            raise unavailable("answered with an error")
        return data


def _login(token: Secret[str]) -> Secret[str]:
    return check_login(token) if token.reveal().startswith("lin_api_") else bearer(token)


def _named(external_id: str) -> Json:
    team, _, number = external_id.partition("-")
    return {"team": {"key": {"eq": team}}, "number": {"eq": int(number)}}


def _read(document: Json, external_id: str) -> FetchedTicket:
    identifier, title = document.get("identifier"), document.get("title")
    state = as_object(document.get("state")).get("type")
    if not isinstance(identifier, str) or not isinstance(title, str):
        raise unavailable("did not answer with the ticket that was asked for")
    if state not in _CLOSED | _OPEN:
        raise unavailable("answered with a ticket that is not whole")
    is_away = document.get("trashed") is True or identifier != external_id
    return FetchedTicket(
        external_id,
        title,
        _find_customer(document),
        is_away or state in _CLOSED,
        link_of(document.get("url")),
        word_of(document.get("priorityLabel")),
    )


def _find_customer(document: Json) -> str:
    labels = [as_object(one) for one in as_list(as_object(document.get("labels")).get("nodes"))]
    return str(labels[0].get("name")) if len(labels) == 1 else ""


def _is_colleague(user: Json) -> bool:
    return user.get("active") is True and user.get("guest") is False
