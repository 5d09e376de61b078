"""Sessions on a tenant's objects, on a real token service: G2, G3, G11, G12."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from broker import lifecycle, storages, worker
from broker.errors import Conflict, Denied, Invalid, NotFound
from broker.grants import shown_plans
from broker.grants.narrowing import Narrowing
from broker.grants.requests import GrantRefused
from broker.secret import Secret
from broker.settings import Sts
from broker.stores.sts import StsSessions
from broker.tx import system
from tests.grants.storages import Waiting, register_storage, request
from tests.seaweed import ROLE, Login, Seaweed, seaweed
from tests.stories import control_superuser, skip, sweep
from tests.world import World, enrol

pytestmark = pytest.mark.long  # the command line's test keeps the whole way in the short ones


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    with seaweed(tmp_path_factory.mktemp("seaweed")) as running:
        yield running


@pytest.fixture
def bucket(service: Seaweed, world: World) -> str:
    """Two tenants' objects; the world's workers ask this token service."""
    name = service.new_bucket()
    for key in ("tenant-a/in/one", "tenant-a/in/two", "tenant-a/other", "tenant-b/in/one"):
        service.client().put_object(Bucket=name, Key=key, Body=key.encode())
    settings = Sts(
        role=ROLE,
        endpoint=service.endpoint,
        region="us-east-1",
        access_key=Secret(service.admin.key),
        secret_key=Secret(service.admin.secret),
    )
    use(world, settings)
    return name


def use(world: World, settings: Sts) -> None:
    """From now on the world's workers ask this token service."""
    world.ports = dataclasses.replace(world.ports, sessions=StsSessions(settings, ROLE))
    world.broker.queue_app.tasks.clear()
    worker.register(world.broker, world.ports, None)


def granted(world: World, bucket: str) -> str:
    grant_id = request(world, register_storage(world, "tenant-a/in/", bucket=bucket))
    world.approve(grant_id, Narrowing())
    return grant_id


def test_a_session_reads_what_the_plan_names_and_nothing_else(
    world: World, service: Seaweed, bucket: str
) -> None:
    grant_id = granted(world, bucket)
    with world.as_(world.admin) as tx:
        plan = shown_plans.get_plan(tx, grant_id, world.grant(grant_id).asked_digest)
    assert plan.storage is not None
    assert (plan.storage.bucket, plan.storage.prefix) == (bucket, "tenant-a/in/")
    waiting = Waiting(world, grant_id)
    world.work()
    given = waiting.fetch()
    client = service.client(
        Login(given["AccessKeyId"], given["SecretAccessKey"]), token=given["SessionToken"]
    )
    inside = client.get_object(Bucket=bucket, Key="tenant-a/in/one")["Body"].read()
    assert inside == b"tenant-a/in/one"
    listed = client.list_objects_v2(Bucket=bucket, Prefix="tenant-a/in/")["Contents"]
    assert [one["Key"] for one in listed] == ["tenant-a/in/one", "tenant-a/in/two"]
    refused = [
        lambda: client.get_object(Bucket=bucket, Key="tenant-a/other"),
        lambda: client.get_object(Bucket=bucket, Key="tenant-b/in/one"),
        lambda: client.list_objects_v2(Bucket=bucket),
        lambda: client.list_objects_v2(Bucket=bucket, Prefix="tenant-b/"),
        lambda: client.put_object(Bucket=bucket, Key="tenant-a/in/new", Body=b""),
        lambda: client.delete_object(Bucket=bucket, Key="tenant-a/in/one"),
    ]
    for act in refused:
        with pytest.raises(ClientError, match="AccessDenied"):
            act()
    assert given["Expiration"] <= world.find_lease(waiting.lease_id).ends_at.isoformat()


