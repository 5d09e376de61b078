"""`?wait=`: answering when something has happened, without holding a transaction meanwhile.

Few may wait at once in a process; beyond that the answer comes at once, with `Retry-After`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from flask import after_this_request
from flask.wrappers import Response

from broker.api.operations import acting, the_broker
from broker.tx import Tx

_EVERY_S = 0.2
PLACES = 4  # of 16 threads that a process has
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
            return _read_until(seconds, read, is_over, rung)
        finally:
            _places.release()


def act_and_wait(
    seconds: int,
    act: Callable[[Tx], str],
    read: Callable[[Tx, str], V],
    is_over: Callable[[V], bool],
) -> V:
    """Do what `act` does in one transaction, then wait as `wait_for` does for the id it returns.

    What it asked for is not there at its commit, so the first look is when somebody rings.
    """
    with contextlib.ExitStack() as waiting:
        with acting() as tx:
            identity = act(tx)
            if seconds == 0:
                return read(tx, identity)
            if not _places.acquire(blocking=False):
                after_this_request(_come_back)
                return read(tx, identity)
            waiting.callback(_places.release)
            # Before the commit: nobody can ring sooner.
            rung = waiting.enter_context(the_broker().database.bell.heard(identity))
        return _read_until(seconds, lambda tx: read(tx, identity), is_over, rung)


def _read_until(
    seconds: int, read: Callable[[Tx], V], is_over: Callable[[V], bool], rung: threading.Event
) -> V:
    until = time.monotonic() + seconds
    while True:
        rung.wait(_EVERY_S)
        rung.clear()
        found = _read(read)
        if is_over(found) or time.monotonic() >= until:
            return found


def _read(read: Callable[[Tx], V]) -> V:
    with acting() as tx:
        return read(tx)


def _come_back(answer: Response) -> Response:
    answer.headers["Retry-After"] = "2"
    return answer
