"""Break-glass: only where the customer allows it, by two leads, short, told, and reviewed.

Case 50 of the adversarial cases: used twice, reason blank, customer disabled it: refused; each use
notifies every approver who was passed over, and opens a review that only the customer closes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa

from broker import alarms, lifecycle, people
from broker.audit.dsse import open_envelope
from broker.audit.statements import TYPES
from broker.errors import Conflict, Denied, Invalid, NotFound
from broker.grants import deciding, decisions, grounds, requests, reviews
from broker.grants.approval_policy import ApprovalPolicy
from broker.grants.approvals import ApprovalLost
from broker.grants.break_glass import BreakGlassRefused
from broker.grants.model import Grant
from broker.grants.narrowing import Narrowing
from broker.grants.scope_kinds import RAW, Wanted
from broker.grants.statements import sign_due
from broker.states import StateConflict
from broker.tx import Actor, system
from tests.grants.glass_breaking import (
    ALLOWED,
    allow,
    approve,
    ask,
    broken,
    leads,
    review_of,
    wish,
)
from tests.grants.storages import register_storage
from tests.stories import exported, pinned, skip
from tests.verify.standalone import verdict
from tests.world import World, add_person, enrol


def mails_to(world: World, actor: Actor) -> Sequence[str]:
    with world.as_(system("tests")) as tx:
        query = sa.text("SELECT subject FROM mail WHERE person_id = :p ORDER BY id")
        return tx.session.scalars(query, {"p": actor.person_id}).all()


def test_two_leads_let_one_in_the_customer_is_told_twice_and_owed_a_review(world: World) -> None:
    with world.as_(system("tests")) as tx:
        other_admin = add_person(tx, "admin", world.tenant)
    allow(world, replace(ALLOWED, approvers=(str(world.admin.person_id),)))
    first, second = leads(world)
    grant = ask(world)
    for admin in (world.admin, other_admin):
        assert mails_to(world, admin)[-1] == f"Break-glass is asked: {grant.id}"
    assert grant.lapses_at - grant.requested_at == timedelta(hours=1)
    assert mails_to(world, first)[-1] == f"Break-glass waits for you: {grant.id}"
    approve(world, grant, first)
    assert world.grant(grant.id).state == "requested"
    approve(world, grant, second, Narrowing(live_s=600))
    opened = world.grant(grant.id)
    assert opened.state == "approved"
    assert opened.live_until == opened.state_at + timedelta(seconds=600)
    for admin in (world.admin, other_admin):
        assert mails_to(world, admin)[-1] == f"Break-glass is open: {grant.id}"
    review = review_of(world, grant)
    assert (review.state, review.due_at) == ("open", opened.state_at + timedelta(hours=72))

    lease_id, password = world.lease(grant.id)
    world.work()
    with world.login(lease_id, password) as session:
        assert session.execute("SELECT count(*) FROM orders").fetchone() != (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("SELECT * FROM crm.orders")
    entries = [e for e in world.entries() if e["subject"] in {grant.id, review.id}]
    by_kind = {entry["kind"]: entry for entry in entries}
    assert by_kind["grant.requested"]["facts"]["break_glass"] is True
    assert by_kind["review.owed"]["facts"]["grant"] == grant.id
    assert by_kind["grant.approved"]["facts"]["break_glass"] is True
    assert by_kind["grant.approved"]["actor"]["side"] == "vendor"

    sign_due(world.broker.database, world.ports.keys)
    with world.as_(world.admin) as tx:
        decided = decisions.list_decisions(tx, grant.id)
        envelope = decisions.read_decision_envelope(tx, decided[-1].id)
    said = json.loads(open_envelope(envelope, TYPES["decision"], pinned(world)))
    assert [one.side for one in decided] == ["vendor", "vendor"]
    assert (said["by"]["side"], said["asked"]["break_glass"]) == ("vendor", True)


def test_the_log_explains_it_to_both_verifiers(world: World) -> None:
    """G10: from the policy that allows it to the review that is closed."""
    grant = broken(world)
    with world.as_(world.admin) as tx:
        reviews.close(tx, review_of(world, grant).id, "we talked it through")
    assert verdict(exported(world), pinned(world))


def test_it_is_off_until_the_customer_turns_it_on(world: World) -> None:
    with pytest.raises(BreakGlassRefused, match="allows no break-glass"):
        ask(world)


def test_the_customer_turns_it_off_and_what_waits_is_not_opened(world: World) -> None:
    allow(world)
    first, second = leads(world)
    grant = ask(world)
    approve(world, grant, first)
    allow(world, ApprovalPolicy())
    with pytest.raises(BreakGlassRefused, match="allows no break-glass"):
        approve(world, grant, second)
    with pytest.raises(BreakGlassRefused, match="allows no break-glass"):
        ask(world)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"reason": "   "}, "reason"),
        ({"category": ""}, "category"),
        ({"live_s": 3601}, "live_s"),
        ({"live_s": 0, "copy_s": 600}, "live_s"),
        ({"copy_s": 600}, "copy_s"),
        ({"wanted": Wanted(RAW, ("crm.people.email",))}, "kind"),
    ],
)
def test_what_it_is_not_for_is_refused_with_a_word(
    world: World, changes: dict[str, object], field: str
) -> None:
    allow(world)
    with pytest.raises(Invalid) as refused:
        ask(world, wish(world, **changes))
    assert field in refused.value.facts["fields"]


def test_it_opens_no_objects(world: World) -> None:
    """They are not masked, and a session on them can't be cut."""
    allow(world)
    storage_id = register_storage(world, "objects/")
    with pytest.raises(Invalid) as refused:
        ask(world, wish(world, storage_id=storage_id, storage_s=900))
    assert set(refused.value.facts["fields"]) == {"storage_s"}


