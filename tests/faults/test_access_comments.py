"""`/access` in an internal comment: it asks, as its author, and does nothing else.

One world for all; each test opens tickets of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa

from broker import commenting, lifecycle, people
from broker.errors import Invalid
from broker.grants import standing
from broker.grants.model import Grant
from broker.grants.narrowing import Narrowing
from broker.grants.standing import Draft
from broker.tickets import WORD, commands, is_command
from broker.tx import Actor, system
from tests import apps
from tests.faults.ticket_desk import Desk, open_desk
from tests.stories import control_superuser, skip
from tests.web.browser import sign_in
from tests.world import World, add_person

ASKS = "/access read 2h the totals are wrong since noon"


@pytest.fixture(scope="module")
def desk(module_world: World) -> Desk:
    return open_desk(module_world)


@pytest.fixture
def at_any_time(desk: Desk) -> Iterator[None]:
    yield
    desk.world.broker.database._clock = None


def address(world: World, actor: Actor) -> str:
    with world.as_(system("tests")) as tx:
        return people.get_person(tx, actor.person_id or "").email


def write(desk: Desk, name: str, text: str, author: str) -> None:
    said = {"key": secrets.token_hex(6), "text": text, "author": author}
    desk.client.post(f"/tickets/{name}/comments", json=said).raise_for_status()


def answer(desk: Desk, name: str) -> list[str]:
    """What stands on the ticket after the broker looked, but for what was written to it."""
    desk.hint(name)
    desk.follow(answering=True)
    commenting.send_due(desk.world.broker.database, desk.tickets, "https://broker.example")
    return [text for text in desk.list_comments(name) if not is_command(text)]


def asked_on(desk: Desk, name: str) -> list[Grant]:
    ticket = desk.mirrored(name)
    assert ticket is not None
    with desk.world.as_(system("tests")) as tx:
        return list(tx.session.scalars(sa.select(Grant).where(Grant.ticket_id == ticket.id)))


def test_an_engineers_comment_asks_once_in_their_name_and_is_answered_with_the_link(
    desk: Desk,
) -> None:
    world, name = desk.world, desk.open()
    author = address(world, world.engineer)
    write(desk, name, f"  {ASKS}\nand nobody knows why", author.upper())
    (said,) = answer(desk, name)
    (grant,) = asked_on(desk, name)
    assert said == (
        f"Request {grant.id}: the customer decides.\nhttps://broker.example/grants/{grant.id}"
    )
    assert (grant.requester_id, grant.state) == (world.engineer.person_id, "requested")
    assert (grant.asked_live_s, grant.asked_copy_s, grant.asked_kind) == (7200, 0, "masked")
    assert grant.reason == "the totals are wrong since noon\nand nobody knows why"
    entry = next(one for one in reversed(world.entries()) if one["kind"] == "grant.requested")
    assert (entry["actor"]["via"], entry["facts"]["on_ticket"]) == ("comment", True)
    with world.as_(system("tests")) as tx:
        told = sa.text("SELECT page FROM mail WHERE person_id = :p AND kind = 'security'")
        assert tx.session.scalars(told, {"p": world.engineer.person_id}).all() == [
            f"/grants/{grant.id}"
        ]
    with apps.lend(world.broker) as app:
        page = sign_in(app, world, world.admin).get(f"/grants/{grant.id}").text
    assert "by a comment on the ticket, under their name there" in page
    assert answer(desk, name) == [said], "looked at again, it is not asked again"
    write(desk, name, ASKS, author)
    assert f"you have {grant.id} open" in answer(desk, name)[-1]
    with world.as_(world.engineer) as tx:
        lifecycle.end_grant_by_click(tx, grant.id, world.broker.queue)
    answer(desk, name)
    assert len(asked_on(desk, name)) == 1, "each comment asks once, whatever became of it"


def test_no_approval_comes_of_a_comment(desk: Desk) -> None:
    """Not in advance either: who wrote it is the ticket system's word alone."""
    world, name = desk.world, desk.open()
    like = world.request(live_s=7200, copy_s=0)
    world.work()
    with world.as_(world.admin) as tx:
        given = Draft(
            grant_id=like,
            shown_digest=world.grant(like).asked_digest or "",
            narrowing=Narrowing(live_s=7200, copy_s=0),
            ends_at=tx.at + timedelta(days=1),
            severities=("1",),
        )
        standing_id = standing.propose(tx, given, world.broker.settings.times)
    urgent = {"id": name, "title": "Totals", "customer": world.customer, "closed": False}
    desk.faults.answers[f"/tickets/{name}"] = ("200 OK", urgent | {"severity": "1"})
    write(desk, name, ASKS, address(world, world.engineer))
    answer(desk, name)
    desk.faults.answers.clear()
    world.work()
    (grant,) = asked_on(desk, name)
    assert grant.asked_digest is not None
    assert grant.state == "requested"
    again = world.request(world.ticket(severity="1"), live_s=7200, copy_s=0)
    world.work()
    assert world.grant(again).state == "approved", "asked here, the same is given in advance"
    for change in (f"standing_id = '{standing_id}'", "asked_kind = 'raw'", "break_glass = true"):
        with control_superuser(world) as connection, pytest.raises(psycopg.Error):
            connection.execute(f"UPDATE access_grant SET {change} WHERE id = '{grant.id}'")
    with control_superuser(world) as connection, pytest.raises(psycopg.errors.RaiseException):
        connection.execute(
            f"UPDATE access_grant SET asked_on_ticket = false WHERE id = '{grant.id}'"
        )


