"""`Idempotency-Key` on a POST: done once, answered again (see `broker.idempotency`)."""

from __future__ import annotations

import hashlib

from flask import Response, request

from broker import idempotency
from broker.db import Database
from broker.idempotency import Kept
from broker.ids import TokenId
from broker.tx import Tx

HEADER = "Idempotency-Key"


class Retry:
    """The key of this request, or none; used once."""

    def __init__(self, token_id: TokenId, *, secret: bool) -> None:
        sent = request.headers.get(HEADER) if request.method == "POST" else None
        self._key = None if sent is None else idempotency.read_key(sent)
        self._token_id = token_id
        self._secret = secret

    def find_answer(self, tx: Tx) -> Response | None:
        """What was answered before; None when `tx` is to do it. Raises as `idempotency.begin`."""
        if self._key is None:
            return None
        kept = idempotency.begin(tx, self._token_id, self._key, _digest_of_request())
        if kept is None:
            return None
        answer = Response(kept.body, kept.status, mimetype="application/json")
        answer.headers["Idempotency-Replayed"] = "true"
        return answer

    def keep(self, tx: Tx, answer: Response) -> None:
        if self._key is not None:
            kept = Kept(answer.status_code, answer.get_data())
            idempotency.keep(tx, self._token_id, self._key, kept, secret=self._secret)

    def keep_after(self, database: Database, tx: Tx, answer: Response) -> None:
        """For what was done in transactions of its own, that are over."""
        if self._key is not None:
            with database.begin(tx.actor) as keeping:
                self.keep(keeping, answer)


def _digest_of_request() -> bytes:
    parts = (request.method, request.full_path)
    head = "\n".join(parts).encode(errors="surrogatepass")
    return hashlib.sha256(head + b"\n" + request.get_data()).digest()
