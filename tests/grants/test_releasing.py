"""A release makes way for the tenant's own migration, and both sides are told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa

from broker.errors import Denied, Invalid, NotFound
from broker.grants import releasing
from broker.grants.leases import DatabaseReleased
from broker.tx import Actor, system
from tests.world import World, add_person, connect, enrol

# Without CASCADE: whatever of ours still stood on a table would refuse it.
_ALTERS = """
    SELECT format('ALTER TABLE crm.%I ALTER COLUMN %I TYPE varchar(4000)', c.relname, a.attname)
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
     WHERE c.relnamespace = 'crm'::regnamespace AND a.attname = 'address' AND c.relkind = 'r'
"""
_DROPS = """
    SELECT format('DROP %s %s', kind, string_agg(format('crm.%I', relname), ', '))
      FROM (SELECT relname, CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                                         ELSE 'TABLE' END AS kind
              FROM pg_class WHERE relnamespace = 'crm'::regnamespace
               AND relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition) AS c
     GROUP BY kind ORDER BY kind = 'TABLE'
"""


@pytest.fixture
def migration(world: World) -> Iterator[psycopg.Connection]:
    """The tenant's own, which waits for nobody for long."""
    with connect(world.live, world.crm) as connection:
        connection.execute("SET lock_timeout = '1s'")
        yield connection


def view(world: World, actor: Actor) -> releasing.ReleaseView:
    with world.as_(actor) as tx:
        return releasing.get_release_view(tx, world.database_id)


def release(world: World, actor: Actor, closed_s: int = 600) -> None:
    with world.as_(actor) as tx:
        releasing.release(tx, world.database_id, closed_s, world.broker.queue)


def mails(world: World) -> list[tuple[str, str]]:
    query = sa.text("SELECT person_id, text FROM mail WHERE subject LIKE '%for a migration'")
    with world.as_(system("tests")) as tx:
        return [(row.person_id, row.text) for row in tx.session.execute(query)]


def test_after_a_release_every_alter_and_drop_of_the_tenants_own_succeeds(
    world: World, migration: psycopg.Connection
) -> None:
    grant_id = world.approved()
    lease_id, password = world.lease(grant_id)
    world.work()
    alters = [text for (text,) in migration.execute(_ALTERS).fetchall()]
    drops = [text for (text,) in migration.execute(_DROPS).fetchall()]
    assert alters
    assert drops
    with contextlib.closing(world.login(lease_id, password)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM companies")
        for text in (*alters, drops[-1]):  # the lock of the reader, or the views themselves
            with pytest.raises(psycopg.Error):
                migration.execute(text)
        release(world, world.operator)
        assert not view(world, world.admin).clear
        world.work()
        assert view(world, world.admin).clear
        with pytest.raises(psycopg.OperationalError):
            reader.execute("SELECT 1")
    for text in (*alters, *drops):
        migration.execute(text)
    assert world.find_lease(lease_id).state == "revoked"
    assert world.grant(grant_id).state == "approved"  # the grant goes on
    (entry,) = [e for e in world.entries() if e["kind"] == "database.released"]
    assert entry["facts"]["logins"] == 1
    told = dict(mails(world))
    assert set(told) == {world.admin.person_id, world.engineer.person_id}


def test_no_login_is_made_until_the_release_is_over(world: World) -> None:
    grant_id = world.approved()
    release(world, world.admin)
    with pytest.raises(DatabaseReleased) as refused:
        world.lease(grant_id)
    assert refused.value.facts["until"]
    release(world, world.admin, closed_s=0)
    lease_id, _ = world.lease(grant_id)
    world.work()
    assert world.find_lease(lease_id).state == "issued"


def test_what_does_not_go_is_named_and_the_way_is_not_called_clear(
    world: World, migration: psycopg.Connection
) -> None:
    """A view that the tenant built upon ours: theirs to remove, and said so."""
    lease_id, _ = world.lease(world.approved())
    world.work()
    scope = world.find_lease(lease_id).scope_name
    migration.execute(f"CREATE VIEW public.theirs AS SELECT * FROM {scope}.companies")
    release(world, world.admin)
    world.work()
    seen = view(world, world.admin)
    assert (seen.logins, seen.scopes, seen.clear) == (0, 1, False)
    assert scope in (seen.stuck_reason or "")
    migration.execute("DROP VIEW public.theirs")
    release(world, world.admin)
    world.work()
    assert view(world, world.admin).clear


def test_only_the_tenants_admin_and_the_operator_release_a_database(world: World) -> None:
    with world.as_(system("tests")) as tx:
        auditor = add_person(tx, "auditor", world.tenant)
    for actor in (auditor, world.engineer):
        with pytest.raises(Denied):
            release(world, actor)
    _, stranger = enrol(world, "Other tenant")
    with pytest.raises(NotFound):
        release(world, stranger)
    with pytest.raises(Invalid):
        release(world, world.admin, closed_s=5 * 3600)
    assert "database.released" not in world.kinds()
