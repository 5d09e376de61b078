"""A real ticket system, Roundup, through the contract and a bridge of a hundred lines.

`docs/adding-a-ticket-system.md` was followed for it.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from broker import commenting, ticketing
from broker.doctor.ticket_contract import Asked, check
from broker.secret import Secret
from broker.tickets import FetchedTicket, mirror
from broker.tickets.generic import GenericTickets
from broker.tx import system
from tests.stories import skip, wait_until
from tests.tickets.roundup_bridge import Roundup, make_bridge
from tests.world import World

BASE = "https://bridge.example"


@dataclass
class Tracker:
    """Roundup as its people use it, and the broker's view of it."""

    roundup: Roundup
    transport: httpx.BaseTransport
    token: Secret[str]
    probe: str

    @property
    def tickets(self) -> GenericTickets:
        return GenericTickets(BASE, self.token, [], self.probe, self.transport)

    def open(self, customer: str, **more: object) -> str:
        word = f"customer::{customer}"
        if word not in [one["name"] for one in self._keywords()]:
            self.roundup.create("keyword", name=word)
        values = {"title": "Totals are wrong", "status": "unread", "priority": "urgent"}
        return self.roundup.create("issue", **{**values, "keyword": [word], **more})

    def _keywords(self) -> list[dict[str, str]]:
        return list(self.roundup.get("keyword", **{"@verbose": "2"})["collection"])

    def set(self, name: str, **values: object) -> None:
        self.roundup.change(f"issue/{name}", **values)

    def retire(self, name: str) -> None:
        self.set(name, **{"@op": "action", "@action_name": "retire"})


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    folder, password = tmp_path_factory.mktemp("roundup"), secrets.token_hex(12)
    port_file = folder / "port"
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.tickets.roundup_server"),
            *(str(folder / "home"), str(port_file)),
        ],
        env={**os.environ, "ROUNDUP_PASSWORD": password},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_until(lambda: port_file.exists() or process.poll() is not None, "Roundup listens")
            assert process.poll() is None, "Roundup did not start"
            roundup = Roundup(f"http://127.0.0.1:{port_file.read_text()}", password)
            token = Secret(secrets.token_hex(16))
            app = make_bridge(roundup, token.reveal())
            made = Tracker(roundup, httpx.WSGITransport(app=app), token, "1")
            assert made.open("nobody") == made.probe
            yield made
        finally:
            process.kill()


OPTIONAL = {"optional fields", "comments shown"}


def test_the_bridge_passes_every_point_of_the_contract(tracker: Tracker) -> None:
    closed = tracker.open("acme", status="resolved")
    asked = Asked(BASE, tracker.token, tracker.probe, closed, closed, tracker.transport)
    verdicts = {line.what: line.verdict for line in check(asked)}
    assert {w for w, v in verdicts.items() if v == "warn"} == OPTIONAL
    verdicts = {w: v for w, v in verdicts.items() if w not in OPTIONAL}
    assert set(verdicts.values()) == {"ok"}, verdicts
    messages = tracker.roundup.get(f"issue/{closed}")["attributes"]["messages"]
    assert len(messages) == 1, "the same comment twice is one"


def test_an_issue_is_read_as_its_people_see_it(tracker: Tracker) -> None:
    name = tracker.open("acme")
    expected = FetchedTicket(
        external_id=name,
        title="Totals are wrong",
        customer="acme",
        closed=False,
        severity="urgent",
    )
    assert tracker.tickets.find(name) == expected
    other = tracker.open("acme")
    tracker.set(name, superseder=[other])
    merged = tracker.tickets.find(name)
    assert merged is not None
    assert merged.closed


def test_access_ends_with_its_issue_however_it_ends_and_the_issue_is_told(
    world: World, tracker: Tracker
) -> None:
    broker = world.broker
    arguments = (broker.database, broker.queue, tracker.tickets)
    names = {how: tracker.open(world.customer) for how in ("resolved", "retired", "moved", "open")}
    grants = {}
    for how, name in names.items():
        ticketing.look_at(*arguments, name, broker.settings.times)
        with world.as_(system("tests")) as tx:
            ticket = mirror.find_ticket(tx, "generic", name)
            assert ticket is not None
        grants[how] = world.request(ticket.id)
    world.work()
    world.approve(grants["resolved"])

    tracker.set(names["resolved"], status="resolved")
    tracker.set(names["moved"], keyword=["customer::nobody"])
    tracker.retire(names["retired"])

    def after_a_poll() -> dict[str, str]:
        assert ticketing.poll(*arguments, broker.settings.times)
        return {how: world.grant(grant_id).state for how, grant_id in grants.items()}

    ended = {"resolved": "ended", "retired": "requested", "moved": "ended", "open": "requested"}
    assert after_a_poll() == ended
    skip(world, timedelta(seconds=301))
    assert after_a_poll() == {**ended, "retired": "ended"}, "refused a second time"
    assert commenting.send_due(broker.database, tracker.tickets, "https://broker.example") == 2
    issue = tracker.roundup.get(f"issue/{names['resolved']}")["attributes"]
    first = tracker.roundup.get(f"msg/{issue['messages'][0]['id']}/content")["data"]
    assert f"Access {grants['resolved']} is open" in str(first)
