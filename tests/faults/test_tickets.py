"""Webhooks that never come, tickets that vanish, and a ticket system that refuses everything; with
a real ticket system in a process of its own.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from broker import ticketing
from broker.secret import Secret
from broker.tickets import TicketSystemUnavailable
from broker.tickets.generic import GenericTickets
from broker.tickets.mirror import find_ticket
from broker.tx import system
from tests.faults.processes import environment
from tests.stories import skip, wait_until
from tests.world import World


@dataclass
class Source:
    """The ticket system, and the broker's view of it."""

    world: World
    client: httpx.Client
    tickets: GenericTickets

    def open(self, external_id: str) -> str:
        """A ticket of this world's tenant, looked at once; returns our id of it."""
        body = {"id": external_id, "title": "Totals are wrong", "customer": self.world.customer}
        self.client.post("/tickets", json=body).raise_for_status()
        ticketing.look_at(
            self.world.broker.database,
            self.world.broker.queue,
            self.tickets,
            external_id,
            self.world.broker.settings.times,
        )
        with self.world.as_(system("tests")) as tx:
            ticket = find_ticket(tx, self.tickets.name, external_id)
            assert ticket is not None
            return ticket.id

    def poll(self, tickets: GenericTickets | None = None) -> int:
        world = self.world
        looked = ticketing.poll(
            world.broker.database,
            world.broker.queue,
            tickets or self.tickets,
            world.broker.settings.times,
        )
        world.work()
        return looked


@contextmanager
def source(world: World, folder: Path, token: Secret[str], port: int = 0) -> Iterator[Source]:
    """A ticket system without any webhook; its tickets live as long as its process."""
    port_file = folder / f"port-{secrets.token_hex(4)}"
    arguments = ["--port", str(port), "--port-file", str(port_file)]
    with subprocess.Popen(
        [sys.executable, "-m", "broker.demo.ticket_source", *arguments],
        env=environment(world, TICKET_SOURCE_TOKEN=token.reveal()),
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_until(port_file.exists, "the ticket system listens")
            url = f"http://127.0.0.1:{port_file.read_text()}"
            headers = {"Authorization": f"Bearer {token.reveal()}"}
            with httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
                yield Source(world, client, GenericTickets(url, token, [], "probe"))
        finally:
            process.kill()


@pytest.fixture
def token() -> Secret[str]:
    return Secret(secrets.token_hex(16))


def given(world: World, ticket_id: str) -> str:
    """A grant that rests on the ticket, with a lease in use."""
    grant_id = world.request(ticket_id)
    world.work()
    world.approve(grant_id)
    lease_id, _ = world.lease(grant_id)
    world.work()
    assert world.find_lease(lease_id).state == "issued"
    return grant_id


def state(world: World, grant_id: str) -> str:
    return world.grant(grant_id).state


def test_the_poll_sees_the_closure_when_the_webhook_never_comes(
    world: World, tmp_path: Path, token: Secret[str]
) -> None:
    with source(world, tmp_path, token) as tickets:
        grant_id = given(world, tickets.open("T-1"))
        tickets.poll()
        assert state(world, grant_id) == "approved"
        tickets.client.post("/tickets/T-1/close").raise_for_status()
        assert tickets.poll() == 1
        assert state(world, grant_id) == "ended"
        assert world.grant(grant_id).end_reason == "the ticket has ended"
        tickets.client.post("/tickets/T-1/reopen").raise_for_status()
        tickets.poll()
        assert state(world, grant_id) == "ended"


def test_a_ticket_that_vanished_counts_as_closed_after_two_looks_minutes_apart(
    world: World, tmp_path: Path, token: Secret[str]
) -> None:
    with source(world, tmp_path, token) as first:
        grant_id = given(world, first.open("T-1"))
    with source(world, tmp_path, token) as tickets:  # it knows the probe only
        for seconds, expected in ((0, "approved"), (299, "approved"), (301, "ended")):
            skip(world, timedelta(seconds=seconds))
            assert tickets.poll() == 1
            assert state(world, grant_id) == expected
    assert [kind for kind in world.kinds() if kind.startswith("ticket.")] == [
        "ticket.mirrored",
        "ticket.missed",
        "ticket.ended",
    ]


def test_a_system_that_refuses_everything_changes_nothing(
    world: World, tmp_path: Path, token: Secret[str]
) -> None:
    """A wrong token; a probe that can't be read; no ticket at all to be found; no answer at all."""
    with source(world, tmp_path, token) as first:
        grants = [given(world, first.open(f"T-{number}")) for number in (1, 2, 3)]
    with source(world, tmp_path, token) as tickets:
        url = str(tickets.client.base_url)
        for number, asked in enumerate(
            (
                GenericTickets(url, Secret("another"), [], "probe"),
                GenericTickets(url, token, [], "no-such-probe"),
                tickets.tickets,  # three of three are missing: the system's fault, not theirs
            )
        ):
            for later in (0, 400):
                skip(world, timedelta(seconds=1000 * number + later))
                assert tickets.poll(asked) == 0
    with pytest.raises(TicketSystemUnavailable):
        tickets.tickets.probe()
    skip(world, timedelta(seconds=3400))
    assert tickets.poll() == 0
    assert [state(world, grant_id) for grant_id in grants] == ["approved"] * 3
    assert "ticket.missed" not in world.kinds()
