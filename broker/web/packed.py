"""Styles and scripts go over the wire packed (gzip). Pages do not.

What must stay true: only files that are the same for everybody are packed. A page holds a form's
token beside text that others chose: packed, its length would tell of the token (BREACH).
"""

from __future__ import annotations

import gzip
from functools import lru_cache

from flask import Flask, Response, request

_TYPES = frozenset({"text/css", "text/javascript", "application/javascript"})


def set_up(app: Flask) -> None:
    app.after_request(_pack)


def _pack(answer: Response) -> Response:
    is_file = (request.endpoint or "").endswith(".static")
    if not is_file or answer.status_code != 200 or answer.mimetype not in _TYPES:
        return answer
    answer.vary.add("Accept-Encoding")
    if request.accept_encodings.quality("gzip") == 0:
        return answer
    answer.direct_passthrough = False
    answer.set_data(_packed(answer.get_data()))
    answer.headers["Content-Encoding"] = "gzip"
    tag, _ = answer.get_etag()
    if tag is not None:
        answer.set_etag(tag, weak=True)  # of what is in it, not of these bytes
    return answer


@lru_cache(maxsize=64)
def _packed(content: bytes) -> bytes:
    """As small as it gets, once: `mtime` is none, so that it is the same each time."""
    return gzip.compress(content, 9, mtime=0)
