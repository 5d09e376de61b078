"""Standing approvals: given as decisions are, narrow, ended; each use counted, told and signed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import psycopg
import pytest
import sqlalchemy as sa

from broker import lifecycle, people
from broker.audit.dsse import open_envelope
from broker.audit.note import VerifierKey
from broker.audit.statements import TYPES
from broker.errors import Conflict, Denied, Invalid, NotFound
from broker.grants import (
    approval_policy,
    decisions,
    requests,
    shown_plans,
    standing,
    standing_queries,
)
from broker.grants.approval_policy import ApprovalPolicy
from broker.grants.model import Grant
from broker.grants.narrowing import Narrowing
from broker.grants.standing import Draft
from broker.grants.statements import sign_due
from broker.ids import PersonId
from broker.tx import Actor, system
from tests.stories import control_superuser, pinned, skip, sweep
from tests.world import REASON, World, add_person, enrol

HOUR = Narrowing(live_s=3600, copy_s=0)


def planned(world: World) -> str:
    """A request that no standing approval fits, with its plan: what an admin is shown."""
    grant_id = world.request()
    world.work()
    return grant_id


def draft(world: World, **changes: object) -> Draft:
    grant_id = planned(world)
    with world.as_(system("tests")) as tx:
        ends_at = tx.at + timedelta(days=30)
    made = Draft(
        grant_id=grant_id,
        shown_digest=world.grant(grant_id).asked_digest or "",
        narrowing=HOUR,
        ends_at=ends_at,
        severities=("1",),
    )
    return replace(made, **changes)


def propose(world: World, made: Draft, actor: Actor | None = None) -> str:
    with world.as_(actor or world.admin) as tx:
        return standing.propose(tx, made, world.broker.settings.times)


def state_of(world: World, standing_id: str) -> str:
    with world.as_(system("tests")) as tx:
        return standing.get_standing(tx, standing_id).state


def ask(world: World, *, severity: str | None = "1", live_s: int = 3600, **more: int) -> Grant:
    grant_id = world.request(
        world.ticket(severity=severity), live_s=live_s, copy_s=more.get("copy_s", 0)
    )
    world.work()
    return world.grant(grant_id)


def end(world: World, standing_id: str, *, keep: bool = False, actor: Actor | None = None) -> None:
    with world.as_(actor or world.admin) as tx:
        lifecycle.end_standing_by_click(tx, standing_id, world.broker.queue, keep=keep)


def mails_to(world: World, actor: Actor) -> Sequence[str]:
    with world.as_(system("tests")) as tx:
        query = sa.text("SELECT subject FROM mail WHERE person_id = :p ORDER BY id")
        return tx.session.scalars(query, {"p": actor.person_id}).all()


def test_a_request_that_fits_is_approved_at_once_told_and_signed(world: World) -> None:
    narrowing = Narrowing(
        tables_out=frozenset({"crm.notes"}),
        columns_masked=frozenset({"crm.orders.reference"}),
        live_s=3600,
        copy_s=0,
    )
    standing_id = propose(world, draft(world, narrowing=narrowing))
    grant = ask(world)
    assert (grant.state, grant.standing_id, grant.state_by) == ("approved", standing_id, None)
    assert grant.live_until == grant.state_at + timedelta(hours=1)
    with world.as_(system("tests")) as tx:
        given = shown_plans.get_plan(tx, grant.id, grant.given_digest)
        terms = standing.get_standing(tx, standing_id).digest
    notes, orders = given.find_table("crm.notes"), given.find_table("crm.orders")
    assert notes is not None
    assert orders is not None
    assert not notes.rows
    assert orders.fates()["reference"].mask != "keep"
    approved = [e for e in world.entries() if e["kind"] == "grant.approved"][-1]
    assert approved["actor"] == {"side": "system", "via": "worker"}
    assert approved["facts"]["standing"] == standing_id
    assert approved["facts"]["terms"] == terms
    assert mails_to(world, world.admin)[-1] == f"Approved in advance: {grant.id}"

    lease_id, password = world.lease(grant.id)
    world.work()
    with world.login(lease_id, password) as session:
        assert session.execute("SELECT count(*) FROM orders").fetchone() != (0,)
        with pytest.raises(psycopg.errors.UndefinedTable):
            session.execute("SELECT * FROM notes")

    sign_due(world.broker.database, world.ports.keys)
    with world.as_(world.admin) as tx:
        (decided,) = decisions.list_decisions(tx, grant.id)
        envelope = decisions.read_decision_envelope(tx, decided.id)
    said = read_statement(envelope, pinned(world))
    assert decided.person_id == world.admin.person_id
    assert said["standing"]["id"] == standing_id
    assert said["standing"]["terms"] == terms
    assert said["result"]["live_until"] == as_text(grant.live_until)


def read_statement(envelope: bytes, keys: Sequence[VerifierKey]) -> dict[str, dict[str, str]]:
    return json.loads(open_envelope(envelope, TYPES["decision"], keys))


def as_text(at: datetime | None) -> str:
    assert at is not None
    return at.isoformat().replace("+00:00", "Z")


def test_what_does_not_fit_waits_for_people_as_ever(world: World) -> None:
    standing_id = propose(world, draft(world))
    asked = [
        ask(world, severity="2"),
        ask(world, severity=None),
        ask(world, live_s=3601),
        ask(world, copy_s=60),
    ]
    assert {grant.state for grant in asked} == {"requested"}
    assert mails_to(world, world.admin)[-1].startswith("A request waits for you")
    world.approve(asked[0].id)
    assert world.grant(asked[0].id).standing_id is None
    assert state_of(world, standing_id) == "given"


def test_a_ticket_is_opened_once_and_more_is_asked_of_people(world: World) -> None:
    propose(world, draft(world))
    ticket_id = world.ticket(severity="1")
    first = world.request(ticket_id, live_s=600, copy_s=0)
    world.work()
    again = world.request(ticket_id, live_s=600, copy_s=0)
    world.work()
    assert [world.grant(one).state for one in (first, again)] == ["approved", "requested"]


def test_an_extension_is_decided_by_people(world: World) -> None:
    propose(world, draft(world, per_ticket=5))
    first = ask(world)
    wish = requests.Ask(
        first.ticket_id, world.database_id, "incident", REASON, 600, 0, extends=first.id
    )
    with world.as_(world.engineer) as tx:
        more = requests.request(tx, wish, world.broker.settings.times, world.broker.queue)
    world.work()
    assert world.grant(more).state == "requested"


def test_as_many_must_agree_as_the_policy_asks(world: World) -> None:
    with world.as_(system("tests")) as tx:
        second = add_person(tx, "admin", world.tenant)
    with world.as_(world.admin) as tx:
        approval_policy.propose(tx, world.tenant, ApprovalPolicy(approvals=2))
    standing_id = propose(world, draft(world))
    assert state_of(world, standing_id) == "proposed"
    assert ask(world).state == "requested"
    assert mails_to(world, second)[-2].startswith("A standing approval waits for you")
    with world.as_(system("tests")) as tx:
        digest = standing.get_standing(tx, standing_id).digest
    with world.as_(world.admin) as tx, pytest.raises(Conflict, match="another person must agree"):
        standing.agree(tx, standing_id, digest)
    with world.as_(second) as tx, pytest.raises(Conflict, match="read it again"):
        standing.agree(tx, standing_id, "0" * 64)
    with world.as_(second) as tx:
        standing.agree(tx, standing_id, digest)
    assert state_of(world, standing_id) == "given"
    grant = ask(world)
    with world.as_(world.admin) as tx:
        decided = decisions.list_decisions(tx, grant.id)
    assert grant.state == "approved"
    assert {one.person_id for one in decided} == {world.admin.person_id, second.person_id}
    assert [one.settles for one in decided].count(True) == 1


def test_it_answers_nothing_once_who_gave_it_may_approve_no_more(world: World) -> None:
    with world.as_(system("tests")) as tx:
        giver = add_person(tx, "admin", world.tenant)
    standing_id = propose(world, draft(world), giver)
    with world.as_(world.admin) as tx:
        people.end_membership(tx, PersonId(giver.person_id or ""), world.tenant)
    assert ask(world).state == "requested"
    assert state_of(world, standing_id) == "given"


def test_a_policy_that_asks_for_more_people_later_holds_for_what_was_given_before(
    world: World,
) -> None:
    with world.as_(system("tests")) as tx:
        add_person(tx, "admin", world.tenant)
    propose(world, draft(world))
    with world.as_(world.admin) as tx:
        approval_policy.propose(tx, world.tenant, ApprovalPolicy(approvals=2))
    assert ask(world).state == "requested"


def test_any_admin_ends_it_at_once_with_what_it_gave(world: World) -> None:
    with world.as_(system("tests")) as tx:
        other = add_person(tx, "admin", world.tenant)
    standing_id = propose(world, draft(world))
    grant = ask(world)
    lease_id, _ = world.lease(grant.id)
    world.work()
    end(world, standing_id, actor=other)
    world.work()
    assert world.grant(grant.id).end_reason == "the standing approval was withdrawn"
    assert world.find_lease(lease_id).state == "revoked"
    assert ask(world).state == "requested"
    with world.as_(other) as tx, pytest.raises(Conflict, match="over already"):
        lifecycle.end_standing_by_click(tx, standing_id, world.broker.queue, keep=False)


def test_the_admin_may_let_what_it_gave_go_on(world: World) -> None:
    standing_id = propose(world, draft(world))
    grant = ask(world)
    end(world, standing_id, keep=True)
    sweep(world)
    assert world.grant(grant.id).state == "approved"
    assert ask(world).state == "requested"


def test_a_sweep_ends_what_a_withdrawn_one_gave_also_if_the_click_was_lost(world: World) -> None:
    standing_id = propose(world, draft(world))
    grant = ask(world)
    with world.as_(world.admin) as tx:
        standing.mark_ended(tx, standing.get_standing(tx, standing_id), "lost", keep=False)
    sweep(world)
    assert world.grant(grant.id).end_reason == "the standing approval was withdrawn"


def test_ending_everything_of_the_tenant_ends_it_too(world: World) -> None:
    standing_id = propose(world, draft(world))
    with world.as_(world.admin) as tx:
        lifecycle.end_all_of_tenant(tx, world.tenant, world.broker.queue)
    assert state_of(world, standing_id) == "ended"
    assert ask(world).state == "requested"


def test_it_ends_by_itself_and_nothing_given_under_it_lasts_longer(world: World) -> None:
    made = draft(world)
    short = replace(made, ends_at=made.ends_at - timedelta(days=30) + timedelta(minutes=90))
    standing_id = propose(world, short)
    inside = ask(world)
    assert inside.state == "approved"
    assert inside.ends_at is not None
    assert inside.ends_at <= short.ends_at
    skip(world, timedelta(minutes=45))
    assert ask(world).state == "requested"  # an hour from now would be after its end
    skip(world, timedelta(minutes=91))
    assert ask(world, live_s=60).state == "requested"
    sweep(world)
    assert state_of(world, standing_id) == "ended"


def test_a_proposal_that_nobody_else_agrees_to_lapses(world: World) -> None:
    with world.as_(system("tests")) as tx:
        add_person(tx, "admin", world.tenant)
    with world.as_(world.admin) as tx:
        approval_policy.propose(tx, world.tenant, ApprovalPolicy(approvals=2, unanswered_s=600))
    standing_id = propose(world, draft(world))
    skip(world, timedelta(seconds=601))
    sweep(world)
    assert state_of(world, standing_id) == "ended"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"severities": ()}, "severities"),
        ({"severities": ("\x00",)}, "severities"),
        ({"narrowing": Narrowing(live_s=0, copy_s=0)}, "live_max_s"),
        ({"narrowing": Narrowing(live_s=10**6, copy_s=0)}, "live_max_s"),
        ({"per_ticket": 21}, "per_ticket"),
    ],
)
def test_what_is_not_narrow_is_refused_naming_the_field(
    world: World, changes: dict[str, object], named: str
) -> None:
    made = draft(world, **changes)
    with pytest.raises(Invalid) as refused:
        propose(world, made)
    assert named in refused.value.facts["fields"]


def test_only_an_admin_of_that_tenant_gives_on_a_plan_that_was_shown(world: World) -> None:
    made = draft(world)
    _, stranger = enrol(world, "Other tenant")
    with world.as_(system("tests")) as tx:
        auditor = add_person(tx, "auditor", world.tenant)
        lead = add_person(tx, "lead", None)
    for actor, error in ((stranger, NotFound), (auditor, Denied), (lead, Denied)):
        with pytest.raises(error):
            propose(world, made, actor)
    with pytest.raises(Conflict, match="read it again"):
        propose(world, replace(made, shown_digest="0" * 64))
    standing_id = propose(world, made)
    with world.as_(stranger) as tx, pytest.raises(NotFound):
        standing_queries.get_view(tx, standing_id)
    with world.as_(world.engineer) as tx, pytest.raises(Denied):
        lifecycle.end_standing_by_click(tx, standing_id, world.broker.queue, keep=True)


def test_the_database_itself_refuses_what_it_did_not_give(world: World) -> None:
    """The second barrier: a hand in the tables."""
    standing_id = propose(world, draft(world))
    grant = ask(world, severity="2")
    use = sa.text("UPDATE access_grant SET standing_id = :s WHERE id = :g")
    with world.as_(system("tests")) as tx:
        tx.session.execute(use, {"s": standing_id, "g": grant.id})
    too_long = (
        "UPDATE access_grant SET state = 'approved', ends_at = now() + interval '60 days' "
        f"WHERE id = '{grant.id}'"
    )
    by_another = (
        "INSERT INTO decision (id, grant_id, person_id, side, verdict, settles, live_s, copy_s, "
        f"via, at, standing_id, terms_digest) VALUES ('dec_x', '{grant.id}', "
        f"'{world.engineer.person_id}', 'tenant', 'approved', true, 1, 1, 'x', now(), "
        f"'{standing_id}', 'x')"
    )
    too_few = "UPDATE standing_approval SET state = 'given', approvals_needed = 3"
    statements = (too_long, by_another, too_few)
    for statement in statements:
        with control_superuser(world) as connection, pytest.raises(psycopg.errors.RaiseException):
            connection.execute(statement)
