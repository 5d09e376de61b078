"""What is approved is looked at again where it is used: who approved, and what was signed.

Cases 7, 8 and 9 of the research: an approver who lost the role between the click and the issue; a
row that our own DBA edited after the approval.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker import people, sweeps, tenants
from broker.db import Database
from broker.grants import grounds, leases, mismatch, requests, statements
from broker.grants.approval_policy import ApprovalPolicy
from broker.grants.approvals import ApprovalLost
from broker.grants.mismatch import GrantAltered
from broker.grants.narrowing import Narrowing
from broker.ids import PersonId
from broker.keys import STATEMENTS_KEY
from broker.keys.keyring import Keyring
from broker.snapshots import making, ordering
from broker.tx import Actor, Tx, system
from tests.grants.test_approvals import TWO, admins, approve, planned, set_policy
from tests.stories import control_superuser, sweep
from tests.world import World, add_person

LOST = "of those given still count"


def take_role(world: World, actor: Actor) -> None:
    """By another admin, or by the operator who shuts the account out."""
    with world.as_(system("tests")) as tx:
        add_person(tx, "admin", world.tenant)
        people.end_membership(tx, PersonId(actor.person_id or ""), world.tenant)


def shut_out(world: World, actor: Actor) -> None:
    with world.as_(system("tests")) as tx:
        people.disable_person(tx, PersonId(actor.person_id or ""))


def take_and_give_back(world: World, actor: Actor) -> None:
    take_role(world, actor)
    with world.as_(system("tests")) as tx:
        people.add_membership(tx, PersonId(actor.person_id or ""), "admin", world.tenant)


def test_an_approver_who_lost_the_role_before_the_issue_is_not_counted(world: World) -> None:
    """A role that was given back in between does not make up for it."""
    set_policy_of_two(world)
    for lose in (take_role, shut_out, take_and_give_back):
        (second,) = admins(world, 1)
        grant_id = planned(world)
        approve(world, world.admin, grant_id)
        approve(world, second, grant_id)
        lose(world, second)
        with pytest.raises(ApprovalLost, match=f"needs 2 approvals, and 1 {LOST}"):
            world.lease(grant_id)
        with world.as_(world.engineer) as tx, pytest.raises(ApprovalLost, match="new request"):
            ordering.order(tx, grant_id, None, world.broker.queue)


def set_policy_of_two(world: World) -> None:
    admins(world, 1)
    set_policy(world, TWO)


def test_an_approver_who_lost_the_role_before_the_last_approval_is_not_counted_when_back(
    world: World,
) -> None:
    first, second, third = admins(world, 3)
    set_policy(world, TWO)
    grant_id = planned(world)
    approve(world, first, grant_id)
    take_and_give_back(world, first)
    approve(world, second, grant_id)
    assert world.grant(grant_id).state == "requested"
    approve(world, third, grant_id)
    lease_id, _ = world.lease(grant_id)
    world.work()
    assert world.find_lease(lease_id).state == "issued"


def test_lost_between_asking_and_making_no_role_and_no_copy_is_made(world: World) -> None:
    grant_id = world.approved()
    lease_id, _ = world.lease(grant_id)
    snapshot_id = world.order(grant_id)
    take_role(world, world.admin)
    world.work()
    lease, snapshot = world.find_lease(lease_id), world.snapshot(snapshot_id)
    assert lease.state in {"revoking", "revoked"}
    assert not roles_of(world, lease.role_name)
    assert snapshot.state in {"condemned", "destroyed"}
    assert snapshot.condemned_why == ApprovalLost.why
    assert "grant.altered" not in world.kinds()  # nobody did anything wrong


def test_who_asked_and_was_shut_out_gets_nothing_and_it_ends(world: World) -> None:
    grant_id, waiting = world.approved(), world.request()
    shut_out(world, world.engineer)
    with pytest.raises(people.Denied):
        world.lease(grant_id)
    sweep(world)
    for ended in (grant_id, waiting):
        grant = world.grant(ended)
        assert (grant.state, grant.end_reason) == ("ended", "the person who asked was disabled")


_ALTERED = {
    "a longer window": (
        (
            "UPDATE access_grant SET live_until = live_until + interval '1 minute', "
            "given_live_s = given_live_s + 60, asked_live_s = asked_live_s + 60"
        ),
        {"asked.live_s", "result.live_s", "result.live_until"},
    ),
    "a kind that was not given": (
        "UPDATE access_grant SET copy_until = ends_at, given_copy_s = 60, asked_copy_s = 60",
        {"asked.copy_s", "result.copy_s", "result.copy_until"},
    ),
    "the plan that was asked, not the narrowed one": (
        "UPDATE access_grant SET given_digest = asked_digest",
        {"result.plan"},
    ),
    "another person": (
        (
            "UPDATE access_grant SET requester_id = "
            "(SELECT id FROM person WHERE id <> requester_id AND side = 'vendor' LIMIT 1)"
        ),
        {"asked.by"},
    ),
    "what one admin gave": ("UPDATE decision SET live_s = live_s + 60", {"gives.live_s"}),
    "who decided": ("UPDATE decision SET via = 'token'", {"by.via"}),
    "the statement itself": (
        "UPDATE statement SET envelope = overlay(envelope placing '\\x00' from 90)",
        {"signature"},
    ),
    "no statement any more": ("DELETE FROM statement", {"statement"}),
    "no decision any more": ("UPDATE decision SET settles = false", {"decision"}),
}
_MADE = {
    "a lease that lasts longer": "UPDATE lease SET ends_at = ends_at + interval '1 minute'",
    "a lease with another scope": "UPDATE lease SET scope_name = 'sab_s_000000000000'",
    "a lease of another person": (
        "UPDATE lease SET person_id = (SELECT id FROM person WHERE side = 'vendor' "
        "AND id <> person_id LIMIT 1)"
    ),
    "a plan": "UPDATE plan SET document = jsonb_set(document, '{remarks}', '[\"more\"]')",
    "a copy that lives longer": "UPDATE snapshot SET ends_at = ends_at + interval '1 minute'",
    "a copy by another plan": (
        "UPDATE snapshot SET plan_digest = (SELECT asked_digest FROM access_grant LIMIT 1)"
    ),
}


class _Undone(Exception):
    """Takes an edit back."""


@contextmanager
def edited(world: World, edit: str) -> Iterator[Tx]:
    """As the owner of the control database would, past its triggers; taken back at the end."""
    dsn = world.broker.settings.control.owner_dsn
    assert dsn is not None
    database = Database(dsn)
    with suppress(_Undone), database.begin(system("tests")) as tx:
        for table in _TABLES:
            tx.session.execute(sa.text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        tx.session.execute(sa.text(edit))
        yield tx
        raise _Undone
    database.close()


_TABLES = ("access_grant", "decision", "statement", "plan", "lease", "snapshot")
NARROWED = Narrowing(tables_out=frozenset({"crm.notes"}), copy_s=0)


def test_whatever_is_edited_after_the_approval_is_named(world: World) -> None:
    grant_id = world.approved(NARROWED)
    statements.sign_due(world.broker.database, world.ports.keys)
    for edit, fields in _ALTERED.values():
        with edited(world, edit) as tx, pytest.raises(GrantAltered) as found:
            grounds.prove(tx, world.ports.keys, requests.get_grant(tx, grant_id), "live")
        assert set(found.value.fields) == fields
    with world.as_(system("tests")) as tx:  # and nothing is, where nothing was
        grounds.prove(tx, world.ports.keys, requests.get_grant(tx, grant_id), "live")


def test_no_lease_and_no_copy_asks_for_more_than_was_signed(world: World) -> None:
    grant_id = world.approved(replace(NARROWED, copy_s=None))
    lease_id, _ = world.lease(grant_id)
    snapshot_id = world.order(grant_id)

    def check(tx: Tx) -> None:
        grant, lease = requests.get_grant(tx, grant_id), leases.get_lease(tx, lease_id)
        grounds.check_lease(tx, grant, lease)
        making.prove(tx, world.ports, ordering.get_snapshot(tx, snapshot_id))

    for edit in _MADE.values():
        with edited(world, edit) as tx, pytest.raises(GrantAltered):
            check(tx)
    with edited(world, "SELECT") as tx:
        check(tx)


def test_an_edited_row_gives_no_login_and_no_copy_and_raises_the_alarm(world: World) -> None:
    grant_id = world.approved(replace(NARROWED, copy_s=None))
    statements.sign_due(world.broker.database, world.ports.keys)
    lease_id, _ = world.lease(grant_id)
    snapshot_id = world.order(grant_id)
    with control_superuser(world) as connection:
        connection.execute("UPDATE access_grant SET given_digest = asked_digest")
    world.work()
    lease, snapshot = world.find_lease(lease_id), world.snapshot(snapshot_id)
    assert lease.state in {"revoking", "revoked"}
    assert snapshot.condemned_why == mismatch.WHY
    assert not roles_of(world, lease.role_name)
    (entry,) = [e for e in world.entries() if e["kind"] == "grant.altered"]
    assert entry["facts"] == {"fields": ["result.plan"]}
    with world.as_(system("tests")) as tx:
        told = tx.session.scalars(
            sa.text("SELECT person_id FROM mail WHERE subject LIKE 'Alarm%'")
        ).all()
    assert sorted(told) == sorted([world.admin.person_id or "", world.operator.person_id or ""])
    sweep(world)
    grant = world.grant(grant_id)
    assert (grant.state, grant.end_reason) == ("ended", mismatch.WHY)


def test_a_plan_whose_words_were_edited_makes_no_scope(world: World) -> None:
    lease_id, _ = world.lease(world.approved())
    with control_superuser(world) as connection:
        connection.execute(_MADE["a plan"])
    world.work()
    assert not roles_of(world, world.find_lease(lease_id).role_name)
    assert "grant.altered" in world.kinds()


def roles_of(world: World, name: str) -> list[tuple]:
    return world.find_on_server(world.live, "SELECT 1 FROM pg_roles WHERE rolname = %s", name)


def test_a_statement_that_was_taken_away_is_not_signed_again_over_another_row(
    world: World,
) -> None:
    world.approved()
    assert statements.sign_due(world.broker.database, world.ports.keys) == 1
    with control_superuser(world) as connection:
        connection.execute("DELETE FROM statement")
    statements.sign_due(world.broker.database, world.ports.keys)
    with world.as_(system("tests")) as tx:
        assert tx.session.scalar(sa.text("SELECT count(*) FROM statement")) == 0
    assert world.kinds().count("grant.altered") == 1
    assert statements.sign_due(world.broker.database, world.ports.keys) == 0


def test_the_version_that_was_frozen_counts_whatever_the_policy_says_by_then(world: World) -> None:
    """Case 8: between request, approval and issue."""
    admins(world, 1)
    grant_id = planned(world)
    set_policy(world, ApprovalPolicy(approvals=2, live_max_s=60))
    approve(world, world.admin, grant_id)
    set_policy(world, ApprovalPolicy(approvals=2, live_max_s=0))
    lease_id, _ = world.lease(grant_id)
    world.work()
    grant = world.grant(grant_id)
    assert (grant.policy_version, grant.given_live_s) == (0, 3600)
    assert world.find_lease(lease_id).state == "issued"


def test_a_grant_is_signed_where_it_is_used_before_the_job_came_by(world: World) -> None:
    grant_id = world.approved()
    world.lease(grant_id)
    world.work()
    assert "decision.signed" in world.kinds()
    assert sweeps.sweep_ends(world.broker.database, world.broker.queue, 0) == 0


def test_what_was_signed_before_the_key_was_turned_still_holds(world: World) -> None:
    grant_id = world.approved()
    statements.sign_due(world.broker.database, world.ports.keys)
    keyring = world.ports.keys
    assert isinstance(keyring, Keyring)
    keyring.turn_statements()
    with world.as_(system("tests")) as tx:
        grounds.prove(tx, keyring, requests.get_grant(tx, grant_id), "live")


def test_a_key_that_only_the_control_database_names_signs_nothing(
    world: World, tmp_path: Path
) -> None:
    """Whoever writes SQL there can publish a key; only the key port's own count."""
    grant_id = world.approved()
    invented = Keyring.create_folder(tmp_path / "invented")
    statements.sign_due(world.broker.database, invented)
    public = invented.public(STATEMENTS_KEY)
    with world.as_(system("tests")) as tx:
        tenants.publish_key(tx, STATEMENTS_KEY, public)
    with world.as_(system("tests")) as tx, pytest.raises(GrantAltered) as found:
        grounds.prove(tx, world.ports.keys, requests.get_grant(tx, grant_id), "live")
    assert found.value.fields == ("signature",)


_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
_documents = st.dictionaries(st.sampled_from("abc"), _values, max_size=3)


# A machine that does much else draws slowly, which says nothing of what is compared.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(_documents, _documents)
def test_what_was_signed_is_compared_whole(signed: dict, fresh: dict) -> None:
    """Nothing differs just when every part that was signed stands in the fresh one."""

    def holds(one: object, other: object) -> bool:
        if isinstance(one, dict) and isinstance(other, dict):
            return all(name in other and holds(value, other[name]) for name, value in one.items())
        return one == other

    same = holds(json.loads(json.dumps(signed)), json.loads(json.dumps(fresh)))
    assert same == (not list(grounds.compare(signed, fresh)))
