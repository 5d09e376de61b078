"""Webhooks: what is signed in a tenant's log is told, signed, tried again, and replayed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest
import sqlalchemy as sa
from standardwebhooks.webhooks import Webhook as Checker
from standardwebhooks.webhooks import WebhookVerificationError

from broker import outgoing
from broker.audit.integrate import integrate_all
from broker.errors import Invalid
from broker.outgoing import AddressRefused, Outgoing, Sending, check_url
from broker.secret import Secret
from broker.tx import system
from broker.webhooks import registering
from broker.webhooks.delivering import deliver_due
from broker.webhooks.model import SLACK, STANDARD, TEAMS, WebhookDelivery
from broker.webhooks.registering import NewWebhook
from tests.world import World

LOCAL = ["127.0.0.0/8"]


@dataclass
class Receiver:
    """Takes what is sent, or answers `status`."""

    url: str
    status: int = 204
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def take_all(self) -> list[tuple[dict[str, str], bytes]]:
        got, self.got = self.got, []
        return got


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library's name
            content = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.got.append((headers, content))
            self.send_response(receiver.status)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hook?key=secret-of-the-chat")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def world(module_world: World) -> World:
    return module_world


@pytest.fixture
def receiver(world: World) -> Iterator[Receiver]:
    with receiving() as found:
        yield found
    with world.as_(world.admin) as tx:
        for row in registering.list_webhooks(tx, world.tenant):
            registering.remove(tx, row.id)


def register(
    world: World, receiver: Receiver, form: str = STANDARD, kinds: tuple[str, ...] = ("ticket",)
) -> tuple[str, str]:
    integrate_all(world.broker.database, world.ports.keys)
    new = NewWebhook("Ours", Secret(receiver.url), form, kinds)
    with world.as_(world.admin) as tx:
        row, secret = registering.register(tx, world.tenant, new, local=True)
        return row.id, secret.reveal() if secret else ""


def happen(world: World) -> None:
    """A webhook more, which the log tells; and what is due is delivered."""
    new = NewWebhook("Another", Secret("https://hook.example/x"), kinds=("ticket",))
    with world.as_(world.admin) as tx:
        registering.register(tx, world.tenant, new, local=True)
    integrate_all(world.broker.database, world.ports.keys)
    deliver(world)


def deliver(world: World) -> None:
    database, keys = world.broker.database, world.ports.keys
    deliver_due(database, keys, Outgoing(LOCAL), "https://broker.test")


def make_due(world: World) -> None:
    """As if the wait were over."""
    with world.as_(system("tests")) as tx:
        waiting = WebhookDelivery.next_try_at.is_not(None)
        tx.session.execute(sa.update(WebhookDelivery).where(waiting).values(next_try_at=tx.at))


def test_what_happens_is_told_once_signed_and_names_no_person(
    world: World, receiver: Receiver
) -> None:
    webhook_id, secret = register(world, receiver, kinds=("webhook.registered",))
    happen(world)
    told = [json.loads(content) for _, content in receiver.got]
    assert [one["type"] for one in told] == ["webhook.registered"] * 2
    assert told[0]["data"]["subject"] == webhook_id, "its own registration is the first"
    assert {"log", "position", "leaf_hash", "at"} <= set(told[0]["data"])
    headers, content = receiver.got[-1]
    Checker(secret).verify(content, headers)
    with pytest.raises(WebhookVerificationError):
        Checker(secret).verify(content + b" ", headers)
    assert b"hook.example" not in content, "an address is personal: committed to, not told"
    receiver.take_all()
    deliver(world)
    assert receiver.got == []


def test_what_is_not_taken_is_tried_again_with_its_id_and_replayed_by_hand(
    world: World, receiver: Receiver
) -> None:
    webhook_id, _ = register(world, receiver, kinds=("webhook.registered",))
    receiver.status = 302  # followed nowhere
    happen(world)
    assert len(receiver.got) == 1, "one that fails holds up the others of its webhook"
    first = receiver.take_all()[0][0]["webhook-id"]
    with world.as_(world.admin) as tx:
        waiting = registering.list_deliveries(tx, webhook_id)
        assert {one.state for one in waiting} == {"waiting"}
        assert waiting[-1].problem == "it answered 302"
    receiver.status = 200
    make_due(world)
    deliver(world)
    assert receiver.take_all()[0][0]["webhook-id"] == first
    with world.as_(world.admin) as tx:
        assert {one.state for one in registering.list_deliveries(tx, webhook_id)} == {"taken"}
        registering.replay(tx, webhook_id, first)
    deliver(world)
    assert [headers["webhook-id"] for headers, _ in receiver.got] == [first]


def test_both_secrets_sign_for_a_day_after_one_was_replaced(
    world: World, receiver: Receiver
) -> None:
    webhook_id, before = register(world, receiver, kinds=("webhook.registered",))
    with world.as_(world.admin) as tx:
        after = registering.replace_secret(tx, webhook_id).reveal()
    happen(world)
    for secret in (before, after):
        headers, content = receiver.got[0]
        Checker(secret).verify(content, headers)


@pytest.mark.parametrize("form", [SLACK, TEAMS])
def test_a_chat_gets_a_line_and_its_address_is_shown_to_nobody(
    world: World, receiver: Receiver, form: str
) -> None:
    webhook_id, secret = register(world, receiver, form, ("webhook.registered",))
    assert not secret
    happen(world)
    headers, content = receiver.got[0]
    assert "webhook-signature" not in headers
    said = content.decode()
    assert "webhook.registered: What happens here is told" in said
    assert ("attachments" in said) == (form == TEAMS)
    with world.as_(world.admin) as tx:
        row = registering.get(tx, webhook_id)
        assert b"secret-of-the-chat" not in row.sealed_url
        assert row.host == "127.0.0.1"


def test_only_a_tenants_own_admins_register_what_is_told(world: World, receiver: Receiver) -> None:
    new = NewWebhook("Theirs", Secret(receiver.url), kinds=("no such kind",))
    with pytest.raises(Invalid), world.as_(world.admin) as tx:
        registering.register(tx, world.tenant, new, local=True)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("0.1.2.3", "224.0.0.1", "255.255.255.255", "::1", "fe80::1", "fd00::1", "::"),
        *("::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "ff02::1", "192.0.0.8"),
    ],
)
def test_an_address_of_a_network_that_is_not_public_is_never_reached(address: str) -> None:
    assert not outgoing.is_public(ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(AddressRefused):
        Outgoing().send(Sending("GET", f"https://{host}/"))


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111"])
def test_a_public_address_is_public(address: str) -> None:
    assert outgoing.is_public(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        *("http://hook.example/", "https://", "https://me:pw@hook.example/", "file:///etc/passwd"),
        *("https://hook.example/#x", "https://hook.example/a b", "https://[::1", "gopher://x"),
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        check_url(url)


def test_a_name_is_checked_by_what_it_stands_for() -> None:
    with pytest.raises(AddressRefused):
        Outgoing().send(Sending("GET", "https://localhost/"))
