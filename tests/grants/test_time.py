"""Extensions are new grants, a start can be agreed, and no end ever moves later."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from broker import lifecycle
from broker.errors import Conflict, Invalid
from broker.grants import requests
from broker.grants.requests import Ask, GrantRefused
from broker.ids import new_id
from broker.snapshots import ordering
from broker.tx import Actor, system
from tests.stories import skip, sweep
from tests.world import REASON, World, add_person

HOUR = timedelta(hours=1)


def ask_of(world: World, ticket_id: str) -> Ask:
    return Ask(ticket_id, world.database_id, "incident", REASON, live_s=3600, copy_s=0)


def ask(world: World, what: Ask, actor: Actor | None = None) -> str:
    with world.as_(actor or world.engineer) as tx:
        grant_id = requests.request(tx, what, world.broker.settings.times, world.broker.queue)
    world.work()
    return grant_id


def extension_of(world: World, grant_id: str) -> Ask:
    return replace(ask_of(world, world.grant(grant_id).ticket_id), extends=grant_id)


def test_an_extension_is_decided_by_itself_and_moves_no_end_of_the_old(world: World) -> None:
    old_id = world.approved()
    before = world.grant(old_id)
    new = ask(world, extension_of(world, old_id))
    assert world.grant(new).state == "requested"
    world.approve(new)
    after = world.grant(old_id)
    assert (after.live_until, after.ends_at) == (before.live_until, before.ends_at)
    assert world.grant(new).extends == old_id


def test_asked_a_second_before_the_end_and_approved_a_second_after_revives_nothing(
    world: World,
) -> None:
    """Case 47 of the research: a new grant, and the old one stays dead."""
    ticket = world.ticket()
    old_id = ask(world, ask_of(world, ticket))
    world.approve(old_id)
    lease_id, _ = world.lease(old_id)
    world.work()
    skip(world, HOUR - timedelta(seconds=1))
    new = ask(world, extension_of(world, old_id))
    skip(world, HOUR + timedelta(seconds=1))
    sweep(world)
    world.approve(new)
    sweep(world)
    assert world.grant(old_id).state == "ended"
    assert world.find_lease(lease_id).state == "revoked"
    with pytest.raises(GrantRefused, match="ended"):
        world.lease(old_id)
    grant = world.grant(new)
    assert grant.live_until == grant.state_at + HOUR


def test_only_ones_own_open_grant_on_the_same_ticket_is_extended(world: World) -> None:
    grant_id = world.approved()
    with world.as_(system("tests")) as tx:
        other = add_person(tx, "engineer", None)
    wrong = [
        (extension_of(world, grant_id), other),
        (replace(extension_of(world, grant_id), ticket_id=world.ticket()), world.engineer),
        (replace(extension_of(world, grant_id), extends=new_id("grt")), world.engineer),
    ]
    for what, actor in wrong:
        with pytest.raises(Invalid) as refused:
            ask(world, what, actor)
        assert set(refused.value.facts["fields"]) == {"extends"}
    with world.as_(world.admin) as tx:
        lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)
    with pytest.raises(Conflict, match="ask afresh"):
        ask(world, extension_of(world, grant_id))


def test_before_its_start_a_grant_gives_nothing_and_its_clock_starts_then(world: World) -> None:
    start = datetime.now(UTC) + timedelta(hours=3)
    what = replace(ask_of(world, world.ticket()), starts_at=start, copy_s=7200)
    grant_id = ask(world, what)
    world.approve(grant_id)
    grant = world.grant(grant_id)
    assert (grant.live_until, grant.copy_until) == (start + HOUR, start + 2 * HOUR)
    with pytest.raises(GrantRefused, match="starts at"):
        world.lease(grant_id)
    with world.as_(world.engineer) as tx, pytest.raises(GrantRefused, match="starts at"):
        ordering.order(tx, grant_id, None, world.broker.queue)
    skip(world, timedelta(hours=3, seconds=1))
    lease_id, _ = world.lease(grant_id)
    assert world.find_lease(lease_id).ends_at == start + HOUR


def test_approved_after_the_start_that_was_asked_the_clock_starts_at_approval(
    world: World,
) -> None:
    start = datetime.now(UTC) + timedelta(minutes=5)
    grant_id = ask(world, replace(ask_of(world, world.ticket()), starts_at=start))
    skip(world, HOUR)
    world.approve(grant_id)
    grant = world.grant(grant_id)
    assert grant.live_until == grant.state_at + HOUR


@pytest.mark.parametrize("away", [timedelta(days=7, minutes=1), timedelta(minutes=-1)])
def test_a_start_lies_within_the_next_seven_days(world: World, away: timedelta) -> None:
    what = replace(ask_of(world, world.ticket()), starts_at=datetime.now(UTC) + away)
    with pytest.raises(Invalid) as refused:
        ask(world, what)
    assert set(refused.value.facts["fields"]) == {"starts_at"}


def test_the_database_itself_moves_no_end(world: World) -> None:
    """The second barrier: also for who writes SQL as the application."""
    world.approved()
    for column in ("live_until", "copy_until", "ends_at"):
        later = sa.text(f"UPDATE access_grant SET {column} = {column} + interval '1 second'")
        with (
            pytest.raises(sa.exc.DBAPIError, match="set by its approval"),
            world.as_(world.engineer) as tx,
        ):
            tx.session.execute(later)


def test_a_request_that_nobody_answers_lapses_though_no_mail_can_be_sent(world: World) -> None:
    """Case 16: silence approves nothing, also when nobody could be told."""
    grant_id = ask(world, ask_of(world, world.ticket()))
    skip(world, timedelta(hours=12, seconds=1))
    with pytest.raises(Conflict, match="lapsed"):
        world.approve(grant_id)
    sweep(world)
    grant = world.grant(grant_id)
    assert (grant.state, grant.end_reason) == ("ended", "nobody answered")


def test_a_second_approval_is_a_conflict_and_resets_no_clock(world: World) -> None:
    """Case 2: where peers extend in silence."""
    grant_id = world.approved()
    before = world.grant(grant_id).ends_at
    skip(world, timedelta(minutes=10))
    with pytest.raises(Conflict, match="already approved"):
        world.approve(grant_id)
    assert world.grant(grant_id).ends_at == before
