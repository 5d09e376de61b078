"""The generic ticket system: a broken answer says nothing, an unsigned webhook even less."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import standardwebhooks

from broker.errors import Invalid, SettingsError
from broker.secret import Secret
from broker.tickets import (
    FetchedTicket,
    TicketSystem,
    TicketSystemUnavailable,
    WebhookRefused,
)
from broker.tickets.client import MAX_BYTES
from broker.tickets.generic import GenericTickets, Webhook

TOKEN = "a-token-that-shows"


def ticket(identity: str, **changes: object) -> bytes:
    return json.dumps(
        {"id": identity, "title": "It is slow", "customer": "c-7", "closed": False, **changes}
    ).encode()


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class RealSystem:
    """A small ticket system: one answer for each path, and what was asked of it."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def put(self, identity: str, answer: Answer) -> None:
        self.answers[f"/desk/tickets/{identity}"] = answer


@pytest.fixture(scope="module")
def running_system() -> Iterator[RealSystem]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            real.asked.append((self.path, self.headers.get("Authorization")))
            answer = real.answers.get(self.path, Answer(404))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                answer = Answer(401)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in answer.headers:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    real = RealSystem(f"http://127.0.0.1:{server.server_port}/desk")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield real
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def system(running_system: RealSystem) -> RealSystem:
    running_system.answers.clear()
    running_system.asked.clear()
    return running_system


def new_secret() -> Secret[str]:
    return Secret("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())


def connect(url: str, *webhook_secrets: Secret[str], token: str = TOKEN) -> GenericTickets:
    return GenericTickets(url, Secret(token), webhook_secrets, "probe-1")


@pytest.fixture(scope="module")
def tickets(running_system: RealSystem) -> Iterator[GenericTickets]:
    client = connect(running_system.url)
    yield client
    client.close()


def test_a_ticket_is_read_as_it_is_now(system: RealSystem, tickets: TicketSystem) -> None:
    system.put("T-1", Answer(body=ticket("T-1", url="https://desk.example/T-1")))
    system.put("T-2", Answer(body=ticket("T-2", closed=True, more={"a": 1})))
    link = "https://desk.example/T-1"
    assert tickets.find("T-1") == FetchedTicket("T-1", "It is slow", "c-7", closed=False, url=link)
    assert tickets.find("T-2") == FetchedTicket("T-2", "It is slow", "c-7", closed=True)
    assert system.asked[0] == ("/desk/tickets/T-1", f"Bearer {TOKEN}")


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (1, "1"),
        ("Sev 1", "sev 1"),
        (" Very  high ", "very high"),
        (True, None),
        (None, None),
        ({"name": "1"}, None),
        ("", None),
        ("x" * 41, None),
        ("1\u202e", None),
        ("high\x00", None),
    ],
)
def test_severity_and_category_are_words_or_nothing(
    system: RealSystem, tickets: TicketSystem, sent: object, read: str | None
) -> None:
    """What can't be read as one is absent: it meets no condition, and the ticket stays whole."""
    system.put("T-1", Answer(body=ticket("T-1", severity=sent, category=sent)))
    found = tickets.find("T-1")
    assert found is not None
    assert (found.severity, found.category) == (read, read)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_ticket_that_is_not_ours_to_read_is_none(
    system: RealSystem, tickets: TicketSystem, status: int
) -> None:
    system.put("T-1", Answer(status))
    assert tickets.find("T-1") is None


@pytest.mark.parametrize(
    "answer",
    [
        *(Answer(status) for status in (201, 204, 400, 401, 429, 500, 502, 503)),
        Answer(302, headers={"Location": "/desk/tickets/T-2"}),
        Answer(body=b""),
        Answer(body=b"<html>Please sign in</html>"),
        Answer(body=b"[]"),
        Answer(body=b"[" * 200_000),
        Answer(body=b'"\xff"'),
        Answer(body=ticket("T-2")),
        Answer(body=ticket("T-1", id=1)),
        Answer(body=ticket("T-1", closed="false")),
        Answer(body=ticket("T-1", closed=None)),
        Answer(body=ticket("T-1", title=None)),
        Answer(body=ticket("T-1", customer=7)),
        Answer(body=ticket("T-1")[:-1]),
        Answer(body=ticket("T-1", title="x" * MAX_BYTES)),
        Answer(body=ticket("T-1"), headers={"Content-Length": "9999"}),
        Answer(body=b"\x1f\x8b" + bytes(100), headers={"Content-Encoding": "gzip"}),
    ],
)
def test_any_other_answer_says_nothing_of_the_ticket(
    system: RealSystem, tickets: TicketSystem, answer: Answer
) -> None:
    system.put("T-1", answer)
    system.put("T-2", Answer(body=ticket("T-2", closed=True)))
    with pytest.raises(TicketSystemUnavailable):
        tickets.find("T-1")
    assert [path for path, _ in system.asked] == ["/desk/tickets/T-1"]


