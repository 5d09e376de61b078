"""Break-glass, from asking to an open review."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from broker.grants import approval_policy, deciding, requests, reviews
from broker.grants.approval_policy import ApprovalPolicy
from broker.grants.model import Grant
from broker.grants.narrowing import Narrowing
from broker.grants.requests import Ask
from broker.grants.reviews import ReviewView
from broker.tx import Actor, system
from tests.world import REASON, World, add_person

ALLOWED = ApprovalPolicy(break_glass=True)


def allow(world: World, policy: ApprovalPolicy = ALLOWED) -> None:
    with world.as_(world.admin) as tx:
        approval_policy.propose(tx, world.tenant, policy)


def wish(world: World, **changes: object) -> Ask:
    made = Ask("", world.database_id, "incident", REASON, 1800, 0, break_glass=True)
    made = replace(made, **changes)
    return made if made.ticket_id else replace(made, ticket_id=world.ticket())


def ask(world: World, asked: Ask | None = None, actor: Actor | None = None) -> Grant:
    asked = asked or wish(world)
    with world.as_(actor or world.engineer) as tx:
        times = world.broker.settings.times
        grant_id = requests.request(tx, asked, times, world.broker.queue)
    world.work()
    return world.grant(grant_id)


def leads(world: World, count: int = 2) -> Sequence[Actor]:
    with world.as_(system("tests")) as tx:
        return [add_person(tx, "lead", None) for _ in range(count)]


def approve(
    world: World,
    grant: Grant,
    actor: Actor,
    narrowing: Narrowing = Narrowing(),  # noqa: B008
) -> None:
    with world.as_(actor) as tx:
        deciding.approve(tx, grant.id, grant.asked_digest or "", narrowing)


def broken(world: World) -> Grant:
    """The glass broken by two leads, where the customer allows it."""
    allow(world)
    grant = ask(world)
    for lead in leads(world):
        approve(world, grant, lead)
    return world.grant(grant.id)


def review_of(world: World, grant: Grant) -> ReviewView:
    with world.as_(world.admin) as tx:
        (review,) = reviews.list_reviews(tx, grant_id=grant.id)
    return review


def break_glass(world: World) -> str:
    """The review that is owed then."""
    return review_of(world, broken(world)).id
