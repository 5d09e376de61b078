"""What the command line does when its connection breaks before the answer came."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from broker.cli.api import Api
from broker.errors import Unavailable
from broker.secret import Secret

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n" + b'{"id": "it"}'


@contextmanager
def breaking(times: int) -> Iterator[tuple[str, list[str]]]:
    """A server that hears `times` requests and answers none of them; then it answers one."""
    heard: list[str] = []

    def serve() -> None:
        for number in range(times + 1):
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(65536).decode())
                if number == times:
                    connection.sendall(ANSWER)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", heard
        thread.join()


def keys(heard: list[str]) -> list[str]:
    lines = [line for request in heard for line in request.lower().split("\r\n")]
    return [line for line in lines if line.startswith("idempotency-key:")]


def test_a_post_is_sent_once_more_under_its_key() -> None:
    with breaking(1) as (url, heard):
        assert Api(url, Secret("brk_x"), None).post("grants", body={"live_s": 1}) == {"id": "it"}
    assert len(heard) == 2
    assert len(keys(heard)) == 2
    assert len(set(keys(heard))) == 1


def test_what_has_no_key_is_not_sent_again() -> None:
    """Signing in: each time makes a token."""
    with breaking(1) as (url, heard):
        with pytest.raises(Unavailable):
            Api(url, None, None).post("sign-in", body={})
        assert Api(url, Secret("brk_x"), None).get("me") == {"id": "it"}
    assert len(heard) == 2
