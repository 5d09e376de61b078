"""`?wait=`: answering when something has happened, without holding a transaction meanwhile.

Few may wait at once in a process; beyond that the answer comes at once, with `Retry-After`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from flask import after_this_request
from flask.wrappers import Response

from broker.api.operations import signed_in, the_broker
from broker.tx import Tx

_EVERY_S = 0.2
PLACES = 8  # of 16 threads that a process has
_places = threading.BoundedSemaphore(PLACES)
V = TypeVar("V")


def wait_for(
    seconds: int, read: Callable[[Tx], V], is_over: Callable[[V], bool], *, identity: str = ""
) -> V:
    """Read, each time in a new transaction, until `is_over` or the time is; return the last.

    Reads every so often, and at once when somebody rings for `identity`.
    """
    if seconds == 0:
        return _read(read)
    with the_broker().database.bell.heard(identity) as rung:  # before the first look: none is lost
        found = _read(read)
        if is_over(found):
            return found
        if not _places.acquire(blocking=False):
            after_this_request(_come_back)
            return found
        try:
            until = time.monotonic() + seconds
            while not is_over(found) and time.monotonic() < until:
                rung.wait(_EVERY_S)
                rung.clear()
                found = _read(read)
        finally:
            _places.release()
    return found


def _read(read: Callable[[Tx], V]) -> V:
    with the_broker().database.begin(signed_in().actor) as tx:
        return read(tx)


def _come_back(answer: Response) -> Response:
    answer.headers["Retry-After"] = "2"
    return answer
