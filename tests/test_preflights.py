"""Preflights of registered servers: kept, told in the log, and what a fatal finding stops."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa
from psycopg import sql

from broker import lifecycle, sweeps
from broker.errors import Denied, NotFound
from broker.grants import preflight_steps, preflights
from broker.grants.preflights import PreflightRefused, PreflightView
from broker.ids import new_id
from broker.tenants import TenantDatabase
from broker.tx import Actor, system
from tests.stories import control_superuser, forget_looks, shut_out, skip
from tests.world import World, add_person, clone_crm, connect, enrol, register_database


def look(world: World, target: str | None = None) -> PreflightView:
    """Ask for a look, let it be made, and read it as the operator."""
    target = target or world.database_id
    with world.as_(world.operator) as tx:
        preflights.ask_by_click(tx, target, world.broker.queue)
    world.work()
    return read(world, world.operator, target)


def read(world: World, actor: Actor, target: str | None = None) -> PreflightView:
    with world.as_(actor) as tx:
        return preflights.get_view(tx, target or world.database_id)


def codes(view: PreflightView, severity: str = "fatal") -> set[str]:
    return {finding.code for finding in view.findings if finding.severity == severity}


def on_live(world: World, statement: str) -> None:
    with connect(world.live, world.crm) as connection:
        connection.execute(statement)


@contextmanager
def opened(world: World) -> Iterator[None]:
    """Everybody may enter the tenant's database: a fatal finding."""
    name = sql.Identifier(world.crm).as_string()
    on_live(world, f"GRANT TEMPORARY ON DATABASE {name} TO PUBLIC")
    yield
    on_live(world, f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")


@contextmanager
def stranger(world: World) -> Iterator[str]:
    name = f"stranger_{secrets.token_hex(4)}"
    on_live(world, f"CREATE ROLE {name} LOGIN")
    yield name
    on_live(world, f"DROP ROLE {name}")


def told(world: World, kind: str) -> list[dict]:
    return [entry for entry in world.entries() if entry["kind"] == kind]


def unexplained(world: World) -> list[str]:
    """Names of unexplained logins in any log, opened."""
    with world.as_(system("tests")) as tx:
        return list(
            tx.session.scalars(
                sa.text(
                    "SELECT o.value::json #>> '{}' FROM audit_opening o "
                    "JOIN audit_entry e ON e.id = o.entry_id JOIN audit_log l ON l.id = e.log_id "
                    "WHERE o.field = 'login' AND l.tenant_id = :t ORDER BY e.id"
                ),
                {"t": world.tenant},
            )
        )


def test_a_server_as_our_setup_makes_it_has_nothing_fatal(world: World) -> None:
    for target in (world.database_id, world.server_id):
        view = look(world, target)
        assert codes(view) == set()
        assert (view.pending, view.fatal, view.stuck_reason) == (False, 0, None)
        assert view.checked_at is not None


def test_each_look_leaves_an_entry_with_the_digest_of_what_it_found(world: World) -> None:
    look(world)
    with opened(world):
        look(world)
    first, second = told(world, "preflight.made")
    assert (first["facts"]["fatal"], second["facts"]["fatal"]) == (0, 1)
    assert first["facts"]["digest"] != second["facts"]["digest"]
    assert first["subject"] == world.database_id


def test_two_orders_before_the_look_are_one_look(world: World) -> None:
    for _ in range(2):
        with world.as_(world.operator) as tx:
            preflights.ask(tx, world.database_id, world.broker.queue)
    world.work()
    job = world.broker.database, world.ports.keys, world.database_id, world.broker.queue
    preflight_steps.check(*job)  # one that came late
    assert len(told(world, "preflight.made")) == 1


def test_a_look_that_fails_keeps_what_was_found_and_is_tried_again(world: World) -> None:
    with opened(world):
        look(world)
    with shut_out(world, "live"):
        view = look(world)
        assert (view.pending, codes(view), view.attempts) == (True, {"database-public"}, 1)
        assert view.stuck_reason
    skip(world, timedelta(seconds=301))
    sweeps.sweep_checks(world.broker.database, world.broker.queue, 0)
    world.work()
    view = read(world, world.operator)
    assert (view.pending, view.fatal, view.stuck_reason) == (False, 0, None)


def test_the_sweep_orders_the_first_look_and_one_a_day(world: World) -> None:
    def swept() -> int:
        found = sweeps.sweep_checks(world.broker.database, world.broker.queue, 0)
        world.work()
        return found

    forget_looks(world)
    assert swept() == 2  # the database and the test server
    assert swept() == 0
    skip(world, timedelta(hours=23))
    assert swept() == 0
    skip(world, timedelta(hours=24, minutes=1))
    assert swept() == 2
    assert len(told(world, "preflight.made")) == 2


def test_what_is_taken_off_the_list_is_looked_at_no_more(world: World) -> None:
    with control_superuser(world) as connection:
        connection.execute("UPDATE tenant_database SET removed_at = now()")
    forget_looks(world)
    assert sweeps.sweep_checks(world.broker.database, world.broker.queue, 0) == 1
    with pytest.raises(NotFound):
        read(world, world.operator)


def test_no_role_is_made_while_a_fatal_finding_stands(world: World) -> None:
    with opened(world):
        look(world)
        lease_id, password = world.lease(world.approved())
        world.work()
        lease = world.find_lease(lease_id)
        assert lease.state == "pending"
        assert "database-public" in (lease.stuck_reason or "")
        assert f"broker databases check {world.database_id}" in (lease.stuck_reason or "")
        with connect(world.live) as connection:
            query = "SELECT 1 FROM pg_roles WHERE rolname = %s"
            assert connection.execute(query, [lease.role_name]).fetchone() is None
    assert look(world).fatal == 0  # its job also wakes the login that waits
    assert world.find_lease(lease_id).state == "issued"
    world.login(lease_id, password).close()


def test_a_refused_login_orders_a_fresh_look_when_the_last_is_old(world: World) -> None:
    with opened(world):
        look(world)
        lease_id, _ = world.lease(world.approved())
        world.work()
        assert len(told(world, "preflight.made")) == 1  # a look of now is not made again
    skip(world, timedelta(minutes=11), looked=False)
    world.issue(lease_id)
    world.work()
    assert len(told(world, "preflight.made")) == 2
    assert world.find_lease(lease_id).state == "issued"


def test_a_fatal_finding_never_keeps_a_login_from_ending(world: World) -> None:
    lease_id, _ = world.lease(world.approved())
    world.work()
    with opened(world):
        look(world)
        with world.as_(world.admin) as tx:
            lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)
        world.work()
        assert world.find_lease(lease_id).state == "revoked"


