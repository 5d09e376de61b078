"""The demo's ticket system in this process, over its real HTTP application, and faults in front of
it: what the broker sees of tickets that are deleted, merged, moved or hidden.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from broker import ticketing
from broker.demo.ticket_source import PROBE, Announcer, make_app
from broker.secret import Secret
from broker.tickets import mirror
from broker.tickets.generic import GenericTickets
from broker.tickets.mirror import Ticket
from broker.tx import system
from tests.world import World

BASE = "https://desk.example"
_Start = Callable[[str, list[tuple[str, str]]], object]


@dataclass
class Faults:
    """A WSGI application before the true one: what it was told to answer for a path, it answers."""

    app: Callable[[dict[str, Any], _Start], Iterable[bytes]]
    answers: dict[str, tuple[str, dict[str, object] | None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    retry_after: str | None = None

    def __call__(self, environ: dict[str, Any], start: _Start) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.asked.append(path)
        if self.retry_after is not None:
            start("429 Too Many", [("Retry-After", self.retry_after)])
            return [b""]
        if path not in self.answers:
            return self.app(environ, start)
        status, document = self.answers[path]
        start(status, [("Content-Type", "application/json")])
        return [json.dumps(document).encode()]


@dataclass
class Desk:
    world: World
    faults: Faults
    client: httpx.Client
    tickets: GenericTickets

    def open(self, *, customer: str | None = None) -> str:
        """A new ticket of this world's tenant, or of `customer`: its id at the desk."""
        name = f"T-{secrets.token_hex(4)}"
        body = {"id": name, "title": "Totals", "customer": customer or self.world.customer}
        self.client.post("/tickets", json=body).raise_for_status()
        return name

    def look(self, name: str) -> Ticket | None:
        """One look; what is mirrored of the ticket then."""
        broker = self.world.broker
        ticketing.look_at(broker.database, broker.queue, self.tickets, name, broker.settings.times)
        return self.mirrored(name)

    def mirrored(self, name: str) -> Ticket | None:
        with self.world.as_(system("tests")) as tx:
            return mirror.find_ticket(tx, self.tickets.name, name)

    def given(self) -> tuple[str, str]:
        """A ticket, and a request that rests on it."""
        name = self.open()
        ticket = self.look(name)
        assert ticket is not None
        return name, self.world.request(ticket.id)

    def do(self, name: str, what: str, **fields: str) -> None:
        self.client.post(f"/tickets/{name}/{what}", json=fields).raise_for_status()

    def answer(self, name: str, status: str, document: dict[str, object] | None = None) -> None:
        self.faults.answers[f"/tickets/{name}"] = (status, document)
        self.faults.answers["/tickets"] = ("200 OK", {"tickets": []})

    def poll(self) -> int:
        broker = self.world.broker
        return ticketing.poll(broker.database, broker.queue, self.tickets, broker.settings.times)

    def follow(self, *, answering: bool = False) -> int:
        broker = self.world.broker
        return ticketing.follow_hints(
            broker.database, broker.queue, self.tickets, broker.settings.times, answering=answering
        )

    def hint(self, name: str) -> None:
        with self.world.as_(system("tests")) as tx:
            ticketing.take_hint(tx, self.world.broker.queue, self.tickets.name, name)

    def list_comments(self, name: str) -> list[str]:
        answer = self.client.get(f"/tickets/{name}/comments").json()
        return [one["text"] for one in answer["comments"]]

    def state(self, grant_id: str) -> str:
        return self.world.grant(grant_id).state


def open_desk(world: World) -> Desk:
    token = Secret(secrets.token_hex(16))
    faults = Faults(make_app(token, Announcer(None, None)))
    transport = httpx.WSGITransport(app=faults)  # type: ignore[arg-type]
    tickets = GenericTickets(BASE, token, [], PROBE, transport=transport)
    headers = {"Authorization": f"Bearer {token.reveal()}"}
    client = httpx.Client(base_url=BASE, headers=headers, transport=transport)
    return Desk(world, faults, client, tickets)
