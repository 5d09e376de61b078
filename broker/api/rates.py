"""How often a token may ask, and what it is told of it.

A token has as many requests as `web.requests_per_minute` says, and they come back evenly (the
generic cell rate algorithm): there is no minute's end to wait for. Each process counts for itself
(ADR 0025).

What must stay true: it is decided before anything is asked of the control database, and for a
token of which nothing exists as for any other; memory is bounded.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass

from flask import Response

from broker.errors import TooMany

WINDOW_S = 60
_MOST_TOKENS = 10_000  # known at once; who asked longest ago is forgotten, and has all again


@dataclass(frozen=True, slots=True)
class Left:
    """`requests` that may be made now, and in how many seconds it is all of them again.

    `come_back_s` is 0, or how long to wait since this one may not be made.
    """

    requests: int
    full_in_s: int
    come_back_s: int


def take(full_at: float, now: float, most: int) -> tuple[float, Left]:
    """One request off what is left. `full_at` is when all would be back: then, and as it is now.

    >>> take(0.0, 100.0, 60)
    (101.0, Left(requests=59, full_in_s=1, come_back_s=0))
    """
    each_s = WINDOW_S / most
    after = max(full_at, now) + each_s
    over_s = after - now - WINDOW_S
    if over_s > 1e-9:  # a hair's breadth of rounding refuses nobody
        return full_at, Left(0, math.ceil(full_at - now), math.ceil(over_s))
    left = int((WINDOW_S - (after - now)) / each_s + 1e-9)
    return after, Left(left, math.ceil(after - now), 0)


class Rates:
    """What each token has left in this process; `most` a minute, 0: as many as are wanted."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._full_at: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, token: str, now: float) -> Left | None:
        """`now` is of a clock that only goes on, in seconds. None where there is no limit."""
        if not self.most:
            return None
        key = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        with self._lock:
            self._full_at[key], left = take(self._full_at.get(key, now), now, self.most)
            self._full_at.move_to_end(key)
            if len(self._full_at) > _MOST_TOKENS:
                self._full_at.popitem(last=False)
        return left

    def put(self, answer: Response, left: Left) -> Response:
        """The headers of draft-ietf-httpapi-ratelimit-headers."""
        answer.headers["RateLimit-Policy"] = f'"token";q={self.most};w={WINDOW_S}'
        answer.headers["RateLimit"] = f'"token";r={left.requests};t={left.full_in_s}'
        return answer


def check(left: Left) -> None:
    if left.come_back_s:
        raise TooMany(
            f"this token asks too often; come back in {left.come_back_s} s",
            retry_after_s=left.come_back_s,
        )
