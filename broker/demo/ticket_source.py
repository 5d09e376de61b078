"""A small ticket system, as a process of its own: what the demo's broker mirrors tickets from.

`python -m broker.demo.ticket_source --port 0 --port-file F` listens on 127.0.0.1 and writes its
port to F when it answers. Everything asks for the bearer token TICKET_SOURCE_TOKEN:

    GET  /tickets/{id}          {"id", "title", "customer", "closed", "reopened", "url"}, or 404
    GET  /tickets?ids=a,b       {"tickets": [those that are there]}
    POST /tickets               {"title", "customer", "id"?} makes one: 201; 409 if the id is taken
    POST /tickets/{id}/close    and /reopen: the ticket as it then is
    POST /tickets/{id}/move     {"customer"}: it is another's from now on
    DELETE /tickets/{id}        204
    POST /tickets/{id}/comments {"key", "text"}, once for each key; an engineer's has "author" too,
                                and is announced. GET lists them
    POST /webhooks              {"enabled": false} loses every change from now on: for fault tests

Each change is announced to TICKET_SOURCE_WEBHOOK_URL by a Standard Webhook signed with
TICKET_SOURCE_WEBHOOK_SECRET (`whsec_` and base64): `{"type", "timestamp", "data"}`, where `type` is
`ticket.created`, `.closed` or `.reopened` and `data` the ticket. It is tried a few times and then
lost: a webhook is only a hint, and the broker polls. The ticket `probe` is always there and open.
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import queue
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import httpx
from flask import Flask, Response, jsonify, request, url_for
from standardwebhooks import Webhook
from werkzeug.exceptions import BadRequest, Conflict, Forbidden, NotFound, Unauthorized
from werkzeug.serving import WSGIRequestHandler, make_server

from broker.secret import Secret

HOST = "127.0.0.1"
PROBE = "probe"
_ID = re.compile(r"[A-Za-z0-9-]{1,40}")
_WAITS_S = (0.0, 0.2, 1.0, 3.0)  # before each try of a webhook


@dataclass(frozen=True, slots=True)
class Ticket:
    id: str
    title: str
    customer: str
    closed: bool = False
    reopened: int = 0  # how often


@dataclass(frozen=True, slots=True)
class Comment:
    """`author` is an address; the broker's own have none. All are internal here."""

    id: str
    author: str
    text: str
    at: str
    internal: bool = True


class Announcer:
    """Sends webhooks one after another from its own thread, so that no request waits for them."""

    def __init__(self, url: str | None, secret: Secret[str] | None) -> None:
        self.enabled = url is not None and secret is not None
        self._url = url or ""
        self._webhook = Webhook(secret.reveal()) if secret is not None else None
        self._queue: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def announce(self, kind: str, ticket: dict[str, object]) -> None:
        if self.enabled and self._webhook is not None:
            instant = datetime.now(UTC).isoformat(timespec="milliseconds")
            body = json.dumps({"type": kind, "timestamp": instant, "data": ticket})
            self._queue.put((f"msg_{secrets.token_hex(12)}", body))

    def _run(self) -> None:
        while True:
            message_id, body = self._queue.get()
            for wait_s in _WAITS_S:
                time.sleep(wait_s)
                if self._send(message_id, body):
                    break

    def _send(self, message_id: str, body: str) -> bool:
        """One try; the same message id each time, a fresh instant and signature."""
        if self._webhook is None:
            return False
        now = datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(message_id, now, body),
        }
        try:
            return httpx.post(self._url, content=body, headers=headers, timeout=5).is_success
        except httpx.HTTPError:
            return False


