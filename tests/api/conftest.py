"""The application in this process, on the world's control database, with a token per person."""

from __future__ import annotations

import base64
import dataclasses
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from broker import signin
from broker.bootstrap import Broker
from broker.secret import Secret
from broker.settings import Tickets
from broker.tx import Actor
from tests import apps
from tests.world import World

WEBHOOK_SECRET = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


@dataclass
class Api:
    """Sends requests as a person; what is answered is looked at by the test."""

    world: World
    app: Flask
    webhook_secret: str
    _tokens: dict[str, str] = field(default_factory=dict)

    def token(self, actor: Actor) -> str:
        assert actor.person_id is not None
        if actor.person_id not in self._tokens:
            with self.world.as_(actor) as tx:
                self._tokens[actor.person_id] = signin.create_token(tx, "test", 1)[1].reveal()
        return self._tokens[actor.person_id]

    def send(
        self, actor: Actor | None, method: str, path: str, body: object = None
    ) -> TestResponse:
        headers = {} if actor is None else {"Authorization": f"Bearer {self.token(actor)}"}
        return self.app.test_client(use_cookies=False).open(
            f"/api/v1{path}", method=method, json=body, headers=headers
        )

    def get(self, actor: Actor | None, path: str) -> TestResponse:
        return self.send(actor, "GET", path)

    def post(self, actor: Actor | None, path: str, body: object = None) -> TestResponse:
        return self.send(actor, "POST", path, body)

    def ask(self, ticket_id: str, **more: object) -> TestResponse:
        """The engineer's request, well-formed unless `more` says otherwise."""
        body = {
            "ticket": ticket_id,
            "database": self.world.database_id,
            "category": "customer_report",
            "reason": "the customer reports wrong totals on three orders",
            "live_s": 3600,
            "copy_s": 86400,
        }
        return self.post(self.world.engineer, "/grants", {**body, **more})


def with_tickets(broker: Broker, webhook_secret: str) -> Broker:
    """The same broker with a ticket system set; nobody listens there."""
    tickets = Tickets(
        url="http://127.0.0.1:9",
        token=Secret("ticket-token"),
        webhook_secrets=[Secret(webhook_secret)],
    )
    settings = broker.settings.model_copy(update={"tickets": tickets})
    return dataclasses.replace(broker, settings=settings)


@pytest.fixture
def api(world: World) -> Iterator[Api]:
    broker = with_tickets(world.broker, WEBHOOK_SECRET)
    with apps.lend(broker, tickets=WEBHOOK_SECRET) as app:
        yield Api(world, app, WEBHOOK_SECRET)
