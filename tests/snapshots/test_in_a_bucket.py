"""A copy whose sealed objects lie in a bucket: made, reset, destroyed; and what goes wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from broker import lifecycle, worker
from broker.secret import Secret
from broker.snapshots import holds, ordering
from broker.stores.s3 import Bucket, BucketLogin, S3Store
from broker.tx import system
from tests.seaweed import Login, Seaweed, seaweed
from tests.stories import ready_copy, skip, sweep
from tests.world import World, add_person

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    # This service lets none list versions and uploads who may not read.
    logins = {
        "looker": ["List", "Read"],
        "writer": ["Read", "Write", "List", "Tagging"],
        "reader": ["Read", "List"],
    }
    with seaweed(tmp_path_factory.mktemp("seaweed"), logins) as running:
        yield running


@dataclass
class InBucket:
    """A world whose store is a bucket with versions; looks have a login that may only list."""

    world: World
    service: Seaweed
    bucket: str

    def through(self, login: Login, endpoint: str = "") -> S3Store:
        where = Bucket(self.bucket, "copies/", endpoint or self.service.endpoint, "us-east-1")
        return S3Store(where, BucketLogin(Secret(login.key), Secret(login.secret)))

    def use(self, store: S3Store, listing: S3Store) -> None:
        world = self.world
        world.ports = dataclasses.replace(world.ports, store=store, listing=listing)
        world.broker.queue_app.tasks.clear()
        worker.register(world.broker, world.ports, None)

    def list_keys(self) -> list[str]:
        """Of every version, marker and upload, as the bucket's owner lists them."""
        client = self.service.client()
        page = client.list_object_versions(Bucket=self.bucket)
        uploads = client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        listed = (*page.get("Versions", []), *page.get("DeleteMarkers", []), *uploads)
        return sorted(one["Key"] for one in listed)


@pytest.fixture
def there(world: World, service: Seaweed) -> InBucket:
    bucket = service.new_bucket()
    enabled = {"Status": "Enabled"}
    service.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
    made = InBucket(world, service, bucket)
    made.use(made.through(service.logins["writer"]), made.through(service.logins["looker"]))
    return made


def reset(world: World, snapshot_id: str) -> None:
    with world.as_(world.engineer) as tx:
        ordering.ask_reset(tx, snapshot_id, world.broker.queue)
    world.work()


def condemn(world: World, snapshot_id: str) -> None:
    with world.as_(world.admin) as tx:
        lifecycle.condemn_by_click(tx, snapshot_id, world.broker.queue)
    world.work()


def test_a_copy_in_a_bucket_is_made_reset_and_destroyed(there: InBucket) -> None:
    """G8: nothing of it is left, nor any version, marker or unfinished upload."""
    world = there.world
    _, snapshot_id = ready_copy(world)
    assert len(there.list_keys()) > 2
    reset(world, snapshot_id)
    assert world.snapshot(snapshot_id).state == "ready"
    assert world.snapshot(snapshot_id).stuck_reason is None
    condemn(world, snapshot_id)
    world.work()
    assert world.snapshot(snapshot_id).state == "destroyed", world.snapshot(
        snapshot_id
    ).stuck_reason
    assert there.list_keys() == ["copies/decoys/look"]


def test_a_hold_takes_the_mark_away_by_which_the_bucket_ends_a_copy(there: InBucket) -> None:
    world, client = there.world, there.service.client()
    _, snapshot_id = ready_copy(world)

    def marked() -> set[str]:
        keys = [key for key in there.list_keys() if snapshot_id in key]
        assert len(keys) > 2
        tagged = (client.get_object_tagging(Bucket=there.bucket, Key=key) for key in keys)
        return {tag["Value"] for one in tagged for tag in one["TagSet"]} or {"none"}

    assert marked() == {"rule"}
    with world.as_(system("tests")) as tx:
        officer = add_person(tx, "privacy_officer", None)
    with world.as_(officer) as tx:
        why = "a dispute about invoices needs this copy as evidence"
        hold_id = holds.ask(tx, snapshot_id, holds.Ask(why, 30, None), world.broker.queue)
    with world.as_(world.admin) as tx:
        holds.decide(tx, hold_id, agree=True, queue=world.broker.queue)
    condemn(world, snapshot_id)
    assert marked() == {"none"}


def test_an_object_that_was_changed_is_named_and_nothing_of_it_is_loaded(there: InBucket) -> None:
    world = there.world
    _, snapshot_id = ready_copy(world)
    key = next(key for key in there.list_keys() if "contacts" in key or key.endswith("/manifest"))
    there.service.client().put_object(Bucket=there.bucket, Key=key, Body=b"changed")
    reset(world, snapshot_id)
    assert key.rpartition("/")[2] in str(world.snapshot(snapshot_id).stuck_reason)


def try_again(world: World, times: int) -> None:
    """Let the longest wait between two tries pass once more, and sweep."""
    skip(world, timedelta(seconds=301 * times))
    sweep(world)


def test_a_store_that_deletes_nothing_keeps_the_copy_condemned_until_it_does(
    there: InBucket,
) -> None:
    """G7: a login that may only read, then a service that is down; each is told and retried."""
    world, logins = there.world, there.service.logins
    looking = there.through(logins["looker"])
    _, snapshot_id = ready_copy(world)
    there.use(there.through(logins["reader"]), looking)
    condemn(world, snapshot_id)
    snapshot = world.snapshot(snapshot_id)
    assert snapshot.state == "condemned"
    assert "AccessDenied" in str(snapshot.stuck_reason)
    there.use(there.through(logins["writer"], "http://127.0.0.1:9"), looking)
    try_again(world, 1)
    assert "artifact: " in str(world.snapshot(snapshot_id).stuck_reason)
    there.use(
        there.through(logins["writer"]), there.through(logins["looker"], "http://127.0.0.1:9")
    )
    try_again(world, 2)
    assert world.snapshot(snapshot_id).state == "condemned"  # who can't list has seen nothing
    there.use(there.through(logins["writer"]), looking)
    try_again(world, 3)
    assert world.snapshot(snapshot_id).state == "destroyed"
