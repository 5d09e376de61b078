"""A request without enough answers is told to others, who may decide; silence approves nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from broker.errors import Denied, Invalid
from broker.grants.approval_policy import ApprovalPolicy
from broker.tx import system
from tests.grants.test_approvals import admins, approve, planned, set_policy
from tests.stories import skip, sweep
from tests.world import World


@pytest.fixture
def world(afresh: World) -> World:
    return afresh


def told(world: World, subject: str, grant_id: str) -> list[str]:
    with world.as_(system("tests")) as tx:
        query = sa.text("SELECT person_id FROM mail WHERE subject = :s ORDER BY person_id")
        return list(tx.session.scalars(query, {"s": f"{subject}: {grant_id}"}))


def test_those_named_are_told_once_and_may_decide_from_then_on(world: World) -> None:
    actors = admins(world, 3)
    named, other, third = (one.person_id or "" for one in actors)
    policy = ApprovalPolicy(
        approvals=2,
        approvers=(world.admin.person_id or "", named),
        escalate_after_s=3600,
        escalate_to=(other,),
    )
    set_policy(world, policy)
    grant_id = planned(world)
    approve(world, world.admin, grant_id)
    skip(world, timedelta(minutes=59))
    sweep(world)
    assert told(world, "A request needs you", grant_id) == []
    with pytest.raises(Denied, match="names others"):
        approve(world, actors[1], grant_id)
    skip(world, timedelta(minutes=61))
    sweep(world)
    sweep(world)
    assert told(world, "A request needs you", grant_id) == [other]
    (entry,) = [e for e in world.entries() if e["kind"] == "grant.escalated"]
    assert entry["facts"] == {"after_s": 3600, "told": [other]}
    assert world.grant(grant_id).state == "requested"  # one of two, as before
    with pytest.raises(Denied, match="names others"):
        approve(world, actors[2], grant_id)
    assert third not in told(world, "A request needs you", grant_id)
    approve(world, actors[1], grant_id)
    assert world.grant(grant_id).state == "approved"


def test_silence_lapses_whoever_was_told_and_when_the_policy_says(world: World) -> None:
    policy = ApprovalPolicy(reminders=(50,), escalate_after_s=7200)
    set_policy(world, policy)
    grant_id = planned(world)
    for hours, reminded, escalated in ((4, 0, 1), (7, 1, 1), (11, 1, 1)):
        skip(world, timedelta(hours=hours))
        sweep(world)
        mine = [world.admin.person_id]
        assert told(world, "A request still waits", grant_id).count(mine[0]) == reminded
        assert told(world, "A request needs you", grant_id).count(mine[0]) == escalated
    skip(world, timedelta(hours=13))
    sweep(world)
    assert world.grant(grant_id).state == "ended"


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (ApprovalPolicy(reminders=(0,)), "reminders"),
        (ApprovalPolicy(reminders=(100,)), "reminders"),
        (ApprovalPolicy(reminders=(1, 2, 3, 4, 5, 6)), "reminders"),
        (ApprovalPolicy(escalate_to=("psn_x",), escalate_after_s=60), "escalate_to"),
        (ApprovalPolicy(escalate_after_s=59), "escalate_after_s"),
        (ApprovalPolicy(escalate_after_s=900, unanswered_s=900), "escalate_after_s"),
    ],
)
def test_a_policy_that_could_never_be_kept_is_refused(
    world: World, policy: ApprovalPolicy, field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        set_policy(world, policy)
    assert field in refused.value.facts["fields"]
