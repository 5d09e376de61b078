"""What can become of a ticket while access rests on it, and of the system that holds it.

One world for all: each test opens tickets of its own, and all of them are ended after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from broker.errors import Conflict
from broker.lateness import list_late
from broker.tickets import TicketSystemUnavailable, hints, reach
from broker.tx import system
from tests.faults.ticket_desk import Desk, open_desk
from tests.stories import skip
from tests.world import World, enrol


@pytest.fixture(scope="module")
def opened(module_world: World) -> Desk:
    return open_desk(module_world)


@pytest.fixture
def desk(opened: Desk) -> Iterator[Desk]:
    yield opened
    opened.faults.answers.clear()
    opened.faults.asked.clear()
    opened.faults.retry_after = None
    opened.world.broker.database._clock = None
    with opened.world.as_(system("tests")) as tx:
        tx.session.execute(sa.text("UPDATE ticket SET ended_at = now() WHERE ended_at IS NULL"))
        tx.session.execute(sa.text("DELETE FROM ticket_hint"))
        reach.note_reached(tx, "generic", 0)


def later(desk: Desk, **span: float) -> None:
    skip(desk.world, timedelta(**span))


@pytest.mark.parametrize(
    "status", ["404 Not Found", "410 Gone", "403 Forbidden"], ids=["deleted", "spam", "hidden"]
)
def test_a_ticket_that_is_refused_ends_access_at_the_second_look_five_minutes_later(
    desk: Desk, status: str
) -> None:
    name, grant_id = desk.given()
    desk.answer(name, status)
    for seconds, expected in ((0, "requested"), (299, "requested"), (301, "ended")):
        later(desk, seconds=seconds)
        desk.poll()
        assert desk.state(grant_id) == expected


def test_a_refusal_that_was_only_once_ends_nothing(desk: Desk) -> None:
    name, grant_id = desk.given()
    for seconds in (0, 400, 800):
        later(desk, seconds=seconds)
        desk.answer(name, "404 Not Found")
        desk.poll()
        desk.faults.answers.clear()
        desk.poll()
    assert desk.state(grant_id) == "requested"


def test_a_ticket_merged_into_another_ends_access_when_it_says_closed(desk: Desk) -> None:
    name, grant_id = desk.given()
    desk.do(name, "close")
    desk.poll()
    assert desk.state(grant_id) == "ended"


def test_a_ticket_answered_with_the_one_it_was_merged_into_says_nothing_and_is_told(
    desk: Desk,
) -> None:
    """Neither open nor closed: it keeps no other from being looked at, and somebody must look."""
    merged, kept = desk.given()
    other, ended = desk.given()
    survivor = {"id": other, "title": "Totals", "customer": desk.world.customer, "closed": True}
    desk.answer(merged, "200 OK", survivor)
    desk.do(other, "close")
    later(desk, minutes=16)
    assert desk.poll() == 1
    assert (desk.state(kept), desk.state(ended)) == ("requested", "ended")
    with desk.world.as_(system("tests")) as tx:
        late = [(one.what, one.tenant_id) for one in list_late(tx)]
    assert ("ticket", desk.world.tenant) in late


@pytest.mark.parametrize("enrolled", [True, False])
def test_a_ticket_moved_to_another_customer_ends_at_once_and_shows_nothing_new(
    desk: Desk, *, enrolled: bool
) -> None:
    """G12: what the other customer's ticket says is not taken over into this tenant's."""
    name, grant_id = desk.given()
    customer = "nobody of ours"
    if enrolled:
        tenant_id, _ = enrol(desk.world, f"Tenant of {name}")
        with desk.world.as_(system("tests")) as tx:
            query = sa.text("SELECT ticket_customer FROM tenant WHERE id = :t")
            customer = tx.session.scalar(query, {"t": tenant_id})
    desk.do(name, "move", customer=customer)
    desk.answer(
        name,
        "200 OK",
        {"id": name, "title": "Not for the first", "customer": customer, "closed": False},
    )
    desk.poll()
    assert desk.state(grant_id) == "ended"
    mirrored = desk.mirrored(name)
    assert mirrored is not None
    assert (mirrored.tenant_id, mirrored.title) == (desk.world.tenant, "Totals")
    desk.do(name, "move", customer=desk.world.customer)
    desk.faults.answers.clear()
    desk.poll()
    with pytest.raises(Conflict):
        desk.world.request(mirrored.id)


def test_a_ticket_split_from_another_is_one_of_its_own(desk: Desk) -> None:
    name, grant_id = desk.given()
    part = desk.open()
    mirrored = desk.look(part)
    assert mirrored is not None
    desk.do(part, "close")
    desk.poll()
    assert desk.state(grant_id) == "requested"
    desk.do(name, "close")
    desk.poll()
    assert desk.state(grant_id) == "ended"


def test_a_ticket_that_is_opened_again_brings_nothing_back(desk: Desk) -> None:
    name, grant_id = desk.given()
    desk.do(name, "close")
    desk.poll()
    desk.do(name, "reopen")
    mirrored = desk.look(name)
    assert mirrored is not None
    assert desk.state(grant_id) == "ended"
    with pytest.raises(Conflict, match="open a new one"):
        desk.world.request(mirrored.id)


def test_closed_and_opened_again_between_two_looks_ends_access_all_the_same(desk: Desk) -> None:
    name, grant_id = desk.given()
    desk.do(name, "close")
    desk.do(name, "reopen")
    desk.hint(name)
    assert desk.follow() == 1
    assert desk.state(grant_id) == "ended"


def test_a_mark_that_was_not_there_before_is_no_reopening(desk: Desk) -> None:
    """After an upgrade, or where the system begins to tell: nothing ends for that."""
    name, grant_id = desk.given()
    with desk.world.as_(system("tests")) as tx:
        tx.session.execute(sa.text("UPDATE ticket SET reopened = NULL"))
    desk.poll()
    assert desk.state(grant_id) == "requested"
    desk.do(name, "close")
    desk.do(name, "reopen")
    desk.poll()
    assert desk.state(grant_id) == "ended"


@pytest.mark.parametrize("title", ["a\x00b", "half \ud800", "x" * 100_000])
def test_a_title_that_no_database_takes_keeps_no_closing_away(desk: Desk, title: str) -> None:
    """Whoever writes to the vendor's support words it."""
    name, kept = desk.given()
    other, ended = desk.given()
    desk.do(other, "close")
    customer = desk.world.customer
    told = {"id": name, "title": title, "customer": customer, "closed": False, "reopened": "\x00"}
    desk.answer(name, "200 OK", told)
    assert desk.poll() == 2
    assert (desk.state(kept), desk.state(ended)) == ("requested", "ended")
    mirrored = desk.mirrored(name)
    assert mirrored is not None
    assert mirrored.title == title.replace("\x00", " ").replace("\ud800", " ")[:500]


