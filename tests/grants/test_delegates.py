"""Somebody decides for an admin who is away: counted once, and only while the delegation stands."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from broker import people
from broker.entries import parse_canonical
from broker.errors import Conflict, Denied, Invalid, NotFound
from broker.grants import deciding, decisions, delegates
from broker.grants.approval_policy import ApprovalPolicy
from broker.grants.approvals import ApprovalLost
from broker.grants.delegates import Absence
from broker.grants.statements import sign_due
from broker.ids import PersonId
from broker.people import Denied as NotAllowed
from broker.tx import Actor, system
from tests.grants.test_approvals import TWO, admins, approve, planned, set_policy
from tests.stories import skip
from tests.world import World, add_person, enrol

DAY = timedelta(days=1)


def auditors(world: World, count: int) -> list[Actor]:
    with world.as_(system("tests")) as tx:
        return [add_person(tx, "auditor", world.tenant) for _ in range(count)]


@pytest.fixture
def world(afresh: World) -> World:
    return afresh


def name(
    world: World,
    giver: Actor,
    delegate: Actor,
    *,
    lasts: timedelta = 7 * DAY,
    after: timedelta | None = None,
) -> str:
    with world.as_(giver) as tx:
        start = tx.at + after if after is not None else None
        ends_at = tx.at + lasts
        return delegates.name(tx, world.tenant, Absence(delegate.person_id or "", ends_at, start))


def end(world: World, actor: Actor, delegation_id: str) -> None:
    with world.as_(actor) as tx:
        delegates.end(tx, delegation_id)


def mails(world: World, like: str) -> list[str]:
    with world.as_(system("tests")) as tx:
        query = sa.text("SELECT person_id FROM mail WHERE subject LIKE :s ORDER BY id")
        return list(tx.session.scalars(query, {"s": like}))


def state_of(world: World, delegation_id: str) -> str:
    with world.as_(world.admin) as tx:
        found = delegates.list_delegations(tx, world.tenant)
    return next(one.state for one in found if one.id == delegation_id)


def test_a_delegate_decides_for_the_admin_and_the_signed_decision_says_for_whom(
    world: World,
) -> None:
    (away,) = auditors(world, 1)
    grant_id = planned(world)
    with pytest.raises(NotAllowed, match="grant:approve"):
        approve(world, away, grant_id)
    delegation = name(world, world.admin, away)
    both = [world.admin.person_id, away.person_id]
    assert mails(world, "You were named delegate") == both
    assert away.person_id in mails_of(world, planned(world))
    approve(world, away, grant_id)
    sign_due(world.broker.database, world.ports.keys)
    with world.as_(world.admin) as tx:
        (one,) = decisions.list_decisions(tx, grant_id)
        signed = parse_envelope(decisions.read_decision_envelope(tx, one.id))
    assert (one.person_id, one.for_id) == (away.person_id, world.admin.person_id)
    assert signed["by"]["id"] == away.person_id
    said = signed["by"]["for"]
    assert (said["id"], said["delegation"]) == (world.admin.person_id, delegation)
    (entry,) = [
        e for e in world.entries() if (e["kind"], e["subject"]) == ("grant.approved", grant_id)
    ]
    assert (entry["facts"]["for"], entry["actor"]["id"]) == (
        world.admin.person_id,
        away.person_id,
    )
    lease_id, _ = world.lease(grant_id)
    world.work()
    assert world.find_lease(lease_id).state == "issued"


def mails_of(world: World, grant_id: str) -> list[str]:
    return mails(world, f"A request waits for you: {grant_id}")


def parse_envelope(envelope: bytes) -> dict:
    import base64
    import json

    payload = base64.b64decode(json.loads(envelope)["payload"])
    return parse_canonical(payload, max_bytes=len(payload))


def test_a_delegate_refuses_too_and_does_nothing_else_for_the_admin(world: World) -> None:
    (away,) = auditors(world, 1)
    name(world, world.admin, away)
    grant_id = planned(world)
    with world.as_(away) as tx:
        deciding.refuse(tx, grant_id, "she would not want it")
    with world.as_(away) as tx:
        (one,) = decisions.list_decisions(tx, grant_id)
    assert (one.verdict, one.for_id) == ("refused", world.admin.person_id)
    with pytest.raises(NotAllowed):
        name(world, away, world.admin)  # no chain of delegates
    with world.as_(away) as tx, pytest.raises(NotAllowed):
        people.check(tx, "grant:end", world.tenant)


def test_one_person_counts_once_for_however_many_admins(world: World) -> None:
    """Case 5. And an admin who is there and their delegate are two, as they are two people."""
    (second,), (away,) = admins(world, 1), auditors(world, 1)
    set_policy(world, TWO)
    for giver in (world.admin, second):
        name(world, giver, away)
    grant_id = planned(world)
    approve(world, away, grant_id)
    with pytest.raises(Conflict, match="you approved"):
        approve(world, away, grant_id)
    assert world.grant(grant_id).state == "requested"
    approve(world, world.admin, grant_id)
    assert world.grant(grant_id).state == "approved"


def test_an_admin_who_is_a_delegate_besides_speaks_for_oneself_and_once(world: World) -> None:
    (second,) = admins(world, 1)
    set_policy(world, TWO)
    name(world, world.admin, second)
    grant_id = planned(world)
    approve(world, second, grant_id)
    with pytest.raises(Conflict, match="you approved"):
        approve(world, second, grant_id)
    with world.as_(world.admin) as tx:
        (one,) = decisions.list_decisions(tx, grant_id)
    assert one.for_id is None
    assert world.grant(grant_id).state == "requested"


def test_whom_the_policy_names_is_heard_once_in_person_or_by_a_delegate(world: World) -> None:
    named, other = admins(world, 2)
    (away,) = auditors(world, 1)
    pair = (world.admin.person_id or "", named.person_id or "")
    set_policy(world, ApprovalPolicy(approvals=2, approvers=pair))
    delegation = name(world, named, away)
    unnamed = auditors(world, 1)[0]
    name(world, other, unnamed)
    grant_id = planned(world)
    with pytest.raises(Denied, match="names others"):  # stands for somebody who does not count
        approve(world, unnamed, grant_id)
    approve(world, away, grant_id)
    with pytest.raises(Conflict, match="another of those whom the policy names"):
        approve(world, named, grant_id)
    end(world, named, delegation)  # what the delegate said counts no more; so she says it herself
    approve(world, named, grant_id)
    assert world.grant(grant_id).state == "requested"
    approve(world, world.admin, grant_id)
    assert world.grant(grant_id).state == "approved"


def test_a_delegation_that_ended_or_whose_giver_lost_the_role_counts_no_more(world: World) -> None:
    """Case 7, of delegates: where the grant would be used, and where a last approval is counted."""
    giver, other = admins(world, 2)
    first, second = auditors(world, 2)

    def time_passes(_: str) -> None:
        skip(world, timedelta(minutes=61))

    def taken_back(delegation: str) -> None:
        end(world, world.admin, delegation)

    def giver_goes(_: str) -> None:
        with world.as_(system("tests")) as tx:
            people.end_membership(tx, PersonId(giver.person_id or ""), world.tenant)

    def delegate_goes(_: str) -> None:
        with world.as_(system("tests")) as tx:
            people.end_membership(tx, PersonId(second.person_id or ""), world.tenant)

    for lose, who, whose, lasts in (
        (taken_back, first, giver, DAY),
        (time_passes, first, giver, timedelta(hours=1)),
        (giver_goes, first, giver, DAY),
        (delegate_goes, second, other, DAY),
    ):
        delegation = name(world, whose, who, lasts=lasts)
        grant_id = world.request(live_s=24 * 3600)
        world.work()
        approve(world, who, grant_id)
        world.lease(grant_id)
        lose(delegation)
        with pytest.raises(ApprovalLost, match="0 of those given still count"):
            world.lease(grant_id)
        with pytest.raises((NotAllowed, NotFound)):
            approve(world, who, planned(world))


def test_what_an_ended_delegates_word_gave_makes_no_login_though_it_was_asked_before(
    world: World,
) -> None:
    """`grounds.prove`, by the worker that makes it."""
    (away,) = auditors(world, 1)
    delegation = name(world, world.admin, away)
    grant_id = planned(world)
    approve(world, away, grant_id)
    lease_id, _ = world.lease(grant_id)
    end(world, away, delegation)  # the delegate, too, ends it
    world.work()
    assert world.find_lease(lease_id).state in {"revoking", "revoked"}
    assert mails(world, "A delegation was ended") == [world.admin.person_id, away.person_id]
    assert state_of(world, delegation) == "ended"


def test_a_delegation_that_has_not_begun_lets_nobody_decide_yet(world: World) -> None:
    (away,) = auditors(world, 1)
    delegation = name(world, world.admin, away, after=DAY)
    grant_id = planned(world)
    with pytest.raises(NotAllowed):
        approve(world, away, grant_id)
    assert state_of(world, delegation) == "coming"


def test_who_can_be_named_and_for_how_long(world: World) -> None:
    """Always with an end; a person of the same tenant; never of the vendor, nor oneself."""
    (away,) = auditors(world, 1)
    with world.as_(system("tests")) as tx:
        key = tx.session.get_one(people.Person, world.admin.person_id).email
        tagged = key.replace("@", "+later@")
        self_again = people.add_person(tx, side="tenant", email=tagged, name="Ada again")
        people.add_membership(tx, self_again, "auditor", world.tenant)
    _, stranger = enrol(world, "Other tenant")
    twin = Actor("tenant", "password", self_again)
    for nobody in (world.engineer, world.operator, stranger, world.admin, twin):
        with pytest.raises(Invalid) as refused:
            name(world, world.admin, nobody)
        assert set(refused.value.facts["fields"]) == {"delegate"}
    for days in (0, -1, 93):
        with pytest.raises(Invalid) as refused:
            name(world, world.admin, away, lasts=days * DAY)
        assert "ends_at" in refused.value.facts["fields"]
    with pytest.raises(Invalid):
        name(world, world.admin, away, after=-DAY)
    for actor, error in ((away, NotAllowed), (world.operator, NotAllowed), (stranger, NotFound)):
        with pytest.raises(error):
            name(world, actor, away)
    name(world, world.admin, away)
    with pytest.raises(Conflict, match="already"):
        name(world, world.admin, away)
    delegation = name(world, admins(world, 1)[0], away)
    for actor, error in ((world.engineer, NotAllowed), (stranger, NotFound)):
        with pytest.raises(error):
            end(world, actor, delegation)
    end(world, world.admin, delegation)
    with pytest.raises(Conflict, match="over already"):
        end(world, world.admin, delegation)
    about = [e["kind"] for e in world.entries() if e["subject"] == delegation]
    assert about == ["delegate.named", "delegate.ended"]


def test_the_database_itself_refuses_a_decision_for_another_without_a_delegation(
    world: World,
) -> None:
    """The second barrier; and a delegation can't be made longer by the application's role."""
    (away,) = auditors(world, 1)
    delegation = name(world, world.admin, away)
    (second,) = admins(world, 1)
    grant_id = planned(world)
    forged = sa.text(
        "INSERT INTO decision (id, grant_id, person_id, side, verdict, settles, live_s, copy_s, "
        "via, at, for_id, for_until, delegation_id) SELECT 'dec_forged', :g, :p, 'tenant', "
        "'approved', false, 1, 1, 'password', now(), giver_id, ends_at, id FROM delegation "
        "WHERE id = :d"
    )
    with pytest.raises(sa.exc.DBAPIError, match="no delegation"), world.as_(world.admin) as tx:
        tx.session.execute(forged, {"g": grant_id, "p": second.person_id, "d": delegation})
    longer_one = sa.text("UPDATE delegation SET ends_at = ends_at + interval '1 day'")
    with pytest.raises(sa.exc.DBAPIError, match="permission denied"), world.as_(away) as tx:
        tx.session.execute(longer_one)
