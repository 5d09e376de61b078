"""`ETag` and `If-Match`: an edit says which form of a thing it was made from.

What must stay true: the form is compared and changed under one lock, in one transaction; so of two
who edit the same form, one is told that it is no longer what they saw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import sqlalchemy as sa
from flask import Response, request

from broker.errors import Conflict
from broker.tx import Tx

Show = Callable[..., Response]


class ChangedMeanwhile(Conflict):
    """What was to be edited is no longer in the form that `If-Match` names."""

    type = "changed-meanwhile"


def put_tag(answer: Response) -> Response:
    """Name the form that is shown; whoever has it already gets 304 and no body."""
    if answer.status_code == 200:
        answer.set_etag(_tag(answer))
        answer.make_conditional(request)
    return answer


def check_unchanged(tx: Tx, show: Show, ids: Mapping[str, str]) -> None:
    """Wait for other edits of the thing that `show` shows; then compare. Raises ChangedMeanwhile.

    Without `If-Match` nothing is compared: the edit is meant whatever stands there.
    """
    name = f"edit {show.__name__} {sorted(ids.items())}"
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    tx.session.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
    if "If-Match" not in request.headers:
        return
    if not request.if_match.contains(_tag(show(tx, **ids))):
        raise ChangedMeanwhile("it was changed since you read it; read it again, then edit that")


def _tag(answer: Response) -> str:
    return hashlib.sha256(answer.get_data()).hexdigest()[:32]