def test_no_later_start_no_extension_no_second_time(world: World) -> None:
    allow(world)
    first, second = leads(world)
    asked = wish(world)
    with world.as_(system("tests")) as tx:
        later = tx.at + timedelta(hours=5)
    with pytest.raises(Invalid, match="can't be broken"):
        ask(world, replace(asked, starts_at=later))
    grant = ask(world, asked)
    with pytest.raises(Conflict, match="once on a ticket"):
        ask(world, asked)
    approve(world, grant, first)
    with pytest.raises(Invalid, match="at once"):
        approve(world, grant, second, Narrowing(starts_at=later))
    approve(world, grant, second)
    with pytest.raises(Invalid) as refused:
        ask(world, wish(world, ticket_id=asked.ticket_id, extends=grant.id))
    assert "extends" in refused.value.facts["fields"]
    with world.as_(world.admin) as tx:
        lifecycle.end_grant_by_click(tx, grant.id, world.broker.queue)
    with pytest.raises(Conflict, match="once on a ticket"):
        ask(world, asked)


def test_one_that_was_not_given_may_be_asked_again(world: World) -> None:
    allow(world)
    asked = wish(world)
    grant = ask(world, asked)
    with world.as_(world.admin) as tx:
        deciding.refuse(tx, grant.id, "call me instead")
    with pytest.raises(StateConflict, match="already refused"):
        approve(world, grant, leads(world)[0])
    assert ask(world, asked).state == "requested"


def test_two_distinct_leads_and_neither_asked(world: World) -> None:
    allow(world)
    first, second = leads(world)
    grant = ask(world, actor=first)
    _, stranger = enrol(world, "Another tenant")
    with pytest.raises(BreakGlassRefused, match="two other leads"):
        approve(world, grant, first)
    with pytest.raises(BreakGlassRefused, match="decided by two leads"):
        approve(world, grant, world.admin)
    with pytest.raises(Denied, match="glass:break"):
        approve(world, grant, world.engineer)
    with pytest.raises(NotFound):
        approve(world, grant, stranger)
    approve(world, grant, second)
    with pytest.raises(Conflict, match="another person"):
        approve(world, grant, second)
    assert world.grant(grant.id).state == "requested"


def test_a_lead_decides_nothing_but_break_glass(world: World) -> None:
    grant_id = world.request()
    world.work()
    with pytest.raises(Denied):
        approve(world, world.grant(grant_id), leads(world)[0])


def test_a_lead_who_lost_the_role_does_not_count(world: World) -> None:
    allow(world)
    first, second, third = leads(world, 3)
    grant = ask(world)
    approve(world, grant, first)
    with world.as_(system("tests")) as tx:
        people.end_membership(tx, first.person_id, None)
    approve(world, grant, second)
    assert world.grant(grant.id).state == "requested"
    approve(world, grant, third)
    opened = world.grant(grant.id)
    assert opened.state == "approved"
    with world.as_(system("worker")) as tx:
        grounds.prove(tx, world.ports.keys, requests.get_grant(tx, grant.id), "live")
    with world.as_(system("tests")) as tx:
        people.end_membership(tx, third.person_id, None)
    with world.as_(system("worker")) as tx, pytest.raises(ApprovalLost):
        grounds.prove(tx, world.ports.keys, requests.get_grant(tx, grant.id), "live")


