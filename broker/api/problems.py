"""Errors as problem+json (RFC 9457): a stable `type`, a title, a sentence, and facts for machines.

Every "not found" has the same words, whatever was looked for and why it is not shown: an answer
about another tenant's thing can't be told from an answer about nothing (G12).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Response
from werkzeug.exceptions import HTTPException

from broker import errors
from broker.api.editing import ChangedMeanwhile
from broker.errors import BrokerError
from broker.languages import mark
from broker.tickets import WebhookRefused

NOT_FOUND = mark("there is no such thing, or you may not see it")
MEDIA_TYPE = "application/problem+json"
_STATUS: tuple[tuple[type[BrokerError], int], ...] = (
    (errors.Invalid, 422),
    (errors.NotAuthenticated, 401),
    (WebhookRefused, 401),
    (errors.Denied, 403),
    (errors.NotFound, 404),
    (ChangedMeanwhile, 412),
    (errors.Conflict, 409),
    (errors.TooMany, 429),
    (errors.Unavailable, 503),
)


def find_status(error: BrokerError) -> int:
    return status_of(type(error))


def status_of(kind: type[BrokerError]) -> int:
    return next((status for family, status in _STATUS if issubclass(kind, family)), 400)


def problem(error: BrokerError, status: int, host: str) -> Response:
    """The answer for an error. `host` is the vendor's, in whose name problem types stand."""
    hidden = isinstance(error, errors.NotFound)
    kind = errors.NotFound.type if hidden else error.type
    document = {
        **({} if hidden else error.facts),
        "type": f"https://{host}/problems/{kind}",
        "title": kind.replace("-", " "),
        "status": status,
        "detail": NOT_FOUND if hidden else error.message,
    }
    answer = Response(json.dumps(document), status, mimetype=MEDIA_TYPE)
    if status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    if "retry_after_s" in error.facts:
        answer.headers["Retry-After"] = str(error.facts["retry_after_s"])
    return answer


class BadRequest(BrokerError):
    """The request itself can't be read: its method, size, form or host."""

    type = "bad-request"


def from_http(error: HTTPException) -> tuple[BrokerError, int]:
    """What Flask, Werkzeug and webargs raise, as one of ours, with its status."""
    status = error.code or 500
    messages = getattr(error, "data", {}).get("messages")
    if messages is not None:
        fields = dict(_flat(messages))
        return errors.Invalid("what was sent can't be meant; see each field", fields=fields), 422
    if status == 404:
        return errors.NotFound(NOT_FOUND), status
    return BadRequest(error.description or error.name), status


def _flat(messages: Mapping[str, Any]) -> list[tuple[str, str]]:
    """`{"json": {"a": {0: ["bad"]}}}` as `a.0: bad`; the place where it was sent is dropped."""
    found: list[tuple[str, str]] = []

    def walk(path: tuple[str, ...], part: Any) -> None:
        if isinstance(part, Mapping):
            for key, value in part.items():
                walk((*path, str(key)), value)
        else:
            found.append((".".join(path[1:]) or "body", " ".join(map(str, part))))

    walk((), messages)
    return found