def test_who_may_not_ask_here_may_not_ask_there(desk: Desk) -> None:
    world = desk.world
    with world.as_(system("tests")) as tx:
        gone, officer = add_person(tx, "engineer", None), add_person(tx, "privacy_officer", None)
    with world.as_(world.operator) as tx:
        people.disable_person(tx, gone.person_id)
    nobody = "nobody who may ask here has the address"
    for author, why in (
        *(("nobody@vendor.test", nobody), ("", nobody)),
        *((address(world, one), nobody) for one in (gone, world.admin)),
        (address(world, officer), "your role does not allow grant:request"),
    ):
        name = desk.open()
        write(desk, name, ASKS, author)
        (said,) = answer(desk, name)
        assert said.startswith(f"No request was made: {why}")
        assert asked_on(desk, name) == []


def test_what_is_not_meant_is_answered_with_how_it_is_written(desk: Desk) -> None:
    world = desk.world
    author = address(world, world.engineer)
    for text, says in (
        (f"{WORD} approve grt_1 please", "write /access read 2h and why"),
        (f"{WORD} read soon it is broken", "is no duration"),
        (f"{WORD} read 2h broken", "10 to 4,000 characters"),
        (f"{WORD} read 99h the totals are wrong", "live_s: 0 to 86400 seconds"),
        (f"{WORD} read 2h on nothing the totals are wrong", "no database of that name"),
    ):
        name = desk.open()
        write(desk, name, text, author)
        (said,) = answer(desk, name)
        assert says in said
        assert "/grants/new/tkt_" in said
        assert asked_on(desk, name) == []


def test_a_comment_of_an_hour_ago_asks_nothing_and_one_of_old_is_left_alone(
    desk: Desk, at_any_time: None
) -> None:
    world = desk.world
    for later, says in ((timedelta(minutes=61), "more than an hour ago"), (timedelta(days=1), "")):
        name = desk.open()
        write(desk, name, ASKS, address(world, world.engineer))
        skip(world, later)
        said = answer(desk, name)
        assert says in said[0] if says else said == []
        assert asked_on(desk, name) == []


def test_a_system_that_shows_no_comments_now_is_asked_again(desk: Desk) -> None:
    world, name = desk.world, desk.open()
    write(desk, name, ASKS, address(world, world.engineer))
    desk.faults.answers[f"/tickets/{name}/comments"] = ("502 Bad Gateway", None)
    assert desk.hint(name) is None
    assert desk.follow(answering=True) == 0
    desk.faults.answers.clear()
    assert len(answer(desk, name)) == 1


def test_a_ticket_of_nobody_or_ended_gives_no_request(desk: Desk) -> None:
    world = desk.world
    author = address(world, world.engineer)
    strange = desk.open(customer="someone else")
    write(desk, strange, ASKS, author)
    assert answer(desk, strange) == []
    assert desk.mirrored(strange) is None
    name = desk.open()
    desk.look(name)
    desk.do(name, "close")
    desk.look(name)
    desk.do(name, "reopen")
    write(desk, name, ASKS, author)
    assert "has ended" in answer(desk, name)[0]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("/access read 90m it is broken", commands.Command("read", 5400, None, "it is broken")),
        ("/access copy 2d on shop why\nnot", commands.Command("copy", 172800, "shop", "why\nnot")),
        ("/access structure 1h on it", commands.Command("structure", 3600, None, "on it")),
    ],
)
def test_a_command_is_read_as_it_is_written(text: str, meant: commands.Command) -> None:
    assert is_command(text)
    assert commands.parse(text) == meant


@pytest.mark.parametrize(
    "text",
    ["/access", "/access read", "/access read 2h", "/access write 2h why", "/access raw 1h x"],
)
def test_a_command_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="write /access read 2h and why"):
        commands.parse(text)


def test_only_a_comment_that_begins_so_speaks_to_us() -> None:
    for text in ("/accessible", "please /access read 2h x", "", "> /access read 2h x"):
        assert not is_command(text)