def test_only_the_customer_closes_the_review_with_a_word_and_once(world: World) -> None:
    grant = broken(world)
    review = review_of(world, grant)
    _, stranger = enrol(world, "Another tenant")
    for actor, error in ((leads(world)[0], Denied), (world.engineer, Denied), (stranger, NotFound)):
        with world.as_(actor) as tx, pytest.raises(error):
            reviews.close(tx, review.id, "all good")
    with world.as_(stranger) as tx:
        assert reviews.list_reviews(tx) == []
    with world.as_(world.admin) as tx, pytest.raises(Invalid, match="few words"):
        reviews.close(tx, review.id, "  ")
    with world.as_(world.admin) as tx:
        reviews.close(tx, review.id, "we talked it through")
    closed = review_of(world, grant)
    assert (closed.state, closed.note) == ("closed", "we talked it through")
    assert mails_to(world, world.engineer)[-1] == f"Review closed: {grant.id}"
    with world.as_(world.admin) as tx, pytest.raises(StateConflict):
        reviews.close(tx, review.id, "again")


def test_a_late_review_is_told_and_keeps_the_glass_whole(world: World) -> None:
    grant = broken(world)
    first, second = leads(world)
    waiting = ask(world)
    approve(world, waiting, first)
    with world.as_(system("tests")) as tx:
        tx.session.execute(sa.text("UPDATE access_grant SET lapses_at = lapses_at + '9 days'"))
    skip(world, timedelta(hours=73, minutes=1))
    assert review_of(world, grant).is_late
    alarms.sweep_alarms(world.broker.database, 0)
    assert mails_to(world, world.operator)[-1] == "Late: 1 reviews"
    assert mails_to(world, world.admin)[-1] == "Late: 1 reviews"
    with pytest.raises(BreakGlassRefused, match="is late"):
        approve(world, waiting, second)
    with pytest.raises(BreakGlassRefused, match="is late"):
        ask(world)
    with world.as_(world.admin) as tx:
        reviews.close(tx, review_of(world, grant).id, "late, and done")
    approve(world, waiting, second)
    assert world.grant(waiting.id).state == "approved"


def test_the_database_refuses_what_no_code_here_does(world: World) -> None:
    """The second barriers: frozen, by its own side, owed and allowed, closed by the customer."""
    allow(world)
    ordinary = world.request()
    grant, lead = ask(world), leads(world)[0]
    columns = "id, grant_id, person_id, side, verdict, settles, live_s, copy_s, via, at"
    values = "'dec_x', :g, :p, :s, 'approved', false, 1, 0, 'x', now()"
    said = f"INSERT INTO decision ({columns}) VALUES ({values})"
    wrong = [
        ("UPDATE access_grant SET break_glass = true WHERE id = :g", {"g": ordinary}, "frozen"),
        ("UPDATE access_grant SET break_glass = false WHERE id = :g", {"g": grant.id}, "frozen"),
        (said, {"g": ordinary, "p": lead.person_id, "s": "vendor"}, "may not approve"),
        (said, {"g": ordinary, "p": lead.person_id, "s": "tenant"}, "may not approve"),
        (said, {"g": grant.id, "p": world.admin.person_id, "s": "tenant"}, "may not approve"),
        (said, {"g": grant.id, "p": world.engineer.person_id, "s": "vendor"}, "may not approve"),
        ("UPDATE access_grant SET asked_copy_s = 9 WHERE id = :g", {"g": grant.id}, "is_narrow"),
        (
            "UPDATE access_grant SET asked_storage_s = 900 WHERE id = :g",
            {"g": grant.id},
            "break_glass_without_storage",
        ),
    ]
    for statement, given, why in wrong:
        with world.as_(system("tests")) as tx, pytest.raises(sa.exc.DBAPIError, match=why):
            tx.session.execute(sa.text(statement), given)
    review = review_of(world, _open(world, grant))
    closing = "UPDATE review SET state = 'closed', note = 'x', state_by = :p WHERE id = :r"
    for actor in (lead, world.engineer):
        with (
            world.as_(system("tests")) as tx,
            pytest.raises(sa.exc.DBAPIError, match="only the customer"),
        ):
            tx.session.execute(sa.text(closing), {"p": actor.person_id, "r": review.id})


def _open(world: World, grant: Grant) -> Grant:
    for lead in leads(world):
        approve(world, grant, lead)
    return grant
