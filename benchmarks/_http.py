"""A caller of a JSON API over one kept connection: the same small work for all sides."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any

# Shorter than any server here keeps an idle connection: gunicorn, 2 seconds.
_IDLE_S = 1


class Api:
    def __init__(self, host: str, port: int, headers: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=120)
        self._headers = {"Content-Type": "application/json", **headers}
        self._used_at = 0.0

    def call(
        self, method: str, path: str, body: object = None, more: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and answer; `more` are headers of this call alone."""
        content = json.dumps(body).encode() if body is not None else None
        if time.monotonic() - self._used_at > _IDLE_S:
            self._connection.close()  # it connects again by itself
        self._connection.request(method, path, content, {**self._headers, **(more or {})})
        answer = self._connection.getresponse()
        text = answer.read()
        self._used_at = time.monotonic()
        return answer.status, json.loads(text) if text else None

    def call_raw(self, method: str, path: str) -> int:
        """The status of an answer that may be a file; it is read to its end."""
        if time.monotonic() - self._used_at > _IDLE_S:
            self._connection.close()
        self._connection.request(method, path, None, self._headers)
        answer = self._connection.getresponse()
        answer.read()
        self._used_at = time.monotonic()
        return answer.status

    def ok(self, method: str, path: str, body: object = None) -> Any:
        status, answer = self.call(method, path, body)
        assert status < 300, f"{method} {path} answered {status}: {answer}"
        return answer
