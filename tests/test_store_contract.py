"""What every store keeps: the same tests over the folder, and over S3 on a real server of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker.errors import Conflict, Invalid, NotFound, VerificationFailed
from broker.sealing import new_data_key
from broker.secret import Secret
from broker.snapshots.artifacts import delete_all, opened_object, put_sealed
from broker.stores import Store, StoredObject, StoreUnavailable
from broker.stores.folder import FolderStore
from broker.stores.s3 import Bucket, BucketLogin, S3Store
from tests.seaweed import Seaweed, seaweed

PREFIX = "snapshots/snp_a/"
NAME = PREFIX + "public.orders"
LARGE = 20_000_000  # three parts


@dataclass
class Kept:
    """A store, and how to change an object behind its back."""

    store: Store
    tamper: Callable[[str, bytes], None] = field(repr=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    with seaweed(tmp_path_factory.mktemp("seaweed"), {"looker": ["List", "Read"]}) as running:
        yield running


def bucket_store(
    server: Seaweed, bucket: str, base: str = "", encryption: str | None = None
) -> S3Store:
    where = Bucket(bucket, base, server.endpoint, "us-east-1", encryption)
    return S3Store(where, BucketLogin(Secret(server.admin.key), Secret(server.admin.secret)))


@pytest.fixture(
    params=[
        "folder",
        "bucket with versions",
        pytest.param("bucket under a base", marks=pytest.mark.long),
    ]
)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param == "folder":
        folder = tmp_path / "store"
        store = FolderStore.create_folder(folder)
        return Kept(store, lambda name, content: _write(folder / name, content))
    server: Seaweed = request.getfixturevalue("server")
    bucket, base = server.new_bucket(), "copies/eu/" if "base" in request.param else ""
    if "versions" in request.param:
        enabled = {"Status": "Enabled"}
        server.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
    elsewhere = server.client()
    elsewhere.put_object(Bucket=bucket, Key="not-ours", Body=b"") if base else None

    def tamper(name: str, content: bytes) -> None:
        elsewhere.put_object(Bucket=bucket, Key=base + name, Body=content)

    return Kept(bucket_store(server, bucket, base), tamper)


def _write(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def put(store: Store, name: str, content: bytes = b"sealed") -> None:
    with store.create(name) as sink:
        sink.write(content)


def names(store: Store, prefix: str = "") -> list[str]:
    return [stored.name for stored in store.list_all(prefix)]


def test_what_was_put_is_read_back_and_listed(kept: Kept) -> None:
    content = secrets.token_bytes(1000) * (LARGE // 1000)
    put(kept.store, NAME, content)
    put(kept.store, PREFIX + "empty", b"")
    with kept.store.open(NAME) as source:
        assert source.read() == content
        assert source.read(1) == b""
        source.seek(0)
        assert source.read(5) == content[:5]
        source.seek(9_000_000)
        assert source.read(5) == content[9_000_000:][:5]
    listed = {(one.name, one.size_bytes, one.unfinished) for one in kept.store.list_all(PREFIX)}
    assert listed == {(NAME, LARGE, False), (PREFIX + "empty", 0, False)}


def test_a_name_that_is_taken_is_a_conflict_and_keeps_its_content(kept: Kept) -> None:
    put(kept.store, NAME, b"first")
    for content in (b"second", bytes(LARGE)):
        with pytest.raises(Conflict):
            put(kept.store, NAME, content)
    with kept.store.open(NAME) as source:
        assert source.read() == b"first"
    assert len([one for one in kept.store.list_all("") if not one.unfinished]) == 1


@pytest.mark.parametrize("size", [6, LARGE])
def test_of_two_writers_of_one_name_one_loses_and_the_other_is_whole(kept: Kept, size: int) -> None:
    def race() -> None:
        with kept.store.create(NAME) as slow:
            slow.write(b"s" * size)
            put(kept.store, NAME, b"quick")

    with pytest.raises(Conflict):
        race()
    with kept.store.open(NAME) as source:
        assert source.read() == b"quick"


@pytest.mark.parametrize("size", [6, LARGE])
def test_what_breaks_half_way_has_no_name_and_leaves_nothing_that_stays(
    kept: Kept, size: int
) -> None:
    def fail() -> None:
        with kept.store.create(NAME) as sink:
            sink.write(b"x" * size)
            with pytest.raises(NotFound), kept.store.open(NAME):
                pass
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all(one.unfinished for one in kept.store.list_all(PREFIX))
    delete_all(kept.store, PREFIX)
    assert names(kept.store) == []


def test_deleting_is_idempotent_and_takes_exactly_what_was_listed(kept: Kept) -> None:
    put(kept.store, NAME)
    put(kept.store, "snapshots/snp_ab/manifest")
    (ours,) = kept.store.list_all(PREFIX)
    kept.store.delete(ours)
    kept.store.delete(ours)
    assert names(kept.store) == ["snapshots/snp_ab/manifest"]
    with pytest.raises(NotFound), kept.store.open(NAME):
        pass
    put(kept.store, NAME, b"again")
    assert names(kept.store, PREFIX) == [NAME]


def test_a_prefix_lists_its_own_and_all_of_it(kept: Kept) -> None:
    for i in range(25):
        put(kept.store, f"{PREFIX}{i}")
    put(kept.store, "snapshots/snp_ab/manifest")
    assert len(names(kept.store, PREFIX)) == 25
    assert names(kept.store, "snapshots/snp_c/") == []
    assert len(names(kept.store)) == 26
    with pytest.raises(Invalid):
        kept.store.list_all(PREFIX + "public")


@pytest.mark.parametrize("name", ["", "/", "a/", "/a", "a//b", "..", "a/../b", "a/.b", "A", "a\n"])
def test_a_name_that_could_mean_another_place_is_refused(kept: Kept, name: str) -> None:
    with pytest.raises(Invalid):
        put(kept.store, name)
    with pytest.raises(Invalid), kept.store.open(name):
        pass


@pytest.mark.parametrize("change", ["lost", "cut", "appended", "flipped", "swapped"])
def test_a_byte_that_is_not_as_it_was_sealed_is_an_error_that_names_the_object(
    kept: Kept, change: str
) -> None:
    key, identity = new_data_key(), "snp_a"
    sealed = put_sealed(kept.store, PREFIX, "rows", key, identity, secrets.token_bytes(200_000))
    put_sealed(kept.store, PREFIX, "other", key, identity, secrets.token_bytes(200_000))
    with kept.store.open(PREFIX + "rows") as source:
        right = source.read()
    with kept.store.open(PREFIX + "other") as source:
        other = source.read()
    flipped = right[:100] + bytes([right[100] ^ 1]) + right[101:]
    wrong = {"cut": right[:-1], "appended": right + b"\0", "flipped": flipped, "swapped": other}
    if change == "lost":
        for stored in kept.store.list_all(PREFIX + ""):
            if stored.name == PREFIX + "rows":
                kept.store.delete(stored)
    else:
        kept.tamper(PREFIX + "rows", wrong[change])
    with (
        pytest.raises(VerificationFailed, match="rows"),
        opened_object(kept.store, PREFIX, sealed, key, identity) as blocks,
    ):
        list(blocks)


def test_every_version_and_marker_is_listed_and_can_be_deleted(server: Seaweed) -> None:
    """G8: what a bucket keeps behind a name counts as there."""
    bucket = server.new_bucket()
    enabled = {"Status": "Enabled"}
    server.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
    for content in (b"one", b"two"):
        server.client().put_object(Bucket=bucket, Key=NAME, Body=content)
    server.client().delete_object(Bucket=bucket, Key=NAME)
    store = bucket_store(server, bucket)
    with pytest.raises(NotFound), store.open(NAME):
        pass
    assert len(list(store.list_all(PREFIX))) == 3
    assert delete_all(store, PREFIX) == 3
    assert list(store.list_all("")) == []


def test_an_upload_of_a_writer_that_died_is_listed_as_unfinished(server: Seaweed) -> None:
    bucket = server.new_bucket()
    server.client().create_multipart_upload(Bucket=bucket, Key=NAME)
    store = bucket_store(server, bucket)
    (left,) = store.list_all(PREFIX)
    assert left.unfinished
    store.delete(left)
    store.delete(left)
    assert list(store.list_all("")) == []


def test_a_bucket_that_is_not_there_is_unavailable_not_empty(server: Seaweed) -> None:
    store = bucket_store(server, "no-such-bucket")
    acts: list[Callable[[], object]] = [
        lambda: list(store.list_all("")),
        lambda: store.open(NAME).__enter__(),
        lambda: put(store, NAME),
    ]
    for act in acts:
        with pytest.raises(StoreUnavailable):
            act()


def test_a_login_that_may_not_is_told_by_the_objects_name(server: Seaweed) -> None:
    bucket = server.new_bucket()
    put(bucket_store(server, bucket), NAME)
    looker = server.logins["looker"]
    where = Bucket(bucket, "", server.endpoint, "us-east-1")
    looking = S3Store(where, BucketLogin(Secret(looker.key), Secret(looker.secret)))
    (seen,) = looking.list_all("")
    assert seen.name == NAME
    with pytest.raises(StoreUnavailable, match=r"public\.orders.*AccessDenied"):
        looking.delete(seen)
    stranger = S3Store(where, BucketLogin(Secret("nobody"), Secret("nothing")))
    with pytest.raises(StoreUnavailable) as refused:
        list(stranger.list_all(""))
    assert "nothing" not in str(refused.value)


def test_a_service_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    store = S3Store(
        Bucket("any", "", "http://127.0.0.1:9", "us-east-1"),
        BucketLogin(Secret("a"), Secret("b")),
    )
    for act in (
        lambda: list(store.list_all("")),
        lambda: store.delete(StoredObject(NAME, 1)),
        lambda: put(store, NAME),
    ):
        with pytest.raises(StoreUnavailable):
            act()


def test_an_object_that_is_locked_is_not_called_deleted(server: Seaweed) -> None:
    bucket = server.new_bucket(lock=True)
    held = {"Mode": "COMPLIANCE", "Days": 1}
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": held}}
    server.client().put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=rule)
    store = bucket_store(server, bucket)
    assert store.find_lock()
    put(store, NAME)
    (stored,) = store.list_all("")
    with pytest.raises(StoreUnavailable, match=r"public\.orders"):
        store.delete(stored)
    assert names(store) == [NAME]
    assert not bucket_store(server, server.new_bucket()).find_lock()


def test_objects_are_encrypted_by_the_service_where_that_is_set(server: Seaweed) -> None:
    bucket = server.new_bucket()
    store = bucket_store(server, bucket, encryption="AES256")
    for name, size in ((NAME, 6), (PREFIX + "large", LARGE)):
        put(store, name, b"x" * size)
        told = server.client().head_object(Bucket=bucket, Key=name)
        assert told["ServerSideEncryption"] == "AES256"
        with store.open(name) as source:
            assert source.read() == b"x" * size


def test_what_is_held_loses_the_mark_by_which_the_bucket_ends_it(server: Seaweed) -> None:
    """Of a single request and of parts, and of each version."""
    bucket = server.new_bucket()
    enabled = {"Status": "Enabled"}
    server.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
    store = bucket_store(server, bucket)
    for name, size in ((NAME, 6), (PREFIX + "large", LARGE)):
        put(store, name, b"x" * size)
        (stored,) = (one for one in store.list_all("") if one.name == name)
        told = server.client().get_object_tagging(Bucket=bucket, Key=name)
        assert told["TagSet"] == [{"Key": "broker-end", "Value": "rule"}]
        store.spare(stored)
        store.spare(stored)
        assert not server.client().get_object_tagging(Bucket=bucket, Key=name)["TagSet"]


def test_the_service_tells_its_time(server: Seaweed) -> None:
    assert bucket_store(server, server.new_bucket()).read_clock().tzinfo is not None