@dataclass(slots=True)
class TicketBook:
    """The tickets, in memory; each change is announced."""

    announcer: Announcer
    url_of: Callable[[str], str]
    _tickets: dict[str, Ticket] = field(default_factory=dict)
    _comments: dict[str, dict[str, Comment]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._tickets[PROBE] = Ticket(PROBE, "Probe of the connection", "nobody")

    def get(self, ticket_id: str) -> dict[str, object]:
        with self._lock:
            if ticket_id not in self._tickets:
                raise NotFound
            return self._shown(self._tickets[ticket_id])

    def add(self, title: str, customer: str, ticket_id: str | None) -> dict[str, object]:
        with self._lock:
            if ticket_id in self._tickets:
                raise Conflict
            free = (name for n in count(1001) if (name := f"T-{n}") not in self._tickets)
            return self._put(Ticket(ticket_id or next(free), title, customer), "ticket.created")

    def find_all(self, ticket_ids: Sequence[str]) -> list[dict[str, object]]:
        with self._lock:
            return [self._shown(self._tickets[one]) for one in ticket_ids if one in self._tickets]

    def mark(self, ticket_id: str, *, closed: bool) -> dict[str, object]:
        with self._lock:
            was = self._get_changeable(ticket_id)
            more = int(was.closed and not closed)
            ticket = replace(was, closed=closed, reopened=was.reopened + more)
            return self._put(ticket, "ticket.closed" if closed else "ticket.reopened")

    def move(self, ticket_id: str, customer: str) -> dict[str, object]:
        with self._lock:
            ticket = replace(self._get_changeable(ticket_id), customer=customer)
            return self._put(ticket, "ticket.moved")

    def delete(self, ticket_id: str) -> None:
        with self._lock:
            self._get_changeable(ticket_id)
            del self._tickets[ticket_id]

    def comment(self, ticket_id: str, key: str, text: str, author: str) -> None:
        said = Comment(key, author, text, datetime.now(UTC).isoformat(timespec="milliseconds"))
        with self._lock:
            if ticket_id not in self._tickets:
                raise NotFound
            self._comments.setdefault(ticket_id, {}).setdefault(key, said)
            if author:
                self._announce("ticket.commented", self._tickets[ticket_id])

    def list_comments(self, ticket_id: str) -> list[dict[str, object]]:
        with self._lock:
            return [asdict(one) for one in self._comments.get(ticket_id, {}).values()]

    def _get_changeable(self, ticket_id: str) -> Ticket:
        if ticket_id not in self._tickets:
            raise NotFound
        if ticket_id == PROBE:
            raise Forbidden
        return self._tickets[ticket_id]

    def _put(self, ticket: Ticket, kind: str) -> dict[str, object]:
        self._tickets[ticket.id] = ticket
        self._announce(kind, ticket)
        return self._shown(ticket)

    def _announce(self, kind: str, ticket: Ticket) -> None:
        self.announcer.announce(kind, self._shown(ticket))

    def _shown(self, ticket: Ticket) -> dict[str, object]:
        return {**asdict(ticket), "url": self.url_of(ticket.id)}


def make_app(token: Secret[str], announcer: Announcer) -> Flask:
    app = Flask(__name__)
    book = TicketBook(announcer, lambda ticket: url_for("show", ticket=ticket, _external=True))
    expected = f"Bearer {token.reveal()}".encode()

    @app.before_request
    def check_token() -> None:
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, expected):
            raise Unauthorized

    _add_tickets(app, book)
    _add_care(app, book)

    @app.post("/webhooks")
    def switch_webhooks() -> Response:
        enabled = _json_object().get("enabled")
        if not isinstance(enabled, bool):
            raise BadRequest
        announcer.enabled = enabled
        return jsonify(enabled=enabled)

    return app


def _add_tickets(app: Flask, book: TicketBook) -> None:
    @app.get("/tickets/<ticket>")
    def show(ticket: str) -> Response:
        return jsonify(book.get(ticket))

    @app.post("/tickets")
    def create() -> tuple[Response, int]:
        return jsonify(book.add(*_new_ticket())), 201

    @app.post("/tickets/<ticket>/close")
    def close(ticket: str) -> Response:
        return jsonify(book.mark(ticket, closed=True))

    @app.post("/tickets/<ticket>/reopen")
    def reopen(ticket: str) -> Response:
        return jsonify(book.mark(ticket, closed=False))


def _add_care(app: Flask, book: TicketBook) -> None:
    @app.get("/tickets")
    def show_several() -> Response:
        return jsonify(tickets=book.find_all(request.args.get("ids", "").split(",")))

    @app.post("/tickets/<ticket>/move")
    def move(ticket: str) -> Response:
        return jsonify(book.move(ticket, _text("customer")))

    @app.delete("/tickets/<ticket>")
    def delete(ticket: str) -> tuple[str, int]:
        book.delete(ticket)
        return "", 204

    @app.post("/tickets/<ticket>/comments")
    def comment(ticket: str) -> tuple[str, int]:
        book.comment(ticket, _text("key"), _text("text"), str(_json_object().get("author") or ""))
        return "", 201

    @app.get("/tickets/<ticket>/comments")
    def show_comments(ticket: str) -> Response:
        return jsonify(comments=book.list_comments(ticket))


def _new_ticket() -> tuple[str, str, str | None]:
    fields = _json_object()
    title, customer, ticket = (fields.get(name) for name in ("title", "customer", "id"))
    if not isinstance(title, str) or not isinstance(customer, str):
        raise BadRequest
    if ticket is None:
        return title, customer, None
    if not isinstance(ticket, str) or not _ID.fullmatch(ticket):
        raise BadRequest
    return title, customer, ticket


def _text(name: str) -> str:
    value = _json_object().get(name)
    if not isinstance(value, str):
        raise BadRequest
    return value


def _json_object() -> dict[str, object]:
    fields = request.get_json()
    if not isinstance(fields, dict):
        raise BadRequest
    return fields


class _QuietHandler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: the demo's terminal belongs to the broker."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="broker.demo.ticket_source")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path, help="written when the port is open")
    parser.add_argument("--webhook-url", default=os.environ.get("TICKET_SOURCE_WEBHOOK_URL"))
    options = parser.parse_args(arguments)
    token = os.environ.get("TICKET_SOURCE_TOKEN")
    secret = os.environ.get("TICKET_SOURCE_WEBHOOK_SECRET")
    if not token:
        sys.exit("set TICKET_SOURCE_TOKEN to the bearer token that clients must show")
    if options.webhook_url and not secret:
        sys.exit("set TICKET_SOURCE_WEBHOOK_SECRET, or no webhook can be signed")
    announcer = Announcer(options.webhook_url, Secret(secret) if secret else None)
    app = make_app(Secret(token), announcer)
    server = make_server(HOST, options.port, app, threaded=True, request_handler=_QuietHandler)
    if options.port_file:
        # Renamed into place, so that nobody reads half a number.
        written = options.port_file.with_suffix(".part")
        written.write_text(str(server.server_port))
        written.replace(options.port_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
