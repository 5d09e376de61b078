"""Entries leave for other systems: files, a webhook and syslog, each at least once."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from broker.audit.integrate import integrate_all
from tests.cli.conftest import Desk


@dataclass
class Receiver:
    """A SIEM's webhook that is out of order for its first request."""

    bodies: list[bytes] = field(default_factory=list)
    statuses: list[int] = field(default_factory=lambda: [503])
    url: str = ""


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(receiver.statuses.pop() if receiver.statuses else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def read_frames(data: bytes) -> list[str]:
    """RFC 6587, 3.4.1."""
    frames = []
    while data:
        length, _, data = data.partition(b" ")
        frames.append(data[: int(length)].decode())
        data = data[int(length) :]
    return frames


@pytest.mark.long
def test_entries_are_filtered_fetched_and_streamed_at_least_once(desk: Desk) -> None:
    world = desk.world
    admin, tenant = desk.terminal("admin", world.admin), str(world.tenant)
    world.approved()
    integrate_all(world.broker.database, world.ports.keys)
    lines = [json.loads(line) for line in admin.run("log", "events", tenant).splitlines()]
    assert [line["position"] for line in lines] == list(range(len(lines)))
    grants = admin.run("log", "events", tenant, "--kind", "grant.approved", "--format", "csv")
    assert len(grants.splitlines()) == 2
    assert admin.try_("log", "events", tenant, "--ticket", "nonsense").exit_code == 2

    with receiving() as hook:
        stream = ("log", "stream", tenant, "--to", hook.url, "--format", "jsonl")
        assert admin.try_(*stream).exit_code == 8  # not taken: nothing moves
        assert f"{len(lines)} entries were taken" in admin.run(*stream)
        assert hook.bodies[0] == hook.bodies[1]
        assert "0 entries were taken" in admin.run(*stream)
        world.approved()
        integrate_all(world.broker.database, world.ports.keys)
        admin.run(*stream)
        first = json.loads(hook.bodies[2].splitlines()[0])
        assert first["position"] == len(lines)

    with socket.create_server(("127.0.0.1", 0)) as server:
        heard: list[bytes] = []

        def hear() -> None:
            connection, _ = server.accept()
            with connection:
                while part := connection.recv(65_536):
                    heard.append(part)

        thread = threading.Thread(target=hear)
        thread.start()
        port = server.getsockname()[1]
        admin.run("log", "stream", tenant, "--to", f"syslog://127.0.0.1:{port}")
        thread.join()
    frames = read_frames(b"".join(heard))
    assert len(frames) > len(lines)
    assert frames[0].startswith("<110>1 ")
    assert json.loads(frames[0][frames[0].index("{") :])["class_uid"]
    for refused in ("http://siem.example/x", "ftp://siem.example"):
        assert admin.try_("log", "stream", tenant, "--to", refused).exit_code == 2
