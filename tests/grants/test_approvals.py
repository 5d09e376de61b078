"""Several people approve, by the tenant's own policy: counted once each, and only narrowing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from broker import people
from broker.errors import Conflict, Denied, Invalid, NotFound
from broker.grants import approval_policy, deciding, decisions, requests, shown_plans
from broker.grants.approval_policy import ApprovalPolicy
from broker.grants.narrowing import Narrowing, Windows, meet_plans, meet_windows, narrow_plan
from broker.grants.plan import Plan
from broker.ids import PersonId
from broker.states import StateConflict
from broker.tx import Actor, system
from tests.grants.plans import PLAN
from tests.stories import control_superuser
from tests.world import World, add_person, enrol

TWO = ApprovalPolicy(approvals=2)


def admins(world: World, count: int) -> list[Actor]:
    with world.as_(system("tests")) as tx:
        return [add_person(tx, "admin", world.tenant) for _ in range(count)]


def set_policy(world: World, policy: ApprovalPolicy, actor: Actor | None = None) -> None:
    with world.as_(actor or world.admin) as tx:
        approval_policy.propose(tx, world.tenant, policy)


def planned(world: World) -> str:
    grant_id = world.request()
    world.work()
    return grant_id


def approve(
    world: World,
    actor: Actor,
    grant_id: str,
    narrowing: Narrowing = Narrowing(),  # noqa: B008  # frozen
) -> None:
    shown = world.grant(grant_id).asked_digest or ""
    with world.as_(actor) as tx:
        deciding.approve(tx, grant_id, shown, narrowing)


def given_plan(world: World, grant_id: str) -> Plan:
    with world.as_(system("tests")) as tx:
        return shown_plans.get_plan(tx, grant_id, world.grant(grant_id).given_digest)


def test_nothing_is_given_until_the_second_of_two_approves(world: World) -> None:
    (second,) = admins(world, 1)
    set_policy(world, TWO)
    grant_id = planned(world)
    approve(world, world.admin, grant_id)
    assert world.grant(grant_id).state == "requested"
    with pytest.raises(requests.GrantRefused, match="not approved yet"):
        world.lease(grant_id)
    approve(world, second, grant_id)
    grant = world.grant(grant_id)
    assert (grant.state, grant.state_by) == ("approved", second.person_id)
    assert grant.live_until == grant.state_at + timedelta(seconds=grant.given_live_s)
    kinds = [kind for kind in world.kinds() if kind in {"approval.given", "grant.approved"}]
    assert kinds == ["approval.given", "grant.approved"]


def test_one_person_never_counts_twice(world: World) -> None:
    """Also not by an API token, nor by having both roles of a tenant."""
    admins(world, 1)
    set_policy(world, TWO)
    grant_id = planned(world)
    approve(world, world.admin, grant_id)
    with world.as_(system("tests")) as tx:
        people.add_membership(tx, PersonId(world.admin.person_id or ""), "auditor", world.tenant)
    by_token = Actor("tenant", "token", world.admin.person_id)
    for actor in (world.admin, by_token):
        with pytest.raises(Conflict, match="already"):
            approve(world, actor, grant_id)
    assert world.grant(grant_id).state == "requested"


def test_who_lost_the_role_before_the_second_approval_is_not_counted(world: World) -> None:
    first, second, third = admins(world, 3)
    set_policy(world, TWO)
    grant_id = planned(world)
    approve(world, first, grant_id)
    with world.as_(world.admin) as tx:
        people.end_membership(tx, PersonId(first.person_id or ""), world.tenant)
    approve(world, second, grant_id)
    assert world.grant(grant_id).state == "requested"
    approve(world, third, grant_id)
    assert world.grant(grant_id).state == "approved"


def test_two_who_narrow_differently_give_what_both_give(world: World) -> None:
    (second,) = admins(world, 1)
    set_policy(world, TWO)
    grant_id = planned(world)
    one = Narrowing(tables_out=frozenset({"crm.notes"}), live_s=600)
    two = Narrowing(columns_masked=frozenset({"crm.companies.sector"}), live_s=1200, copy_s=3600)
    approve(world, world.admin, grant_id, one)
    approve(world, second, grant_id, two)
    grant, plan = world.grant(grant_id), given_plan(world, grant_id)
    assert (grant.given_live_s, grant.given_copy_s) == (600, 3600)
    notes, companies = plan.find_table("crm.notes"), plan.find_table("crm.companies")
    assert notes is not None
    assert companies is not None
    assert not notes.rows
    assert companies.fates()["sector"].mask != "keep"
    with world.as_(world.admin) as tx:
        first, last = decisions.list_decisions(tx, grant_id)
    assert (first.live_s, first.settles) == (600, False)
    assert (last.live_s, last.settles) == (1200, True)


def test_an_empty_intersection_is_refused_with_a_sentence(world: World) -> None:
    (second,) = admins(world, 1)
    set_policy(world, TWO)
    grant_id = planned(world)
    approve(world, world.admin, grant_id, Narrowing(copy_s=0))
    with pytest.raises(Invalid, match="only live access, another only a copy"):
        approve(world, second, grant_id, Narrowing(live_s=0))
    assert world.grant(grant_id).state == "requested"


def test_a_refusal_by_any_approver_refuses(world: World) -> None:
    (second,) = admins(world, 1)
    set_policy(world, TWO)
    grant_id = planned(world)
    approve(world, world.admin, grant_id)
    with world.as_(second) as tx:
        deciding.refuse(tx, grant_id, "not on a Friday")
    assert world.grant(grant_id).state == "refused"
    with pytest.raises(StateConflict, match="already refused"):
        approve(world, second, grant_id)


def test_two_at_the_same_instant_are_both_counted_and_settle_it_once(world: World) -> None:
    (second,) = admins(world, 1)
    set_policy(world, TWO)
    grant_id = planned(world)
    digest = world.grant(grant_id).asked_digest or ""
    together = threading.Barrier(2)

    def decide(actor: Actor) -> None:
        with world.as_(actor) as tx:
            together.wait(30)
            deciding.approve(tx, grant_id, digest, Narrowing())

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(decide, (world.admin, second)))
    assert world.grant(grant_id).state == "approved"
    assert world.kinds().count("grant.approved") == 1
    assert world.kinds().count("approval.given") == 1


def test_a_policy_changed_later_does_not_touch_what_was_asked_before(world: World) -> None:
    admins(world, 1)
    set_policy(world, TWO)
    grant_id = planned(world)
    set_policy(world, ApprovalPolicy())
    assert world.grant(grant_id).policy_version == 1
    approve(world, world.admin, grant_id)
    assert world.grant(grant_id).state == "requested"
    assert world.grant(planned(world)).policy_version == 2


def test_only_those_whom_the_policy_names_approve(world: World) -> None:
    (named,) = admins(world, 1)
    set_policy(world, ApprovalPolicy(approvers=(named.person_id or "",)))
    grant_id = planned(world)
    with pytest.raises(Denied, match="names others"):
        approve(world, world.admin, grant_id)
    approve(world, named, grant_id)
    assert world.grant(grant_id).state == "approved"


def test_a_customer_shortens_what_can_be_asked_and_how_long_a_request_waits(world: World) -> None:
    set_policy(world, ApprovalPolicy(live_max_s=1800, copy_max_s=0, unanswered_s=900))
    with pytest.raises(Invalid) as refused:
        world.request(live_s=1801, copy_s=60)
    assert set(refused.value.facts["fields"]) == {"live_s", "copy_s"}
    grant = world.grant(world.request(live_s=1800, copy_s=0))
    assert grant.lapses_at - grant.requested_at == timedelta(seconds=900)


def test_a_customer_can_not_lengthen_the_brokers_own_limits(world: World) -> None:
    set_policy(world, ApprovalPolicy(live_max_s=30 * 86400, unanswered_s=30 * 86400))
    with pytest.raises(Invalid):
        world.request(live_s=24 * 3600 + 1)
    grant = world.grant(world.request())
    assert grant.lapses_at - grant.requested_at == timedelta(hours=12)


def test_a_change_waits_for_another_admin_where_the_policy_says_so(world: World) -> None:
    (second,) = admins(world, 1)
    set_policy(world, ApprovalPolicy(approvals=2, second_person=True))
    set_policy(world, ApprovalPolicy())
    with world.as_(world.admin) as tx:
        view = approval_policy.get_view(tx, world.tenant)
    assert (view.version, view.policy.approvals, view.proposed_version) == (1, 2, 2)
    with world.as_(world.admin) as tx, pytest.raises(Denied, match="another admin"):
        approval_policy.confirm(tx, world.tenant, 2)
    with world.as_(second) as tx:
        approval_policy.confirm(tx, world.tenant, 2)
    with world.as_(second) as tx, pytest.raises(Conflict):
        approval_policy.confirm(tx, world.tenant, 2)
    assert world.grant(planned(world)).approvals_needed == 1
    kinds = [kind for kind in world.kinds() if kind.startswith("policy.")]
    assert kinds == ["policy.changed", "policy.proposed", "policy.changed"]


def test_what_an_admin_proposed_who_is_none_any_more_is_not_confirmed(world: World) -> None:
    second, third = admins(world, 2)
    set_policy(world, ApprovalPolicy(second_person=True))
    set_policy(world, ApprovalPolicy(), second)
    with world.as_(world.admin) as tx:
        people.end_membership(tx, PersonId(second.person_id or ""), world.tenant)
    with world.as_(third) as tx, pytest.raises(Conflict, match="no admin any more"):
        approval_policy.confirm(tx, world.tenant, 2)


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (ApprovalPolicy(approvals=2), "approvals"),
        (ApprovalPolicy(approvals=0), "approvals"),
        (ApprovalPolicy(approvals=4), "approvals"),
        (ApprovalPolicy(second_person=True), "second_person"),
        (ApprovalPolicy(approvers=("psn_unknown",)), "approvers"),
        (ApprovalPolicy(unanswered_s=0), "unanswered_s"),
        (ApprovalPolicy(live_max_s=-1), "live_max_s"),
    ],
)
def test_no_policy_locks_its_own_tenant_out(
    world: World, policy: ApprovalPolicy, field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        set_policy(world, policy)
    assert field in refused.value.facts["fields"]


def test_neither_the_vendor_nor_an_auditor_nor_another_tenant_changes_a_policy(
    world: World,
) -> None:
    with world.as_(system("tests")) as tx:
        auditor = add_person(tx, "auditor", world.tenant)
    _, stranger = enrol(world, "Other tenant")
    refused = ((auditor, Denied), (world.operator, Denied), (world.engineer, Denied))
    for actor, error in (*refused, (stranger, NotFound)):
        with pytest.raises(error):
            set_policy(world, ApprovalPolicy(), actor)


def test_the_database_itself_refuses_too_few_approvals_and_an_unfrozen_policy(
    world: World,
) -> None:
    """The second barrier: whatever the code does."""
    (second,) = admins(world, 1)
    set_policy(world, TWO)
    grant_id = planned(world)
    with pytest.raises(sa.exc.DBAPIError, match="frozen"), world.as_(world.admin) as tx:
        tx.session.execute(sa.text("UPDATE access_grant SET approvals_needed = 1"))
    approve(world, world.admin, grant_id)
    approve(world, second, grant_id)
    with control_superuser(world) as connection:
        connection.execute("DELETE FROM decision WHERE NOT settles")
        with pytest.raises(Exception, match="fewer approvals"):
            connection.execute("UPDATE access_grant SET state = 'approved'")


def test_the_database_itself_counts_nobody_twice(world: World) -> None:
    grant_id = world.approved()
    again = sa.text(
        "INSERT INTO decision (id, grant_id, person_id, side, verdict, settles, live_s, copy_s, "
        "via, at) SELECT 'dec_again', grant_id, person_id, side, verdict, false, live_s, copy_s, "
        "via, at FROM decision WHERE grant_id = :g"
    )
    with pytest.raises(sa.exc.IntegrityError, match="decision_of_person"):  # noqa: SIM117
        with world.as_(world.admin) as tx:
            tx.session.execute(again, {"g": grant_id})


_NAMES = [table.full_name for table in PLAN.tables]
_KEPT = [f"{t.full_name}.{c.name}" for t in PLAN.tables for c in t.columns if c.fallback]
_narrowings = st.builds(
    Narrowing,
    tables_out=st.frozensets(st.sampled_from(_NAMES), max_size=len(_NAMES) - 1),
    columns_masked=st.frozensets(st.sampled_from(_KEPT)),
)


def shown(plan: Plan) -> set[str]:
    return {
        f"{t.full_name}.{c.name}" for t in plan.tables if t.rows for c in t.columns if c.kept
    } | {t.full_name for t in plan.tables if t.rows}


@given(st.lists(_narrowings, min_size=1, max_size=3))
def test_what_all_give_is_exactly_what_each_gives(narrowings: list[Narrowing]) -> None:
    plans = [narrow_plan(PLAN, narrowing) for narrowing in narrowings]
    common = set.intersection(*map(shown, plans))
    if len(plans) > 1 and not any(name in common for name in _NAMES):
        with pytest.raises(Invalid, match="no table is left"):
            meet_plans(plans)
    else:
        assert shown(meet_plans(plans)) == common


@given(st.lists(st.builds(Windows, st.integers(1, 99), st.integers(0, 99)), min_size=1))
def test_no_window_of_all_is_longer_than_that_of_one(windows: list[Windows]) -> None:
    met = meet_windows(windows)
    assert all(met.live_s <= one.live_s and met.copy_s <= one.copy_s for one in windows)