def test_a_wrong_token_is_unavailable_and_shown_nowhere(system: RealSystem) -> None:
    client = connect(system.url, token="another-token")
    with pytest.raises(TicketSystemUnavailable) as caught:
        client.find("T-1")
    shown = f"{caught.value!r} {caught.value.facts} {caught.value.__cause__!r} {vars(client)}"
    assert "another-token" not in shown
    client.close()


@pytest.mark.parametrize("token", ["", "two words", "broken\nline", "schlüssel"])
def test_a_token_that_fits_in_no_header_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(SettingsError) as caught:
        connect("https://desk.example", token=token)
    assert token == "" or token not in str(caught.value)


def test_a_system_that_is_down_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        client = connect(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(TicketSystemUnavailable):
            client.find("T-1")
        client.close()


def test_a_system_that_is_silent_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.tickets.client._STEP_S", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = connect(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(TicketSystemUnavailable):
            client.find("T-1")
        client.close()


def test_a_system_that_drips_is_unavailable(
    system: RealSystem, tickets: TicketSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.put("T-1", Answer(body=ticket("T-1")))
    monkeypatch.setattr("broker.tickets.client._WHOLE_S", 0.0)
    with pytest.raises(TicketSystemUnavailable, match="slowly"):
        tickets.find("T-1")


@pytest.mark.parametrize(
    "identity", ["", ".", "..", "../x", "a/b", "a?b", "a b", "a\n", "é", "a" * 129]
)
def test_what_can_be_no_id_is_never_asked_for(
    system: RealSystem, tickets: TicketSystem, identity: str
) -> None:
    with pytest.raises(Invalid):
        tickets.find(identity)
    assert system.asked == []


@pytest.mark.parametrize("url", ["javascript:alert(1)", 7, None, ""])
def test_an_unsafe_link_is_left_out(system: RealSystem, tickets: TicketSystem, url: object) -> None:
    system.put("T-1", Answer(body=ticket("T-1", url=url)))
    found = tickets.find("T-1")
    assert found is not None
    assert found.url is None


def test_the_probe_reads_the_probe_ticket(system: RealSystem, tickets: TicketSystem) -> None:
    with pytest.raises(TicketSystemUnavailable, match="probe-1"):
        tickets.probe()
    system.put("probe-1", Answer(body=ticket("probe-1")))
    tickets.probe()


@pytest.mark.parametrize(
    "url",
    [
        "http://desk.example",
        "http://127.0.0.1.desk.example",
        "http://10.0.0.1",
        "ftp://desk.example",
        "desk.example",
        "https://",
        "https://user:word@desk.example",
        "https://desk.example/?token=a",
        "http://[::1",
        "http://desk.example#@localhost",
        "http://localhost@desk.example",
        "",
    ],
)
def test_an_address_without_tls_or_with_more_in_it_is_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        connect(url)


def test_addresses_with_tls_and_of_this_machine_are_taken() -> None:
    for url in (
        "https://desk.example/api/",
        "http://localhost:1",
        "http://[::1]:1",
        "http://127.0.0.2",
    ):
        connect(url).close()


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!!", "schlüssel"])
def test_a_webhook_secret_that_is_none_is_refused_at_the_start(secret: str) -> None:
    with pytest.raises(SettingsError):
        connect("https://desk.example", Secret(secret))


EVENT = b'{"type":"ticket.closed","data":{"id":"T-1"}}'


def signed(
    secret: Secret[str],
    body: bytes = EVENT,
    age: timedelta = timedelta(),
    message_id: str = "msg_1",
) -> dict[str, str]:
    at = datetime.now(UTC) - age
    signature = standardwebhooks.Webhook(secret.reveal()).sign(message_id, at, body.decode())
    return {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": signature,
    }


@pytest.fixture(scope="module")
def secret() -> Secret[str]:
    return new_secret()


@pytest.fixture(scope="module")
def hooked(secret: Secret[str]) -> Iterator[GenericTickets]:
    client = connect("https://desk.example", secret)
    yield client
    client.close()


@pytest.mark.parametrize("kind", ["ticket.closed", "ticket.opened", "ticket.updated"])
def test_a_signed_webhook_names_its_ticket(
    hooked: GenericTickets, secret: Secret[str], kind: str
) -> None:
    body = json.dumps({"type": kind, "data": {"id": "T-1"}}).encode()
    assert hooked.read_webhook(signed(secret, body), body) == Webhook("msg_1", "T-1")
    assert hooked.verify_webhook(signed(secret, body), body) == "T-1"


def test_a_replayed_webhook_is_known_by_its_message_id(
    hooked: GenericTickets, secret: Secret[str]
) -> None:
    """The signature holds again; whoever keeps the ids that were seen refuses the second."""
    headers = signed(secret)
    seen = [hooked.read_webhook(headers, EVENT).message_id for _ in range(2)]
    assert seen == ["msg_1", "msg_1"]
    with pytest.raises(WebhookRefused):
        hooked.read_webhook({**headers, "Webhook-Id": "msg_2"}, EVENT)


def test_old_and_new_secret_both_hold_while_one_is_replaced(secret: Secret[str]) -> None:
    new = new_secret()
    client = connect("https://desk.example", new, secret)
    for one in (secret, new):
        assert client.verify_webhook(signed(one), EVENT) == "T-1"
    both = signed(secret)
    both["Webhook-Signature"] = (
        f"{signed(new_secret())['Webhook-Signature']} " + both["Webhook-Signature"]
    )
    assert client.verify_webhook(both, EVENT) == "T-1"
    with pytest.raises(WebhookRefused):
        connect("https://desk.example", new).verify_webhook(signed(secret), EVENT)


@pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(minutes=-6)])
def test_a_webhook_that_is_not_of_now_is_refused(
    hooked: GenericTickets, secret: Secret[str], age: timedelta
) -> None:
    with pytest.raises(WebhookRefused):
        hooked.verify_webhook(signed(secret, age=age), EVENT)


