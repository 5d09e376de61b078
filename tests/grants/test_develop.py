"""Logins on a copy that may change its definitions: asked, given, taken away as such (G2, G3)."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from broker.engines import Catalogue, Column, Table
from broker.engines.postgres.masks import find_obstacle
from broker.engines.postgres.scram import make_verifier, new_password
from broker.errors import Invalid
from broker.grants import requests
from broker.grants.drift import more_masked
from broker.grants.model import Lease
from broker.grants.narrowing import Narrowing, is_within, meet_plans, narrow_plan
from broker.grants.plan import from_document, make_plan
from broker.grants.requests import GrantRefused
from broker.grants.scope_kinds import Wanted, Ways, find_problems
from broker.ids import GrantId, LeaseId
from broker.secret import Secret
from broker.snapshots import ordering
from tests.grants.test_scope_kinds import POLICY
from tests.grants.test_time import ask_of
from tests.stories import is_dead
from tests.world import World

CATALOGUE = Catalogue(170000, (Table("crm", "t", "table", (Column("id", "integer", "integer"),)),))
USE = make_plan(POLICY, CATALOGUE, find_obstacle)
DEVELOP = make_plan(POLICY, CATALOGUE, find_obstacle, wanted=Wanted(develop=True))
OUTSIDE = (
    "COMMENT ON DATABASE {name} IS NULL",
    "DROP DATABASE {name}",
    "ALTER DATABASE {name} RENAME TO sab_elsewhere",
    "GRANT {owner} TO {lease}",
    "ALTER ROLE {owner} LOGIN VALID UNTIL 'infinity'",
    "CREATE ROLE friend LOGIN",
    "CREATE DATABASE sab_friend",
    "SELECT pg_read_file('/etc/hostname')",
    "COPY crm.contacts TO PROGRAM 'true'",
    "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'x', 'y'",
    "SET ROLE pg_read_all_data",
    "SELECT pg_terminate_backend({pid})",
)


def test_a_plan_says_so_and_one_without_is_what_it_always_was() -> None:
    assert from_document(DEVELOP.document()) == DEVELOP
    assert DEVELOP.copy.develop
    assert "copy" not in USE.document()
    assert USE.digest() != DEVELOP.digest()
    assert more_masked(DEVELOP, USE)[0] == DEVELOP  # what the worker carries out is as given


def test_a_decision_takes_it_away_and_never_adds_it() -> None:
    assert narrow_plan(DEVELOP, Narrowing(no_develop=True)) == USE
    assert narrow_plan(USE, Narrowing(no_develop=True)) == USE
    assert is_within(USE, DEVELOP)
    assert not is_within(DEVELOP, USE)
    assert meet_plans([DEVELOP, USE]) == meet_plans([USE, DEVELOP]) == USE


def test_it_is_asked_with_a_copy_alone() -> None:
    ways = Ways(live=True, copy=False, platform=False)
    assert "on a copy alone" in find_problems(Wanted(develop=True), ways)["develop"]
    assert not find_problems(Wanted(develop=True), replace(ways, copy=True))


def asked(world: World, *, develop: bool = True) -> GrantId:
    ask = replace(
        ask_of(world, world.ticket()), live_s=0, copy_s=86400, wanted=Wanted(develop=develop)
    )
    with world.as_(world.engineer) as tx:
        grant_id = requests.request(tx, ask, world.broker.settings.times, world.broker.queue)
    world.work()
    return grant_id


def lease(world: World, snapshot_id: str, *, develop: bool) -> tuple[LeaseId, Secret[str]]:
    password = new_password()
    with world.as_(world.engineer) as tx:
        lease_id = ordering.ask_sandbox_lease(
            tx, snapshot_id, make_verifier(password), world.broker.queue, develop=develop
        )
    return lease_id, password


def end(world: World, lease_id: str) -> None:
    from broker import lifecycle

    with world.as_(world.engineer) as tx:
        lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)
    world.work()


def test_such_a_login_changes_definitions_there_and_reaches_nothing_else(afresh: World) -> None:
    world = afresh
    grant_id = asked(world)
    world.approve(grant_id)
    snapshot_id = world.order(grant_id)
    world.work()
    snapshot = world.snapshot(snapshot_id)
    lease_id, password = lease(world, snapshot_id, develop=True)
    use_id, use_password = lease(world, snapshot_id, develop=False)
    world.work()
    role = world.find_lease(lease_id).role_name
    with world.login(lease_id, password) as session, world.login(use_id, use_password) as user:
        session.execute("CREATE INDEX tried ON crm.contacts (id)")
        session.execute("ALTER TABLE crm.contacts ADD COLUMN tried integer DEFAULT 1")
        session.execute("CREATE TABLE crm.fresh (id serial PRIMARY KEY)")
        user.execute("INSERT INTO crm.fresh DEFAULT VALUES")
        assert user.execute("SELECT count(*) FROM crm.contacts WHERE tried = 1").fetchone() != (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            user.execute("CREATE INDEX mine ON crm.contacts (tried)")
        names = {"name": snapshot.sandbox, "owner": snapshot.owner_role, "lease": role}
        names["pid"] = str(user.info.backend_pid)
        for statement in OUTSIDE:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement.format(**names).encode())
        with pytest.raises(psycopg.OperationalError, match="CONNECT"):
            reaches(world, role, password, "sab_decoy")
        end(world, lease_id)
        assert is_dead(session)
        assert not is_dead(user)
        # What was tried is the copy's, and stays for the next login.
        assert user.execute("SELECT count(*) FROM crm.fresh").fetchone() == (1,)
    ended = world.find_lease(lease_id)
    assert (ended.state, ended.stuck_reason) == ("revoked", None)
    with pytest.raises(psycopg.OperationalError):
        world.login(lease_id, password)
    (owner,) = world.find_on_server(
        world.test, "SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", snapshot.owner_role
    )
    assert owner == (False,)
    with world.as_(world.engineer) as tx:
        ordering.condemn(tx, ordering.get_snapshot(tx, snapshot_id), "tests", world.broker.queue)
    world.work()
    assert world.snapshot(snapshot_id).state == "destroyed", world.snapshot(snapshot_id)


def reaches(world: World, role: str, password: Secret[str], dbname: str) -> None:
    from broker import tenants
    from broker.grants.targets import server_target
    from broker.snapshots import looks
    from broker.tx import system

    with world.as_(system("tests")) as tx:
        row = tenants.get_server(tx, world.server_id)
        server = server_target(world.ports.keys, row)
    looks.place_decoys(world.broker.database, world.ports.keys, world.ports.store, server)
    psycopg.connect(
        host=world.test.host, port=5432, user=role, password=password.reveal(), dbname=dbname
    ).close()


def test_what_the_customer_took_away_is_refused_by_web_and_worker(afresh: World) -> None:
    world = afresh
    grant_id = asked(world)
    world.approve(grant_id, Narrowing(no_develop=True))
    snapshot_id = world.order(grant_id)
    world.work()
    with pytest.raises(GrantRefused, match="not given"):
        lease(world, snapshot_id, develop=True)
    lease_id, _ = lease(world, snapshot_id, develop=False)
    with world.as_(world.operator) as tx:  # somebody who writes into the control database
        tx.session.get_one(Lease, lease_id).scope_name = world.snapshot(snapshot_id).owner_role
    world.work()
    world.work()  # what was refused is ended
    made = world.find_lease(lease_id)
    assert made.state == "revoked", made.stuck_reason
    found = "SELECT FROM pg_roles WHERE rolname = %s"
    assert not world.find_on_server(world.test, found, made.role_name)
    (entry,) = [one for one in world.entries() if one["kind"] == "grant.altered"][-1:]
    assert entry["facts"]["fields"] == ["scope"]


def test_a_request_without_a_copy_says_what_to_do(afresh: World) -> None:
    ask = replace(ask_of(afresh, afresh.ticket()), copy_s=0, wanted=Wanted(develop=True))
    with afresh.as_(afresh.engineer) as tx, pytest.raises(Invalid) as refused:
        requests.request(tx, ask, afresh.broker.settings.times, afresh.broker.queue)
    assert "ask for one too" in refused.value.facts["fields"]["develop"]
