"""What is said on tickets: at least once, by a system that may be down, and nothing of a person."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from broker import commenting
from broker.ids import TicketId
from broker.tickets import comments
from broker.tx import system
from tests.faults.ticket_desk import Desk, open_desk
from tests.stories import ready_copy, skip, sweep
from tests.world import World

URL = "https://broker.example/"


def send(desk: Desk) -> int:
    return commenting.send_due(desk.world.broker.database, desk.tickets, URL)


def write(desk: Desk, name: str, key: str) -> None:
    ticket = desk.mirrored(name)
    assert ticket is not None
    with desk.world.as_(system("tests")) as tx:
        comments.write(tx, TicketId(ticket.id), key, "Access grt_1 is open.", "/grants/grt_1")


def test_a_comment_waits_for_its_system_and_is_there_once(world: World) -> None:
    desk = open_desk(world)
    name = desk.open()
    desk.look(name)
    for _ in range(2):
        write(desk, name, "grt_1:opened")
    desk.faults.answers[f"/tickets/{name}/comments"] = ("502 Bad Gateway", None)
    assert send(desk) == 0
    desk.faults.answers.clear()
    assert send(desk) == 0, "put off"
    skip(world, timedelta(seconds=301))
    assert send(desk) == 1
    with world.as_(system("tests")) as tx:  # as if a crash had come between sending and noting it
        tx.session.execute(
            sa.text("UPDATE ticket_comment SET sent_at = NULL, next_try_at = created_at")
        )
    assert send(desk) == 1
    assert desk.list_comments(name) == [
        "Access grt_1 is open.\nhttps://broker.example/grants/grt_1"
    ]

    for status in ("404 Not Found", "422 Unprocessable"):
        write(desk, name, status)
        desk.faults.answers[f"/tickets/{name}/comments"] = (status, None)
        assert send(desk) == 0
    desk.faults.answers.clear()
    write(desk, name, "late")
    skip(world, timedelta(days=8))
    assert send(desk) == 0
    with world.as_(system("tests")) as tx:
        query = sa.text("SELECT stuck_reason FROM ticket_comment WHERE sent_at IS NULL ORDER BY id")
        reasons = list(tx.session.scalars(query))
    assert [reason.split()[-1] for reason in reasons] == ["written", "written", "week"]


@pytest.mark.long
def test_a_ticket_tells_of_opening_ending_and_the_certificate_and_of_nobody(world: World) -> None:
    desk = open_desk(world)
    name = desk.open()
    ticket = desk.look(name)
    assert ticket is not None
    original = world.ticket
    world.ticket = lambda: ticket.id  # type: ignore[method-assign]
    grant_id, snapshot_id = ready_copy(world)
    world.ticket = original  # type: ignore[method-assign]
    desk.do(name, "close")
    desk.poll()
    sweep(world)
    assert world.snapshot(snapshot_id).state == "destroyed"
    send(desk)
    opened, ended, destroyed = desk.list_comments(name)
    assert f"Access {grant_id} is open" in opened
    assert f"Access {grant_id} has ended" in ended
    assert f"Copy {snapshot_id} was destroyed" in destroyed
    assert f"{URL}certificates/crt_" in destroyed
    with world.as_(system("tests")) as tx:
        names = list(
            tx.session.scalars(sa.text("SELECT name FROM person UNION SELECT email FROM person"))
        )
    for text in (opened, ended, destroyed):
        assert not [one for one in (*names, "First tenant", "Totals", world.crm) if one in text]
