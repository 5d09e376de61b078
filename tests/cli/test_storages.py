"""`broker storages`: registered, asked for, a session printed once, and its end told as it is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from broker import bootstrap, worker
from broker.secret import Secret
from broker.settings import Sts
from tests.cli.conftest import Desk
from tests.seaweed import ROLE, Login, Seaweed, seaweed
from tests.world import World


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    with seaweed(tmp_path_factory.mktemp("seaweed")) as running:
        yield running


@pytest.fixture
def world(world: World, service: Seaweed) -> World:
    """The world, with a token service in its settings."""
    sts = Sts(
        role=ROLE,
        endpoint=service.endpoint,
        region="us-east-1",
        access_key=Secret(service.admin.key),
        secret_key=Secret(service.admin.secret),
    )
    settings = world.broker.settings.model_copy(update={"sts": sts})
    world.broker = dataclasses.replace(world.broker, settings=settings)
    world.ports = bootstrap.build_ports(world.broker)
    world.broker.queue_app.tasks.clear()
    worker.register(world.broker, world.ports, None)
    return world


def test_a_storage_from_registration_to_a_session_and_its_end(desk: Desk, service: Seaweed) -> None:
    world, bucket = desk.world, service.new_bucket()
    for key in ("one/in/a", "two/in/a"):
        service.client().put_object(Bucket=bucket, Key=key, Body=key.encode())
    operator = desk.terminal("operator", world.operator)
    engineer = desk.terminal("engineer", world.engineer)
    admin = desk.terminal("admin", world.admin)
    named = ("--tenant", world.tenant, "--name", "Imports", "--bucket", bucket)
    refused = operator.try_("storages", "create", *named, "--prefix", "one/*/")
    assert "ending in '/'" in refused.output
    storage = operator.json("storages", "create", *named, "--prefix", "one/in/")
    (listed,) = engineer.json("storages", "list", "--tenant", world.tenant)
    assert engineer.json("storages", "show", listed["id"]) == listed
    assert (listed["id"], listed["prefix"]) == (storage["id"], "one/in/")

    with desk.worker():
        asked = engineer.json(
            *("grants", "request", "--ticket", world.ticket(), "--database", world.database_id),
            *("--reason", "the customer reports a file", "--storage", storage["id"]),
            *("--sessions", "1h", "--wait", "60s"),
        )
        plan = admin.run("grants", "plan", asked["id"])
        assert f"under {bucket}/one/in/" in plan
        told = admin.run("grants", "approve", asked["id"], "--sessions", "30m", stdin="y\n")
        assert "You would give: its storage for 30m" in told
        given = json.loads(engineer.run("storages", "session", asked["id"]))
    assert given["Version"] == 1
    secret = given["SecretAccessKey"].encode()
    assert not [body for body in desk.wire.bodies if secret in body]
    client = service.client(
        Login(given["AccessKeyId"], secret.decode()), token=given["SessionToken"]
    )
    assert client.get_object(Bucket=bucket, Key="one/in/a")["Body"].read() == b"one/in/a"
    with pytest.raises(ClientError, match="AccessDenied"):
        client.get_object(Bucket=bucket, Key="two/in/a")

    (lease,) = admin.json("leases", "list", "--grant", asked["id"])
    assert (lease["kind"], lease["bucket"], lease["role"]) == ("storage", bucket, None)
    admin.run("leases", "end", lease["id"])
    assert engineer.json("leases", "show", lease["id"])["state"] == "revoking"
    assert "TokenIssueTime" in operator.run("storages", "cut-policy")
    operator.run("storages", "remove", storage["id"])
    assert admin.json("grants", "show", asked["id"])["state"] == "ended"
    gone = engineer.try_("storages", "session", asked["id"])
    assert gone.exit_code != 0
    assert "make a new request" in gone.output
