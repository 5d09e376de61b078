"""The demo's ticket system, as its own process, and the webhooks that it sends."""

from __future__ import annotations

import base64
import os
import queue
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

TOKEN = secrets.token_urlsafe(16)
SECRET = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
DEADLINE_S = 20


@dataclass
class Receiver:
    """A real web server that keeps what is posted, and answers as told: 204 when not told."""

    answers: queue.SimpleQueue[int] = field(default_factory=queue.SimpleQueue)
    posted: queue.Queue[tuple[dict[str, str], bytes]] = field(default_factory=queue.Queue)
    url: str = ""

    def next(self) -> tuple[dict[str, str], bytes]:
        return self.posted.get(timeout=DEADLINE_S)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the standard library's name
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = 204 if kept.answers.empty() else kept.answers.get()
            kept.posted.put((dict(self.headers.items()), body))
            self.send_response(answer)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield kept
    server.shutdown()
    server.server_close()


def wait_for_port(process: subprocess.Popen[bytes], port_file: Path) -> int:
    deadline = time.monotonic() + DEADLINE_S
    while not port_file.exists():
        assert process.poll() is None, "the ticket source ended"
        assert time.monotonic() < deadline, "the ticket source did not start"
        time.sleep(0.02)
    return int(port_file.read_text())


@pytest.fixture(scope="module")
def source(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    port_file = tmp_path_factory.mktemp("source") / "port"
    process = subprocess.Popen(
        [sys.executable, "-m", "broker.demo.ticket_source", "--port-file", str(port_file)],
        env={
            **os.environ,
            "TICKET_SOURCE_TOKEN": TOKEN,
            "TICKET_SOURCE_WEBHOOK_SECRET": SECRET,
            "TICKET_SOURCE_WEBHOOK_URL": receiver.url,
        },
    )
    try:
        base_url = f"http://127.0.0.1:{wait_for_port(process, port_file)}"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=base_url, headers=headers) as client:
            yield client
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def create(source: httpx.Client, receiver: Receiver) -> str:
    answer = source.post("/tickets", json={"title": "Export fails", "customer": "acme"})
    assert answer.status_code == 201
    receiver.next()
    return str(answer.json()["id"])


def test_a_ticket_is_read_as_it_now_is(source: httpx.Client, receiver: Receiver) -> None:
    ticket = create(source, receiver)
    expected = {
        "id": ticket,
        "title": "Export fails",
        "customer": "acme",
        "closed": False,
        "reopened": 0,
        "url": f"{source.base_url}/tickets/{ticket}".replace("//tickets", "/tickets"),
    }
    assert source.get(f"/tickets/{ticket}").json() == expected
    assert source.post(f"/tickets/{ticket}/close").json() == {**expected, "closed": True}
    assert source.get(f"/tickets/{ticket}").json()["closed"]
    assert source.post(f"/tickets/{ticket}/reopen").json() == {**expected, "reopened": 1}
    for _ in range(2):
        receiver.next()


def test_a_change_is_announced_by_a_signed_webhook(
    source: httpx.Client, receiver: Receiver
) -> None:
    ticket = create(source, receiver)
    source.post(f"/tickets/{ticket}/close")
    headers, body = receiver.next()
    message = Webhook(SECRET).verify(body, headers)
    assert message["type"] == "ticket.closed"
    assert message["data"] == source.get(f"/tickets/{ticket}").json()
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace(b"true", b"false"), headers)


def test_a_refused_webhook_is_sent_again_under_the_same_id(
    source: httpx.Client, receiver: Receiver
) -> None:
    ticket = create(source, receiver)
    receiver.answers.put(503)
    source.post(f"/tickets/{ticket}/close")
    (first, first_body), (second, second_body) = receiver.next(), receiver.next()
    ids = [{k.lower(): v for k, v in h.items()}["webhook-id"] for h in (first, second)]
    assert ids[0] == ids[1]
    assert first_body == second_body


def test_webhooks_can_be_lost_on_purpose(source: httpx.Client, receiver: Receiver) -> None:
    lost, told = create(source, receiver), create(source, receiver)
    assert source.post("/webhooks", json={"enabled": False}).json() == {"enabled": False}
    source.post(f"/tickets/{lost}/close")
    source.post("/webhooks", json={"enabled": True})
    source.post(f"/tickets/{told}/close")
    _, body = receiver.next()
    assert Webhook(SECRET).verify(body, _)["data"]["id"] == told
    assert receiver.posted.empty()
    assert source.get(f"/tickets/{lost}").json()["closed"]


def test_the_probe_ticket_is_open_and_stays_open(source: httpx.Client) -> None:
    assert source.get("/tickets/probe").json()["closed"] is False
    assert source.post("/tickets/probe/close").status_code == 403
    assert source.get("/tickets/probe").json()["closed"] is False


@pytest.mark.parametrize(
    "header",
    ["", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"],
    ids=["none", "wrong", "another scheme", "one sign more"],
)
def test_without_the_token_nothing_is_said(source: httpx.Client, header: str) -> None:
    for path in ("/tickets/probe", "/tickets/unknown", "/elsewhere"):
        assert source.get(path, headers={"Authorization": header}).status_code == 401
    for path in ("/tickets", "/tickets/probe/close", "/webhooks"):
        assert source.post(path, headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize("path", ["/tickets/unknown/close", "/tickets/unknown/reopen"])
def test_an_unknown_ticket_is_not_found(source: httpx.Client, path: str) -> None:
    assert source.get("/tickets/unknown").status_code == 404
    assert source.post(path).status_code == 404


def test_an_id_is_given_once(source: httpx.Client, receiver: Receiver) -> None:
    fields = {"title": "Slow", "customer": "acme", "id": f"C-{secrets.token_hex(4)}"}
    assert source.post("/tickets", json=fields).json()["id"] == fields["id"]
    receiver.next()
    assert source.post("/tickets", json=fields).status_code == 409


def test_an_id_that_is_taken_is_not_given_to_another(
    source: httpx.Client, receiver: Receiver
) -> None:
    number = int(create(source, receiver).removeprefix("T-"))
    fields = {"title": "Slow", "customer": "acme", "id": f"T-{number + 2}"}
    assert source.post("/tickets", json=fields).status_code == 201
    receiver.next()
    given = [create(source, receiver) for _ in range(2)]
    assert given == [f"T-{number + 1}", f"T-{number + 3}"]


@pytest.mark.parametrize(
    "fields",
    [{}, [], {"title": "x"}, {"title": 1, "customer": "a"}]
    + [{"title": "x", "customer": "a", "id": bad} for bad in ("a/b", "..", "", 7)],
)
def test_a_malformed_ticket_is_refused(source: httpx.Client, fields: object) -> None:
    assert source.post("/tickets", json=fields).status_code == 400


def test_it_does_not_start_without_a_token() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TICKET_SOURCE_")}
    command = [sys.executable, "-m", "broker.demo.ticket_source"]
    ended = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=30)
    assert ended.returncode != 0
    assert b"TICKET_SOURCE_TOKEN" in ended.stderr
