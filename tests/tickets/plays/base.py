"""A small server that plays a vendor's documented API, over its real HTTP application.

The payloads are written after the vendor's public documentation; the server is not the vendor's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
from flask import Flask, Response, jsonify, request

from broker.secret import Secret
from broker.tickets import FetchedTicket, TicketSystem
from broker.tickets.driver import Account
from broker.tickets.signatures import Hooks

NOW = 1_790_000_000.0  # the clock of these tests
TOKEN = Secret("a-token-that-shows")
OLD, NEW = Secret("the old webhook secret"), Secret("the new webhook secret")
BASE = "https://desk.example"
AGENT = "erin@vendor.test"
ASKS = "/access read 2h the totals are wrong"
WRITTEN = "2026-09-21T10:00:00Z"


@dataclass
class Said:
    ticket: str
    text: str
    internal: bool


@dataclass
class Play:
    """One vendor. `tickets` are its documents by id; `expected` is how the open one is read."""

    expected: FetchedTicket
    closed: tuple[str, ...]  # ids, each closed in a way of its own
    gone: str
    locked: str | None  # takes no comment
    broken: dict[str, Any]  # a document that is not whole, under the open one's id
    tickets: dict[str, Any]
    unmapped: tuple[str, ...] = ()  # without a customer, or with several
    said: list[Said] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    wait: bool = False  # answer 429
    public: tuple[str, ...] = ()  # paths that ask for no login
    window_s: int | None = 300  # what a webhook may be old; None: it says no instant
    remembers: bool = True  # its webhooks have an id
    signed: bool = True  # they are signed, not only accompanied by their secret
    internal: bool = True  # its comments can be hidden from the customer
    speaks: bool = True  # it says who wrote a comment
    remarks: list[dict[str, Any]] = field(default_factory=list)  # on the open ticket

    def remark(self, text: str, *, hidden: bool = True, **changes: Any) -> dict[str, Any]:
        """A comment as this vendor shows it, by the agent `AGENT`."""
        raise NotImplementedError

    def strangers(self) -> list[dict[str, Any]]:
        """Comments that speak to us and are not of the vendor's people, or seen by others."""
        return [self.remark(ASKS, hidden=False)]

    def login(self) -> str:
        """The header that the vendor wants."""
        return f"Bearer {TOKEN.reveal()}"

    def build(self, account: Account) -> TicketSystem:
        raise NotImplementedError

    def add_routes(self, app: Flask) -> None:
        raise NotImplementedError

    def sign(
        self, external_id: str, secret: Secret[str], at_s: float
    ) -> tuple[dict[str, str], bytes]:
        """Headers and body of a webhook about this ticket."""
        raise NotImplementedError

    def break_open(self) -> None:
        """The open ticket is answered with `broken` from now on."""
        self.tickets[self.expected.external_id] = self.broken

    def driver(
        self,
        *,
        token: Secret[str] = TOKEN,
        secrets: Iterable[Secret[str]] = (OLD, NEW),
        now: float = NOW,
    ) -> Any:
        hooks = Hooks(tuple(secrets), clock=lambda: now)
        transport = httpx.WSGITransport(app=self.make_app())  # type: ignore[arg-type]
        return self.build(
            Account(
                BASE,
                token,
                self.expected.external_id,
                hooks=hooks,
                transport=transport,
                **self.more(),
            )
        )

    def more(self) -> dict[str, Any]:
        return {}

    def make_app(self) -> Flask:
        app = Flask("play")

        @app.before_request
        def check() -> Response | tuple[Response, int, dict[str, str]] | None:
            self.asked.append(request.full_path.rstrip("?"))
            if self.wait:
                return jsonify(error="too many"), 429, {"Retry-After": "37"}
            if request.path in self.public:
                return None
            if request.headers.get("Authorization") != self.login():
                return self.refuse()
            return None

        self.add_routes(app)
        return app

    def refuse(self) -> Any:
        return jsonify(error="Couldn't authenticate you"), 401


Make = Callable[[], Play]