def test_no_copy_is_ordered_onto_a_server_with_a_fatal_finding(world: World) -> None:
    grant_id = world.approved()
    name = f"shared_{secrets.token_hex(4)}"
    with connect(world.test) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            assert codes(look(world, world.server_id)) == {"server-databases-public"}
            with pytest.raises(PreflightRefused) as refused:
                world.order(grant_id)
        finally:
            connection.execute(f"DROP DATABASE {name}")
    assert refused.value.facts["codes"] == ["server-databases-public"]
    assert f"broker servers check {world.server_id}" in refused.value.message
    assert look(world, world.server_id).fatal == 0
    world.order(grant_id)


def test_a_login_that_nobody_registered_is_told_once_in_the_tenants_log(world: World) -> None:
    look(world)
    before = unexplained(world)
    with stranger(world) as name:
        view = look(world)
        assert "unexplained-login" in codes(view, "warning")
        look(world)
        assert [new for new in unexplained(world) if new not in before] == [name]
        entry = told(world, "access.unexplained")[-1]
        assert entry["facts"] == {"attributes": [], "sessions": 0}
        assert name not in str(entry)


def test_a_login_that_is_registered_is_not_told_nor_one_of_ours(world: World) -> None:
    lease_id, password = world.lease(world.approved())
    world.work()
    with stranger(world) as name, world.login(lease_id, password):
        with control_superuser(world) as connection:
            connection.execute("UPDATE tenant_database SET known_logins = %s", [[name]])
        look(world)
        lease = world.find_lease(lease_id)
        with world.as_(system("tests")) as tx:
            login = tx.session.get_one(TenantDatabase, world.database_id).login
        assert not {name, lease.role_name, login} & set(unexplained(world))