def test_hints_of_tickets_that_never_were_keep_none_of_the_others(desk: Desk) -> None:
    """Three that are missing say nothing of the system when somebody only named them."""
    for number in range(3):
        desk.hint(f"T-never-{number}")
    assert desk.follow() == 3
    name, grant_id = desk.given()
    desk.do(name, "close")
    desk.hint(name)
    desk.follow()
    assert desk.state(grant_id) == "ended"


def test_what_was_read_before_the_system_asked_us_to_wait_counts(desk: Desk) -> None:
    """Else a system with a small rate would never be read to its end."""
    first, ended = desk.given()
    second, kept = desk.given()
    desk.do(first, "close")
    desk.do(second, "close")
    desk.faults.answers["/tickets"] = ("404 No list", None)
    desk.faults.answers[f"/tickets/{second}"] = ("429 Too Many", None)
    assert desk.poll() == 1
    assert (desk.state(ended), desk.state(kept)) == ("ended", "requested")
    desk.faults.answers.clear()
    assert desk.poll() == 1
    assert desk.state(kept) == "ended"


def test_a_ticket_of_no_customer_of_ours_gives_no_request(desk: Desk) -> None:
    assert desk.look(desk.open(customer="nobody of ours")) is None


def test_webhooks_twice_and_out_of_order_end_in_what_the_ticket_is_now(desk: Desk) -> None:
    """The later word came first: what a webhook says is not read."""
    name, grant_id = desk.given()
    for _ in range(2):
        desk.hint(name)
    assert desk.follow() == 1
    assert desk.state(grant_id) == "requested"
    desk.do(name, "close")
    desk.hint(name)
    desk.hint(name)
    assert desk.follow() == 1
    assert desk.state(grant_id) == "ended"


