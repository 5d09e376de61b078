"""What the janitor leaves alone: what a live row explains, and what is not ours."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from psycopg import sql

from broker import janitor, lifecycle
from broker.engines.postgres import leases as roles
from broker.engines.postgres.leases import LeaseRole
from broker.explained import list_registered
from broker.finds import MOST_STRANGERS
from broker.ids import new_id
from broker.labels import Label
from broker.secret import Secret
from broker.signs import Signs
from broker.trail import AuditOpening
from broker.tx import system
from tests.janitor_world import (
    FAR,
    OURS,
    is_dead,
    list_open,
    live,
    put_object,
    told,
)
from tests.world import (
    World,
    connect,
)


def test_a_login_with_a_live_row_is_never_touched(world: World) -> None:
    """Issued, still to be issued but made already, and being revoked by its own job."""
    grant_id = world.approved()
    issued, password = world.lease(grant_id)
    world.work()
    pending, _ = world.lease(grant_id)
    lease, key = world.find_lease(pending), world.ports.keys.label_key()
    label = Label("lease", pending, lease.ends_at, lease.role_name).text(key)
    made = LeaseRole(lease.role_name, lease.scope_name, lease.verifier or "", lease.ends_at, label)
    roles.issue(live(world), made)
    revoking, _ = world.lease(grant_id)
    world.issue(revoking)
    with world.as_(world.admin) as tx:
        lifecycle.end_lease_by_click(tx, revoking, world.broker.queue)
    before = world.find_on_server(world.live, OURS)
    with world.login(issued, password) as session:
        assert janitor.look_everywhere(world.ports) == 0
        assert not is_dead(session)
    assert world.find_on_server(world.live, OURS) == before
    assert told(world, world.tenant) == []


def test_what_its_own_job_ended_after_the_listing_is_no_orphan(world: World) -> None:
    lease_id, _ = world.lease(world.approved())
    world.work()
    lease = world.find_lease(lease_id)
    with world.as_(system("janitor")) as tx:
        servers = list_registered(tx, world.ports.keys)
    listed = Signs(leases={lease.role_name: lease_id})
    with world.as_(world.admin) as tx:
        lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)
    world.work()
    things = [t for server in servers for t in janitor._list_leases(world.ports, server, listed)]
    assert {thing.found.name for thing in things} == {lease.role_name}
    assert janitor._end_all(world.ports, things) == 0
    assert told(world, world.tenant) == []


def test_a_copy_that_is_being_made_is_never_touched(world: World) -> None:
    """The janitor looks again and again, from the order to the end of the copy."""
    grant_id = world.approved()
    snapshot_id = world.order(grant_id)
    states = set()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(world.work)
        while not working.done():
            assert janitor.look_everywhere(world.ports) == 0
            states.add(world.snapshot(snapshot_id).state)
        working.result()
    assert "copying" in states
    assert world.snapshot(snapshot_id).state == "ready"
    assert [t for t in told(world, world.tenant) if t[0] != "stranger.found"] == []
    assert [t for t in told(world, None) if t[0] != "stranger.found"] == []
    assert not any(find.name.startswith("sab_") for find in list_open(world))


@pytest.fixture
def strangers(world: World) -> Iterator[set[str]]:
    """Names like ours on the test server: no label, another's, one for another place."""
    key, identity = world.ports.keys.label_key(), new_id("lse")
    comments = {
        "sab_l_bare": None,
        "sab_l_copied": Label("lease", identity, FAR, "sab_l_elsewhere").text(key),
        "sab_l_foreign": Label("lease", identity, FAR, "sab_l_foreign").text(
            Secret(secrets.token_bytes(32))
        ),
    }
    with connect(world.test) as connection:
        for name, comment in comments.items():
            role, text = sql.Identifier(name), sql.Literal(comment)
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE sab_managed").format(role))
            connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(role, text))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(role))
            connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(role, text))
    yield set(comments)
    with connect(world.test) as connection:
        for name in comments:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"DROP ROLE IF EXISTS {name}")


def test_what_is_not_ours_is_told_once_and_never_touched(world: World, strangers: set[str]) -> None:
    put_object(world, "somebody/elses-object")
    put_object(world, "snapshots/not-an-id/label")
    with connect(world.live) as connection:
        connection.execute("CREATE ROLE sab_l_of_the_dba LOGIN IN ROLE sab_managed")
    objects = list(world.ports.store.list_all(""))
    for _ in range(2):
        assert janitor.look_everywhere(world.ports) == 0
    names = {(find.kind, find.name) for find in list_open(world)}
    assert names >= {("role", name) for name in strangers}
    assert names >= {("database", name) for name in strangers}
    assert names >= {("object", "somebody/elses-object"), ("object", "snapshots/not-an-id/label")}
    entries = told(world, None)
    assert len(entries) == len(list_open(world)) - 1
    assert told(world, world.tenant) == [("stranger.found", "role")]
    # The name may be a person's: the entry commits to it, and what opens it can be erased (G13).
    assert "sab_l_of_the_dba" not in str(world.entries())
    with world.as_(system("tests")) as tx:
        openings = set(tx.session.scalars(sa.select(AuditOpening.value)))
    assert '"sab_l_of_the_dba"' in openings
    there = world.find_on_server(world.test, "SELECT rolname FROM pg_roles WHERE rolcanlogin")
    assert {name for (name,) in there} >= strangers
    there = world.find_on_server(world.test, "SELECT datname FROM pg_database")
    assert {name for (name,) in there} >= strangers
    assert world.find_on_server(
        world.live, "SELECT FROM pg_roles WHERE rolname = 'sab_l_of_the_dba' AND rolcanlogin"
    )
    assert list(world.ports.store.list_all("")) == objects


def test_objects_of_another_broker_in_the_same_bucket_are_told_and_never_touched(
    world: World,
) -> None:
    """Its snapshots have no row here; its labels are true under another key."""
    prefixes = {name: f"snapshots/{new_id('snp')}/" for name in ("theirs", "ours", "bare")}
    keys = {"theirs": Secret(secrets.token_bytes(32)), "ours": world.ports.keys.label_key()}
    for name, prefix in prefixes.items():
        put_object(world, prefix + "table-00000")
        if name in keys:
            label = Label("artifact", prefix.split("/")[1], FAR, prefix).text(keys[name])
            with world.ports.store.create(prefix + "label") as sink:
                sink.write(label.encode())
    assert janitor.look_everywhere(world.ports) == 2
    assert [stored.name for stored in world.ports.store.list_all("")] == [
        prefixes["theirs"] + "label",
        prefixes["theirs"] + "table-00000",
    ]
    assert ("stranger.found", "prefix") in told(world, None)


def test_a_stranger_that_goes_and_comes_back_is_told_each_time(world: World) -> None:
    for _ in range(2):
        put_object(world, "somebody/elses-object")
        janitor.look_everywhere(world.ports)
        for stored in world.ports.store.list_all("somebody/"):
            world.ports.store.delete(stored)
        janitor.look_everywhere(world.ports)
    objects = [entry for entry, kind in told(world, None) if kind == "object"]
    assert objects == ["stranger.found", "stranger.gone"] * 2


def test_a_store_full_of_others_objects_does_not_fill_the_log(world: World) -> None:
    for number in range(MOST_STRANGERS + 5):
        put_object(world, f"somebody/object-{number}")
    janitor.look_everywhere(world.ports)
    janitor.look_everywhere(world.ports)
    assert [kind for _, kind in told(world, None)].count("object") == MOST_STRANGERS