def test_tenants_that_share_a_server_read_nothing_of_each_other(world: World) -> None:
    """G12: neither in the findings nor in a log."""
    other_tenant, other_admin = enrol(world, "Second tenant")
    other_crm = clone_crm(world.live)
    try:
        other_id = register_database(world, world.ports.keys, other_tenant, other_crm)
        with world.as_(system("tests")) as tx:
            theirs = tx.session.get_one(TenantDatabase, other_id).login
        with stranger(world) as name:
            seen = look(world)
            mine, whole = read(world, world.admin), str(seen.findings)
            assert name in whole
            assert codes(mine, "warning") == codes(seen, "warning")
            for secret in (name, theirs, other_crm):
                assert secret not in str(mine.findings)
            assert unexplained(world) == []
        with pytest.raises(NotFound):
            read(world, other_admin)
        with pytest.raises(NotFound):
            read(world, other_admin, new_id("dbs"))
    finally:
        with connect(world.live) as connection:
            connection.execute(f"DROP DATABASE {other_crm} WITH (FORCE)")


def test_who_alone_on_a_server_reads_all_that_was_found_there(world: World) -> None:
    with stranger(world) as name:
        look(world)
        assert name in str(read(world, world.admin).findings)


def test_only_operators_and_the_tenants_admins_order_and_read_looks(world: World) -> None:
    with world.as_(system("tests")) as tx:
        auditor = add_person(tx, "auditor", world.tenant)
    for actor in (world.engineer, auditor):
        with pytest.raises(Denied):
            read(world, actor)
        with pytest.raises(Denied), world.as_(actor) as tx:
            preflights.ask_by_click(tx, world.database_id, world.broker.queue)
    with pytest.raises(Denied):
        read(world, world.admin, world.server_id)
    with world.as_(world.admin) as tx:
        assert [view.target for view in preflights.list_views(tx)] == [world.database_id]
    with world.as_(world.operator) as tx:
        listed = [view.target for view in preflights.list_views(tx)]
    assert listed == [world.database_id, world.server_id]


def test_a_login_that_comes_between_two_daily_looks_is_told_and_shown(world: World) -> None:
    look(world)
    with stranger(world) as name:
        assert name not in read(world, world.admin).unexplained
        for _ in range(2):
            with world.as_(system("tests")) as tx:  # ten minutes later
                row = tx.session.get_one(preflights.Preflight, world.database_id)
                row.checked_at -= preflights.LOGINS_EVERY
                row.logins_asked_at = row.checked_at
            sweeps.sweep_checks(world.broker.database, world.broker.queue, 1)
            world.work()
        assert name in read(world, world.admin).unexplained
        assert unexplained(world).count(name) == 1
    preflight_steps.watch_logins(world.broker.database, world.ports.keys, world.database_id)
    assert name not in read(world, world.admin).unexplained


_AGED = "asked_at = now() - interval '74 hours', checked_at = now() - interval '73 hours'"


@pytest.mark.parametrize(
    ("before", "code"),
    [
        ("DELETE FROM preflight", "not-looked-at"),
        (f"UPDATE preflight SET {_AGED}", "look-too-old"),
    ],
)
def test_nothing_is_made_where_nobody_has_looked_of_late(
    world: World, before: str, code: str
) -> None:
    """It waits with its reason; the look that it asked for lets it in."""
    grant_id = world.approved()
    with control_superuser(world) as connection:
        connection.execute(before)
    lease_id, password = world.lease(grant_id)
    with shut_out(world, "live"):
        world.issue(lease_id)
        waiting = world.find_lease(lease_id)
    assert waiting.state == "pending"
    assert f"broker databases check {world.database_id}" in (waiting.stuck_reason or "")
    with world.as_(world.operator) as tx:
        refusal = preflights.find_refusal(tx, world.database_id)
    assert refusal is not None
    assert refusal.facts["codes"] == [code]
    world.work()
    with world.login(lease_id, password) as session:
        session.execute("SELECT * FROM contacts LIMIT 1")
