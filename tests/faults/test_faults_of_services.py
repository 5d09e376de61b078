"""What a bucket and a key server do wrong, behind doors: SeaweedFS and OpenBao, real ones.

Both speak HTTP, so an answer that is not the server's own is written here, word by word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from broker.keys import openbao
from broker.keys.openbao import OpenBaoKeys, Transit
from broker.secret import Secret
from broker.stores import s3
from broker.stores.s3 import Bucket, BucketLogin, S3Store
from tests.faults.behind import Behind
from tests.faults.door import (
    Cut,
    Door,
    Fault,
    Hung,
    Refused,
    SaidDone,
    SaidFailed,
    Slow,
    door_of_tcp,
    to_port,
)
from tests.keys.conftest import bao  # noqa: F401  # a fixture
from tests.seaweed import Seaweed, seaweed

pytestmark = pytest.mark.long
DELETE = b"DELETE /"


def answer(status: str, body: bytes = b"") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def s3_error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    with seaweed(tmp_path_factory.mktemp("seaweed")) as running:
        yield running


@pytest.fixture
def bucket(behind: Behind, service: Seaweed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """The store is a bucket with versions, behind a door; straight it is the same bucket.

    Only the door is waited for shortly: a bucket's first object can take the server a while.
    """
    name, client = service.new_bucket(), service.client()
    enabled = {"Status": "Enabled"}
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration=enabled)
    login = BucketLogin(Secret(service.admin.key), Secret(service.admin.secret))
    straight = S3Store(Bucket(name, "copies/", service.endpoint, "us-east-1"), login)
    monkeypatch.setattr(s3, "_READ_S", 1)
    monkeypatch.setattr(s3, "_TRIES", 1)
    port = urlsplit(service.endpoint).port or 0
    with door_of_tcp(to_port(port)) as (door, through):
        endpoint = f"http://127.0.0.1:{through}"
        wrong = S3Store(Bucket(name, "copies/", endpoint, "us-east-1"), login)
        with behind.using(store=straight, listing=None), behind.through(store=wrong):
            yield door


OF_BUCKET: dict[str, Callable[[], list[Fault]]] = {
    "refused": lambda: [Refused()],
    "hung": lambda: [Hung(DELETE)],
    "cut at byte n": lambda: [Cut(n) for n in (0, 20, 150)],
    "said done, not done": lambda: [SaidDone(DELETE, answer("204 No Content"))],
    "out of space": lambda: [SaidDone(b"PUT /", answer("507 Full", s3_error("NoSpace")))],
    "read-only": lambda: [SaidDone(DELETE, answer("403 No", s3_error("AccessDenied")))],
}


@pytest.mark.parametrize("fault", OF_BUCKET)
def test_a_bucket_that_deletes_nothing_keeps_the_copy_condemned_until_it_does(
    behind: Behind, bucket: Door, fault: str
) -> None:
    for wrong in OF_BUCKET[fault]():
        snapshot_id = behind.condemned()
        with bucket.misbehaving(wrong):
            behind.end(snapshot_id)
            assert behind.is_stuck(snapshot_id)
        behind.finish(snapshot_id)


@pytest.mark.parametrize("fault", ["done, said failed", "slow"])
def test_a_bucket_that_does_it_and_says_little_of_it_ends_the_copy(
    behind: Behind, bucket: Door, fault: str
) -> None:
    snapshot_id = behind.condemned()
    with bucket.misbehaving(Slow() if fault == "slow" else SaidFailed(DELETE)):
        behind.end(snapshot_id)
    behind.finish(snapshot_id)


@pytest.fixture
def key_server(
    behind: Behind,
    bao: tuple[str, str],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Door]:
    url, token = bao
    token_file = tmp_path / "token"
    token_file.touch(mode=0o600)
    token_file.write_text(token)
    folder = behind.broker.settings.keys.keyring
    assert folder is not None
    straight = OpenBaoKeys(folder, Transit(url, token_file))
    monkeypatch.setattr(openbao, "_TIMEOUT_S", 1)
    with door_of_tcp(to_port(urlsplit(url).port or 0)) as (door, through):
        wrong = OpenBaoKeys(folder, Transit(f"http://127.0.0.1:{through}", token_file))
        with behind.using(keys=straight), behind.through(keys=wrong):
            yield door


OF_KEY_SERVER: dict[str, Callable[[], list[Fault]]] = {
    "refused": lambda: [Refused()],
    "hung": lambda: [Hung(DELETE)],
    "cut at byte n": lambda: [Cut(n) for n in (0, 20, 150)],
    "said done, not done": lambda: [SaidDone(DELETE, answer("204 No Content"))],
    "out of space": lambda: [SaidDone(DELETE, answer("500 Full", b'{"errors":["no space"]}'))],
    "read-only": lambda: [SaidDone(DELETE, answer("403 No", b'{"errors":["denied"]}'))],
}


@pytest.mark.parametrize("fault", OF_KEY_SERVER)
def test_a_key_server_that_erases_nothing_keeps_the_copy_condemned_until_it_does(
    behind: Behind, key_server: Door, fault: str
) -> None:
    snapshot_id = behind.condemned()
    for wrong in OF_KEY_SERVER[fault]():
        with key_server.misbehaving(wrong):
            behind.end(snapshot_id)
            assert behind.is_stuck(snapshot_id)
    behind.finish(snapshot_id)


@pytest.mark.parametrize("fault", ["done, said failed", "slow"])
def test_a_key_server_that_does_it_and_says_little_of_it_ends_the_copy(
    behind: Behind, key_server: Door, fault: str
) -> None:
    snapshot_id = behind.condemned()
    with key_server.misbehaving(Slow() if fault == "slow" else SaidFailed(DELETE)):
        behind.end(snapshot_id)
    behind.finish(snapshot_id)
