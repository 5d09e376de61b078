"""How an operation of the API is declared: its route, what it takes, what it answers.

What must stay true: an operation is closed unless it says `public=True`; it runs as the person
whose token was sent, in one transaction in which its answer is also made, so that no row outlives
it; what it answers are the fields that its schema names and no others.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import marshmallow as ma
from flask import Response, current_app, g, request
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser

from broker import signin
from broker.api.retried import Retry
from broker.bootstrap import Broker
from broker.db import Json
from broker.errors import NotAuthenticated
from broker.ids import TokenId
from broker.secret import Secret
from broker.signin import SignedIn
from broker.tx import Tx, system

View = Callable[..., Any]
PREFIX = "/api/v1"


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
) -> Callable[[View], View]:
    """Declare a view at `route`, e.g. `GET /grants/<id:grant_id>`.

    The view is called as `view(tx, body_or_query, **ids)`, without `tx` when `transaction` is
    False: then it opens its own, by `acting`. Its docstring is the text in the specification.
    `answer` is a schema, or describes a `Response` that the view makes itself; `secret` says that
    it shows a secret once, so that it is never kept for a retry.
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

        @functools.wraps(inner)
        def run(**ids: str) -> Response:
            g.signed_in = g.opened = None
            if public:
                return _response(inner(**ids))
            with contextlib.ExitStack() as opened:
                tx = opened.enter_context(_authenticated())
                retry = Retry(_token_id(), secret=secret)
                before = retry.find_answer(tx)
                if before is not None:
                    return before
                if transaction:
                    made = _response(inner(tx, **ids))
                    retry.keep(tx, made)
                    return made
                g.opened = (opened, tx)
                made = _response(inner(**ids))
                retry.keep_after(the_broker().database, tx, made)
                return made

        blueprint.add_url_rule(path, view.__name__, run, methods=[method])
        return view

    return declare


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