def test_it_is_fetched_once_and_lies_nowhere_in_clear(world: World, bucket: str) -> None:
    """G11: sealed to the one client that waits, and forgotten when it was fetched."""
    waiting = Waiting(world, granted(world, bucket))
    world.work()
    given = waiting.fetch()
    with pytest.raises(Conflict):
        waiting.fetch()
    lease = world.find_lease(waiting.lease_id)
    assert lease.sealed is None
    with control_superuser(world) as control:
        kept = str(control.execute("SELECT * FROM lease").fetchall())
        kept += str(control.execute("SELECT * FROM procrastinate_jobs").fetchall())
    told = json.dumps(world.entries(), default=str)
    for secret in (given["SecretAccessKey"], given["SessionToken"]):
        assert secret not in kept + told


def test_an_end_is_not_called_done_while_the_session_holds(
    world: World, service: Seaweed, bucket: str
) -> None:
    """G3: nobody can cut one session, so it is `revoking` until its own end is past."""
    grant_id = granted(world, bucket)
    waiting = Waiting(world, grant_id)
    world.work()
    with world.as_(world.admin) as tx:
        lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)
    sweep(world)
    assert world.find_lease(waiting.lease_id).state == "revoking"
    with pytest.raises(Conflict):
        waiting.fetch()
    skip(world, timedelta(seconds=961 + 60))
    sweep(world)
    assert world.find_lease(waiting.lease_id).state == "revoked"
    kinds = [one["kind"] for one in world.entries() if one["subject"] == waiting.lease_id]
    assert kinds == ["lease.asked", "lease.issued", "lease.revoking", "lease.expired"]


def test_no_session_is_given_that_would_outlive_its_grant(world: World, bucket: str) -> None:
    """G3: services give none under 900 s, so what is left must be more."""
    storage_id = register_storage(world, "tenant-a/in/", bucket=bucket)
    with pytest.raises(Invalid) as short:
        request(world, storage_id, storage_s=899)
    assert "900 seconds" in short.value.facts["fields"]["storage_s"]
    grant_id = request(world, storage_id, storage_s=3600)
    with pytest.raises(Invalid):
        world.approve(grant_id, Narrowing(storage_s=3601))
    world.approve(grant_id, Narrowing(storage_s=930))
    with pytest.raises(GrantRefused, match="no session is as short"):
        Waiting(world, grant_id)


def test_a_session_of_a_grant_that_ended_meanwhile_is_never_given(
    world: World, bucket: str
) -> None:
    grant_id = granted(world, bucket)
    waiting = Waiting(world, grant_id)
    with world.as_(world.admin) as tx:
        lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)
    world.work()
    with pytest.raises(Conflict):
        waiting.fetch()
    assert world.find_lease(waiting.lease_id).sealed is None


def test_a_service_that_refuses_leaves_a_reason_and_no_session(world: World, bucket: str) -> None:
    grant_id = granted(world, bucket)
    nowhere = "http://127.0.0.1:9"
    use(world, Sts(endpoint=nowhere, access_key=Secret("a"), secret_key=Secret("b")))
    waiting = Waiting(world, grant_id)
    world.work()
    lease = world.find_lease(waiting.lease_id)
    assert lease.state == "pending"
    assert "token service" in (lease.stuck_reason or "")


def test_the_same_objects_are_no_other_tenants(world: World) -> None:
    """G12: no two tenants' prefixes lie in each other."""
    register_storage(world, "tenant-a/in/")
    other, _ = enrol(world, "Second tenant")
    for prefix in ("tenant-a/", "tenant-a/in/", "tenant-a/in/deep/"):
        with pytest.raises(Conflict):
            register_storage(world, prefix, other)
    elsewhere = register_storage(world, "tenant-b/in/", other)
    with pytest.raises(NotFound):
        request(world, elsewhere)
    with world.as_(world.engineer) as tx, pytest.raises(Denied):
        storages.register(tx, world.tenant, "S", "objects", "mine/")


def test_a_storage_that_is_removed_ends_what_rests_on_it(world: World, bucket: str) -> None:
    storage_id = register_storage(world, "tenant-a/in/", bucket=bucket)
    grant_id = request(world, storage_id)
    with world.as_(world.operator) as tx:
        lifecycle.remove_storage(tx, storage_id, world.broker.queue)
    assert world.grant(grant_id).state == "ended"
    with world.as_(system("tests")) as tx, pytest.raises(NotFound):
        storages.get_storage(tx, storage_id)
