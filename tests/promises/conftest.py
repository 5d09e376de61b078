"""The running product: its HTTP application, its jobs and sweeps, on real servers; shared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from broker.embedded import EmbeddedServer
from broker.http import create_app
from broker.tx import Actor, system
from tests.api.conftest import Api
from tests.world import ControlTemplate, World, build_world, clone_crm, find_crm_marks


class Product:
    """What people send, as they send it, and what they are told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.api = Api(world, create_app(world.broker), "")

    def ask(self, **more: Any) -> TestResponse:
        """The engineer asks, on a ticket of its own unless `ticket` names one."""
        return self.api.ask(more.pop("ticket", None) or self.world.ticket(), **more)

    def asked(self, **more: Any) -> str:
        answer = self.ask(**more)
        assert answer.status_code == 201, answer.text
        self.world.work()
        identity: str = answer.json["id"]
        return identity

    def approve(self, grant_id: str, **narrowing: Any) -> TestResponse:
        digest = self.api.get(self.world.admin, f"/grants/{grant_id}/plan").json["digest"]
        body = {"shown_digest": digest, **narrowing}
        return self.api.post(self.world.admin, f"/grants/{grant_id}/approve", body)

    def approved(self, **more: Any) -> str:
        grant_id = self.asked(**more)
        answer = self.approve(grant_id)
        assert answer.status_code == 200, answer.text
        return grant_id

    def withdraw(self, purpose: str) -> TestResponse:
        path = f"/tenants/{self.world.tenant}/consents/withdraw"
        return self.api.post(self.world.admin, path, {"purpose": purpose})

    def consent(self, *purposes: str) -> None:
        path = f"/tenants/{self.world.tenant}/consents"
        for one in self.api.get(self.world.admin, path).json["items"]:
            if one["purpose"] in purposes and one["state"] != "live":
                body = {"purpose": one["purpose"], "shown_digest": one["digests"]["en"]}
                assert self.api.post(self.world.admin, path, body).status_code == 201

    def mails(self, actor: Actor) -> list[tuple[str, str]]:
        """(subject, text) of all that was written to a person."""
        with self.world.as_(system("tests")) as tx:
            query = sa.text("SELECT subject, text FROM mail WHERE person_id = :p ORDER BY id")
            return [(r.subject, r.text) for r in tx.session.execute(query, {"p": actor.person_id})]


@pytest.fixture(scope="package")
def running(
    control_template: ControlTemplate,
    live_server: EmbeddedServer,
    test_server: EmbeddedServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Product]:
    marks = find_crm_marks(live_server)
    crm, folder = clone_crm(live_server), tmp_path_factory.mktemp("promises")
    with build_world(control_template, live_server, test_server, folder, crm, marks) as world:
        yield Product(world)


@pytest.fixture
def product(running: Product) -> Iterator[Product]:
    """As a test finds it: both consents given, the true time after it."""
    clock = running.world.broker.database._clock
    running.consent("live_access", "test_copy")
    yield running
    running.world.broker.database._clock = clock