def test_a_ticket_that_the_list_leaves_out_is_asked_for_by_itself(desk: Desk) -> None:
    names = [desk.given()[0] for _ in range(3)]
    desk.faults.answers["/tickets"] = ("200 OK", {"tickets": []})
    desk.faults.asked.clear()
    assert desk.poll() == 3
    assert {f"/tickets/{name}" for name in names} <= set(desk.faults.asked)


def test_tickets_are_asked_for_together(desk: Desk) -> None:
    for _ in range(3):
        desk.given()
    desk.faults.asked.clear()
    assert desk.poll() == 3
    assert desk.faults.asked == ["/tickets/probe", "/tickets", "/tickets/probe"]


def test_a_system_that_is_down_for_a_week_is_shown_and_changes_nothing(desk: Desk) -> None:
    _, grant_id = desk.given()
    with desk.world.as_(system("tests")) as tx:  # else it would lapse by its own time
        tx.session.execute(
            sa.text("UPDATE access_grant SET lapses_at = now() + '30 days' WHERE id = :g"),
            {"g": grant_id},
        )
    desk.faults.answers["/tickets/probe"] = ("502 Bad Gateway", None)
    for hours in range(0, 7 * 24, 12):
        later(desk, hours=hours)
        assert desk.poll() == 0
    assert desk.state(grant_id) == "requested"
    with desk.world.as_(system("tests")) as tx:
        (late,) = [one for one in list_late(tx) if one.what == "ticket system"]
    assert (late.id, late.tenant_id) == ("generic", None)
    assert late.since_s > 6 * 86400
    assert "502" in late.reason
    desk.faults.answers.clear()
    assert desk.poll() == 1
    with desk.world.as_(system("tests")) as tx:
        assert reach.list_unreached(tx) == []


def test_a_system_that_asks_us_to_wait_is_left_alone_as_long(desk: Desk) -> None:
    """Retry-After of RFC 9110; their clock, a date in it, is not asked."""
    _, grant_id = desk.given()
    desk.faults.retry_after = "600"
    with pytest.raises(TicketSystemUnavailable) as caught:
        desk.tickets.probe()
    assert caught.value.facts == {"retry_after_s": 600}
    assert desk.poll() == 0
    desk.faults.retry_after = None
    for seconds, due in ((590, False), (610, True)):
        later(desk, seconds=seconds)
        with desk.world.as_(system("tests")) as tx:
            assert reach.claim_poll(tx, "generic") is due
    assert desk.state(grant_id) == "requested"


def test_hints_that_cant_be_followed_are_put_off_and_kept_for_a_day(desk: Desk) -> None:
    name, grant_id = desk.given()
    desk.do(name, "close")
    desk.hint(name)
    desk.faults.answers["/tickets/probe"] = ("502 Bad Gateway", None)
    desk.answer(name, "502 Bad Gateway")
    assert (desk.follow(), desk.state(grant_id)) == (0, "requested")
    asked = len(desk.faults.asked)
    assert desk.follow() == 0
    assert len(desk.faults.asked) == asked, "put off: not asked again at once"
    desk.faults.answers.clear()
    later(desk, seconds=5)
    assert (desk.follow(), desk.state(grant_id)) == (1, "ended")
    desk.hint("T-never")
    later(desk, hours=25)
    with desk.world.as_(system("tests")) as tx:
        hints.forget_old(tx)
        assert hints.list_hints(tx, "generic", 9) == []
