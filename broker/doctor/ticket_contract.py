"""`broker tickets conformance`: whether a ticket system speaks the generic contract, by its points.

The contract is `docs/ticket-system.openapi.json`. Each point is asked of the real system, with a
ticket that its owner names; nothing is changed there, but for one comment where that is asked for.
A point that can't be asked keeps no other.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx

from broker.doctor.line import Line, bad, ok, warn
from broker.errors import BrokerError
from broker.secret import Secret
from broker.tickets import CommentRefused
from broker.tickets.client import Client, as_list, as_object, bearer
from broker.tickets.generic import NO_COMMENTS, GenericTickets

_COMMENT = ("id", "internal", "author", "text", "at")


@dataclass(frozen=True, slots=True)
class Asked:
    """`open` names a ticket that is open, `closed` one that is; `comment_on` is written on."""

    url: str
    token: Secret[str]
    open: str
    closed: str | None = None
    comment_on: str | None = None
    transport: httpx.BaseTransport | None = None


def check(asked: Asked) -> list[Line]:
    """Raises SettingsError for an address or token that can't be one."""
    tickets = GenericTickets(asked.url, asked.token, [], asked.open, asked.transport)
    missing = f"none-{secrets.token_hex(8)}"
    points: dict[str, Callable[[], Iterator[Line]]] = {
        "a wrong token": lambda: _wrong_token(asked),
        "an open ticket": lambda: _open(tickets, asked.open),
        "a ticket that is not there": lambda: _missing(tickets, missing),
        "a closed ticket": lambda: _closed(tickets, asked.closed),
        "several at once": lambda: _several(tickets, asked.open, missing),
        "a comment": lambda: _comment(tickets, asked.comment_on),
        "comments shown": lambda: _comments(asked),
    }
    return [line for name, ask in points.items() for line in _tried(name, ask)]


def _tried(name: str, ask: Callable[[], Iterator[Line]]) -> Iterator[Line]:
    try:
        yield from ask()
    except BrokerError as error:
        yield bad(name, error.message, "compare the answer with docs/ticket-system.openapi.json")


def _wrong_token(asked: Asked) -> Iterator[Line]:
    """Else a token that was revoked would make every ticket count as missing."""
    client = Client(asked.url, bearer(Secret(secrets.token_hex(16))), transport=asked.transport)
    status = client.find_status(f"/tickets/{asked.open}")
    if status == httpx.codes.UNAUTHORIZED:
        yield ok("a wrong token", "is refused with 401")
    else:
        todo = "answer 401 to every request without the right bearer token, before anything else"
        yield bad("a wrong token", f"is answered with {status}", todo)


def _open(tickets: GenericTickets, external_id: str) -> Iterator[Line]:
    found = tickets.find(external_id)
    if found is None:
        todo = "name a ticket with --ticket that the token may read"
        yield bad("an open ticket", f"{external_id} is said to be none for us", todo)
        return
    if found.closed:
        yield bad("an open ticket", "says closed", "name one with --ticket that is open")
    else:
        yield ok("an open ticket", f"reads well, of customer {found.customer}")
    absent = [name for name in ("severity", "category", "url", "reopened") if not _of(found, name)]
    if absent:
        todo = "add them where the system knows them; see docs/operating.md for what they are for"
        yield warn("optional fields", f"absent: {', '.join(absent)}", todo)


def _of(found: object, name: str) -> object:
    return getattr(found, name)


def _missing(tickets: GenericTickets, external_id: str) -> Iterator[Line]:
    if tickets.find(external_id) is None:
        yield ok("a ticket that is not there", "is told as none")
    else:
        todo = "answer 404 for an id that no ticket has"
        yield bad("a ticket that is not there", "was shown all the same", todo)


def _closed(tickets: GenericTickets, external_id: str | None) -> Iterator[Line]:
    if external_id is None:
        yield warn("a closed ticket", "was not looked at", "name one with --closed")
        return
    found = tickets.find(external_id)
    if found is not None and found.closed:
        yield ok("a closed ticket", "says closed")
    else:
        says = "is none for us" if found is None else "says open"
        todo = 'answer "closed": true for what your people call closed, merged tickets too'
        yield bad("a closed ticket", says, todo)


def _several(tickets: GenericTickets, external_id: str, missing: str) -> Iterator[Line]:
    shown = tickets.find_many([external_id, missing])
    if external_id not in shown:
        todo = "answer GET /tickets?ids=… or each ticket is asked for by itself, every 5 minutes"
        yield warn("several at once", "are not shown", todo)
    elif missing in shown:
        yield bad("several at once", "show one that is not there", "leave out what there is not")
    else:
        yield ok("several at once", "are shown, without the one that is not there")


def _comments(asked: Asked) -> Iterator[Line]:
    client = Client(asked.url, bearer(asked.token), transport=asked.transport)
    answer = as_object(client.get(f"/tickets/{asked.open}/comments", none_for=NO_COMMENTS))
    shown = answer.get("comments")
    todo = "answer GET /tickets/…/comments if engineers shall ask by /access in a comment"
    if shown is None:
        yield warn("comments shown", "are none", todo)
    elif all(set(_COMMENT) <= set(as_object(one)) for one in as_list(shown)):
        yield ok("comments shown", "can be read")
    else:
        yield bad("comments shown", "are not whole", f"each has {', '.join(_COMMENT)}")


def _comment(tickets: GenericTickets, external_id: str | None) -> Iterator[Line]:
    if external_id is None:
        yield warn("a comment", "was not written", "name a ticket for it with --comment-on")
        return
    key, text = f"conformance-{secrets.token_hex(8)}", "A comment of `broker tickets conformance`."
    try:
        for _ in range(2):
            tickets.comment(external_id, key, text)
    except CommentRefused as error:
        todo = "set BROKER_TICKETS__COMMENTS=false if it takes none"
        yield warn("a comment", error.message, todo)
        return
    says = f"was taken twice under one key; see that {external_id} shows it once"
    yield ok("a comment", says)