def _made_fresh(headers: dict[str, str]) -> None:
    headers["Webhook-Timestamp"] = str(int(headers["Webhook-Timestamp"]) - 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: headers.clear(),
        lambda headers: headers.pop("Webhook-Signature"),
        lambda headers: headers.pop("Webhook-Id"),
        lambda headers: headers.pop("Webhook-Timestamp"),
        lambda headers: headers.update({"Webhook-Signature": "v1,AAAA"}),
        lambda headers: headers.update({"Webhook-Signature": "v1"}),
        lambda headers: headers.update({"Webhook-Signature": "v1,a"}),
        lambda headers: headers.update({"Webhook-Signature": "v1,é"}),
        lambda headers: headers.update({"Webhook-Timestamp": "nan"}),
        lambda headers: headers.update({"Webhook-Timestamp": "1e400"}),
        _made_fresh,
    ],
)
def test_a_forged_webhook_is_refused(
    hooked: GenericTickets, secret: Secret[str], change: Callable[[dict[str, str]], object]
) -> None:
    headers = signed(secret)
    change(headers)
    with pytest.raises(WebhookRefused):
        hooked.verify_webhook(headers, EVENT)


def test_a_changed_body_and_another_secret_are_refused(
    hooked: GenericTickets, secret: Secret[str]
) -> None:
    with pytest.raises(WebhookRefused):
        hooked.verify_webhook(signed(secret), EVENT.replace(b"T-1", b"T-2"))
    with pytest.raises(WebhookRefused):
        hooked.verify_webhook(signed(secret), EVENT + b"\xff")
    with pytest.raises(WebhookRefused):
        hooked.verify_webhook(signed(new_secret()), EVENT)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[" * 200_000,
        b'{"type":"ticket.closed"}',
        b'{"type":"ticket.closed","data":[]}',
        b'{"type":"ticket.closed","data":{"id":1}}',
        b'{"type":"ticket.closed","data":{"id":"../x"}}',
        b'{"type":"invoice.closed","data":{"id":"T-1"}}',
        b'{"type":["ticket.closed"],"data":{"id":"T-1"}}',
        b'{"data":{"id":"T-1"}}',
        EVENT + b" " * MAX_BYTES,
    ],
)
def test_a_signed_webhook_that_is_malformed_is_refused(
    hooked: GenericTickets, secret: Secret[str], body: bytes
) -> None:
    with pytest.raises(WebhookRefused):
        hooked.verify_webhook(signed(secret, body), body)


def test_a_webhooks_id_has_a_length(hooked: GenericTickets, secret: Secret[str]) -> None:
    with pytest.raises(WebhookRefused):
        hooked.verify_webhook(signed(secret, message_id="m" * 257), EVENT)


def test_without_a_secret_no_webhook_is_accepted(
    tickets: TicketSystem, secret: Secret[str]
) -> None:
    with pytest.raises(WebhookRefused):
        tickets.verify_webhook(signed(secret), EVENT)
