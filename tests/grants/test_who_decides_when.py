"""Who decides, and until when: cases 3, 4, 6, 13 and 14 of the research."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product

import pytest

from broker import lifecycle, people
from broker.errors import Conflict, Denied, NotFound
from broker.grants import deciding, requests
from broker.grants.requests import Ask
from broker.ids import PersonId
from broker.states import StateConflict
from broker.tx import Actor, system
from tests.grants.test_approvals import approve, planned
from tests.world import REASON, World, add_person, enrol

A_MOMENT = timedelta(milliseconds=1)


def at(world: World, instant: datetime) -> None:
    """What the control database's clock says from now on, whatever this host's does."""
    world.broker.database._clock = lambda: instant


def test_a_millisecond_before_it_lapses_a_request_is_approved_and_at_that_instant_not(
    afresh: World,
) -> None:
    """Case 3: one clock decides, and the end itself is too late."""
    early, late = planned(afresh), planned(afresh)
    at(afresh, afresh.grant(early).lapses_at - A_MOMENT)
    approve(afresh, afresh.admin, early)
    assert afresh.grant(early).state == "approved"
    at(afresh, afresh.grant(late).lapses_at)
    with pytest.raises(Conflict, match="lapsed unanswered"):
        approve(afresh, afresh.admin, late)
    assert afresh.grant(late).state == "requested"


def test_who_asks_comes_to_the_customers_side_by_no_second_account(afresh: World) -> None:
    """Cases 4 and 6: neither the address, nor one with a tag, nor the account itself."""
    with afresh.as_(system("tests")) as tx:
        email = people.get_person(tx, afresh.engineer.person_id or "").email
    local, _, domain = email.partition("@")
    for address in (email, email.upper(), f"{local}+me@{domain}"):
        with afresh.as_(system("tests")) as tx, pytest.raises(Conflict, match="use another one"):
            people.add_person(tx, side="tenant", email=address, name="Me again")
    with afresh.as_(system("tests")) as tx, pytest.raises(Conflict):
        people.add_membership(tx, PersonId(afresh.engineer.person_id or ""), "admin", afresh.tenant)


def test_who_asked_decides_by_no_way(afresh: World) -> None:
    """Case 4: with a session, an API token or a passkey, also as of the customer's side."""
    grant_id = planned(afresh)
    for side, via in product(("vendor", "tenant"), ("password", "token", "passkey")):
        me = Actor(side, via, afresh.engineer.person_id)
        with pytest.raises((Denied, NotFound)):
            approve(afresh, me, grant_id)
    assert afresh.grant(grant_id).state == "requested"


def test_another_customers_ticket_gives_nothing_here(afresh: World) -> None:
    """Case 13: neither their ticket with our database, nor a ticket that went over to them."""
    other, _ = enrol(afresh, "Other tenant")
    of_other = replace(afresh, tenant=other)
    theirs, ours = of_other.ticket(), afresh.ticket(external_id="T-13")
    what = Ask(theirs, afresh.database_id, "incident", REASON, live_s=3600, copy_s=0)
    with afresh.as_(afresh.engineer) as tx, pytest.raises(NotFound, match="this ticket's customer"):
        requests.request(tx, what, afresh.broker.settings.times, afresh.broker.queue)
    grant_id = afresh.request(ours)
    afresh.work()
    approve(afresh, afresh.admin, grant_id)
    of_other.ticket(external_id="T-13")  # the ticket system says that it is theirs now
    assert (afresh.grant(grant_id).state, afresh.grant(grant_id).end_reason) == (
        "ended",
        "the ticket has ended",
    )


def test_a_refusal_after_an_approval_names_the_way_and_an_end_revokes(afresh: World) -> None:
    """Case 14: who would rather not, an instant too late, ends it."""
    with afresh.as_(system("tests")) as tx:
        second = add_person(tx, "admin", afresh.tenant)
    grant_id = afresh.approved()
    lease_id, _ = afresh.lease(grant_id)
    afresh.work()
    with afresh.as_(second) as tx, pytest.raises(StateConflict, match="already approved") as late:
        deciding.refuse(tx, grant_id, "I would rather not")
    assert "end it" in late.value.message
    with afresh.as_(second) as tx:
        lifecycle.end_grant_by_click(tx, grant_id, afresh.broker.queue)
    afresh.work()
    assert afresh.grant(grant_id).state == "ended"
    assert afresh.find_lease(lease_id).state == "revoked"
