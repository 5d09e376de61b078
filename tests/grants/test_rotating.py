"""The broker's own password on a server: changed, and never lost on the way."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from broker import janitor, sweeps
from broker.engines.postgres.scram import make_verifier, new_password
from broker.errors import Denied
from broker.grants import contacts, rotating
from broker.keys.intake import login_context, seal_login
from broker.mail import Mail
from broker.secret import Secret
from broker.tx import system
from tests.faults.processes import die_at
from tests.stories import control_superuser, live_database, retry
from tests.world import World, connect


def password_of(world: World) -> Secret[str]:
    """The one that is kept."""
    return live_database(world).password


def opens(world: World, password: Secret[str]) -> bool:
    target = live_database(world)
    try:
        psycopg.connect(
            host=target.host,
            port=target.port,
            dbname=target.dbname,
            user=target.user,
            password=password.reveal(),
        ).close()
    except psycopg.OperationalError:
        return False
    return True


def set_on_server(world: World, password: Secret[str]) -> None:
    with connect(world.live) as connection:
        login = sql.Identifier(live_database(world).user)
        verifier = sql.Literal(make_verifier(password))
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(login, verifier))


def works(world: World) -> bool:
    """Whether a login is made, all by the broker's own."""
    lease_id, _ = world.lease(world.approved())
    world.work()
    return world.find_lease(lease_id).state == "issued"


def test_the_next_password_replaces_the_one_before_when_it_was_seen_to_work(world: World) -> None:
    before = password_of(world)
    with world.as_(world.operator) as tx:
        rotating.rotate_by_click(tx, world.database_id, world.broker.queue)
    with pytest.raises(Denied), world.as_(world.engineer) as tx:
        rotating.rotate_by_click(tx, world.database_id, world.broker.queue)
    world.work()
    after = password_of(world)
    assert before != after
    assert not opens(world, before)
    assert opens(world, after)
    assert works(world)
    assert world.kinds().count("login.rotated") == 1


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("next-password-sealed", marks=pytest.mark.long),
        "password-altered",
        pytest.param("password-changed", marks=pytest.mark.long),
    ],
)
def test_killed_at_any_point_a_password_works_and_the_next_worker_finishes(
    world: World, point: str
) -> None:
    before = password_of(world)
    with world.as_(world.operator) as tx:
        rotating.rotate_by_click(tx, world.database_id, world.broker.queue)
    die_at(world, point)
    assert password_of(world) == before
    assert works(world)
    rotating.rotate(world.broker.database, world.ports.keys, world.database_id)
    after = password_of(world)
    assert after != before
    assert opens(world, after)
    assert not opens(world, before)


def test_the_sweep_changes_what_is_a_month_old_and_finishes_what_was_cut_short(
    world: World,
) -> None:
    database, queue = world.broker.database, world.broker.queue
    with control_superuser(world) as connection:
        connection.execute("UPDATE tenant_database SET registered_at = now() - interval '31 days'")
    before = password_of(world)
    sweeps.sweep_checks(database, queue, 0, 30 * 86400)
    world.work()
    after = password_of(world)
    assert before != after
    sweeps.sweep_checks(database, queue, 0, 30 * 86400)
    world.work()
    assert password_of(world) == after


def test_a_login_that_is_refused_is_told_to_both_sides_until_its_new_password_is_given(
    world: World,
) -> None:
    """The DBA changed it, or a rotation was lost with a backup (case 39)."""
    grant_id = world.approved()
    lost, given = new_password(), new_password()
    set_on_server(world, lost)
    for _ in range(2):
        janitor.look_everywhere(world.ports)
    asked, _ = world.lease(grant_id)
    world.work()
    lease = world.find_lease(asked)
    assert lease.state == "pending"
    assert "password authentication failed" in (lease.stuck_reason or "")
    assert unmanageable(world)
    assert world.kinds().count("login.refused") == 1
    with world.as_(system("tests")) as tx:
        told = {actor.person_id: 0 for actor in (world.operator, world.admin)}
        for person in told:
            query = sa.select(Mail.subject).where(Mail.person_id == person)
            told[person] = sum(
                s.startswith("Our login is refused") for s in tx.session.scalars(query)
            )
    assert set(told.values()) == {1}

    set_on_server(world, given)
    target = live_database(world)
    context = login_context("database", target.host, target.port, target.user)
    sealed = seal_login(world.ports.keys.intake_public(), given, context)
    with world.as_(world.operator) as tx:
        rotating.replace_password(tx, world.database_id, sealed, world.broker.queue)
    world.work()
    assert password_of(world) == given
    janitor.look_everywhere(world.ports)
    assert not unmanageable(world)
    retry(world)
    assert world.find_lease(asked).state == "issued"


def test_a_login_that_lost_what_it_rests_on_is_told_too(world: World) -> None:
    login = sql.Identifier(live_database(world).user)
    with connect(world.live) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} NOCREATEROLE").format(login))
        janitor.look_everywhere(world.ports)
        assert unmanageable(world)
        connection.execute(sql.SQL("ALTER ROLE {} CREATEROLE").format(login))
        janitor.look_everywhere(world.ports)
        assert not unmanageable(world)


def unmanageable(world: World) -> bool:
    with world.as_(system("tests")) as tx:
        return contacts.get_registered(tx, world.database_id).refused_since is not None
