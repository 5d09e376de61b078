"""How an operation of the API is declared: its route, what it takes, what it answers.

What must stay true: an operation is closed unless it says `public=True`; it runs as the person
whose token was sent, in one transaction in which its answer is also made, so that no row outlives
it; what it answers are the fields that its schema names and no others.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import marshmallow as ma
from flask import Response, after_this_request, current_app, g, request
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser

from broker import signin
from broker.api.editing import Show, check_unchanged, put_tag
from broker.api.rates import Rates, check
from broker.api.retried import Retry
from broker.bootstrap import Broker
from broker.db import Json
from broker.errors import Denied, NotAuthenticated
from broker.ids import TokenId
from broker.secret import Secret
from broker.sessions import SignedIn
from broker.tx import Tx, system

View = Callable[..., Any]
PREFIX = "/api/v1"
RATES = "broker.api.rates"
MEDIA = "x-media"  # in the document while it is made, as the next is
EDITS = "x-edits"  # in the document while it is made: this one reads `If-Match`
ANY_TOKEN = "any"  # noqa: S105  # a scope that every token has
_SHOWN: dict[View, Show] = {}  # views that are tagged, as they answer


class _Parser(FlaskParser):
    """A filter whose name is misspelt is an error: ignored, it would list more than was meant."""

    DEFAULT_UNKNOWN_BY_LOCATION = {  # noqa: RUF012  # as the library declares it
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": ma.RAISE,
    }


def new_blueprint(name: str, description: str) -> Blueprint:
    blueprint = Blueprint(name, __name__, url_prefix=PREFIX, description=description)
    blueprint.ARGUMENTS_PARSER = _Parser()
    return blueprint


def the_broker() -> Broker:
    broker: Broker = current_app.extensions["broker"]
    return broker


def operation(
    blueprint: Blueprint,
    route: str,
    *,
    answer: type[ma.Schema] | Json | None = None,
    status: int = 200,
    takes: type[ma.Schema] | None = None,
    query: type[ma.Schema] | None = None,
    public: bool = False,
    transaction: bool = True,
    secret: bool = False,
    tagged: bool = False,
    edits: View | None = None,
    scope: str | None = None,
    media: Collection[str] = (),
) -> Callable[[View], View]:
    """Declare a view at `route`, e.g. `GET /grants/<id:grant_id>`.

    The view is called as `view(tx, body_or_query, **ids)`, without `tx` when `transaction` is
    False: then it opens its own, by `acting`. Its docstring is the text in the specification.
    `answer` is a schema, or describes a `Response` that the view makes itself; `secret` says that
    it shows a secret once, so that it is never kept for a retry. `tagged`: it shows what may be
    edited, and names the form (`ETag`); `edits` is the view that shows what this one edits, in the
    form that this one answers too. `scope` is which limited tokens may: none, where it is None,
    but for a GET, which all may. `media` are the types of a file that it answers, where that is no
    JSON.
    """
    method, path = route.split(" ")

    def declare(view: View) -> View:
        inner = view
        if takes is not None:
            inner = blueprint.arguments(takes)(inner)
        if query is not None:
            inner = blueprint.arguments(query, location="query")(inner)
        inner = blueprint.response(status, answer)(inner)
        security: list[Json] = [] if public else [{"token": []}]
        inner = blueprint.doc(security=security, operationId=view.__name__)(inner)
        if media:
            inner = blueprint.doc(**{MEDIA: sorted(media)})(inner)
        if edits is not None:
            inner = blueprint.doc(**{EDITS: True})(inner)
        if tagged:
            _SHOWN[view] = inner
        shows = _SHOWN[edits] if edits is not None else None
        allowed = ANY_TOKEN if method == "GET" else scope
        act = _Act(inner, transaction, secret, tagged or shows is not None, shows, allowed)

        @functools.wraps(inner)
        def run(**ids: str) -> Response:
            g.signed_in = g.opened = None
            return _response(inner(**ids)) if public else _run(act, ids)

        blueprint.add_url_rule(path, view.__name__, run, methods=[method])
        return view

    return declare


@dataclass(frozen=True, slots=True)
class _Act:
    """An operation as it runs for who is signed in: what `operation` was told of it."""

    inner: View
    transaction: bool
    secret: bool
    tagged: bool
    shows: Show | None
    scope: str | None


def _run(act: _Act, ids: dict[str, str]) -> Response:
    with contextlib.ExitStack() as opened:
        tx = opened.enter_context(_authenticated())
        check_scope(signed_in(), act.scope)
        retry = Retry(_token_id(), secret=act.secret)
        before = retry.find_answer(tx)
        if before is not None:
            return before
        if not act.transaction:
            g.opened = (opened, tx)
            made = _response(act.inner(**ids))
            retry.keep_after(the_broker().database, tx, made)
            return made
        if act.shows is not None:
            check_unchanged(tx, act.shows, ids)
        made = _response(act.inner(tx, **ids))
        retry.keep(tx, made)
        return put_tag(made) if act.tagged else made


def check_scope(person: SignedIn, scope: str | None) -> None:
    """Raises Denied for what a limited token may not do, whatever its person may."""
    scopes = person.scopes
    if scopes is None or scope == ANY_TOKEN or scope in scopes:
        return
    words = ", ".join(sorted(scopes)) or "reading"
    raise Denied(f"this token is limited to {words}; this takes another one", scope=scope)


def _token_id() -> TokenId:
    token_id = signed_in().token_id
    assert token_id is not None  # noqa: S101  # for the type checker: a token was found
    return token_id


def _response(made: Any) -> Response:
    assert isinstance(made, Response)  # noqa: S101  # for the type checker: smorest makes nothing else
    return Response(status=204) if made.status_code == 204 else made


@contextlib.contextmanager
def _authenticated() -> Iterator[Tx]:
    """A transaction as the person who sent the token, which was checked in it.

    A cookie is never looked at, so no other site can act through one.
    """
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not sent:
        raise NotAuthenticated("send an API token: Authorization: Bearer brk_…")
    _count(sent.strip())
    database, token = the_broker().database, Secret(sent.strip())
    with database.begin(system("api")) as tx:
        found = signin.find_token(tx, token)
        if found is None:
            raise NotAuthenticated("this token is unknown, has lapsed or was ended; sign in again")
        if found.use_unnoted:
            with database.begin(system("api")) as noting:
                signin.note_use(noting, token)
        g.signed_in = found
        yield replace(tx, actor=found.actor)


def _count(token: str) -> None:
    """Raises TooMany; tells the client what it has left, whatever comes of its request."""
    rates: Rates = current_app.extensions[RATES]
    left = rates.take(token, time.monotonic())
    if left is not None:
        after_this_request(lambda answer: rates.put(answer, left))
        check(left)


@contextlib.contextmanager
def acting() -> Iterator[Tx]:
    """For an operation that opens its own transactions. The first is the one in which its token
    was checked; it is over with the block, as every other is.
    """
    if g.opened is None:
        with the_broker().database.begin(signed_in().actor) as tx:
            yield tx
    else:
        (opened, tx), g.opened = g.opened, None
        with opened.pop_all():
            yield tx


def signed_in() -> SignedIn:
    """The person behind this request, in an operation that is not public."""
    person: SignedIn | None = g.signed_in
    if person is None:
        raise NotAuthenticated("nobody is signed in")
    return person
