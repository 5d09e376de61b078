"""G14. The broker being down never lengthens access: every credential and copy carries its own end,
enforced by something that does not need the broker's database.

`broker reap` has its own tests in tests/test_reap.py. Here: the control database is gone for good.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from broker.embedded import EmbeddedServer
from broker.reap import reap_server, reap_store
from tests.stories import (
    control_database,
    is_dead,
    live_database,
    ready_copy,
    retry,
    sandbox_server,
)
from tests.world import World, connect


def test_with_the_control_database_gone_what_is_past_its_end_is_ended(
    world: World, control_server: EmbeddedServer
) -> None:
    grant_id, snapshot_id = ready_copy(world)
    lease_id, password = world.lease(grant_id)
    world.work()
    end = world.snapshot(snapshot_id).ends_at + timedelta(seconds=2)
    places = live_database(world), sandbox_server(world)
    key, store, name = world.ports.keys.label_key(), world.ports.store, control_database(world)
    session = world.login(lease_id, password)
    with session, connect(control_server) as control:
        control.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        control.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        with pytest.raises(sa.exc.OperationalError):
            world.snapshot(snapshot_id)

        rounds = [*(reap_server(place, key, end) for place in places), reap_store(store, key, end)]
        assert [done.failed for done in rounds] == [{}, {}, {}]
        assert is_dead(session)
        for server in (world.live, world.test):
            left = world.find_on_server(
                server, "SELECT rolname FROM pg_roles WHERE rolname ~ '^sab_(l|s|o|u)_'"
            )
            assert left == []
        databases = world.find_on_server(world.test, "SELECT datname FROM pg_database")
        assert f"sab_{snapshot_id[4:]}" not in {found for (found,) in databases}
        assert list(store.list_all("snapshots/")) == []
        control.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    # Back again, the broker finds what it wanted to end gone, and says so.
    world.close_ticket(world.grant(grant_id).ticket_id)
    world.work()
    retry(world)
    assert world.find_lease(lease_id).state == "revoked"
    assert world.snapshot(snapshot_id).state == "destroyed"


def test_every_credential_and_copy_carries_its_own_end(world: World) -> None:
    grant_id, snapshot_id = ready_copy(world)
    lease_id, _ = world.lease(grant_id)
    world.sandbox_lease(snapshot_id)
    world.work()
    ends = {
        name: f"{at:%Y-%m-%dT%H:%M:%SZ}"
        for name, at in (
            ("live", world.find_lease(lease_id).ends_at),
            ("copy", world.snapshot(snapshot_id).ends_at),
        )
    }
    labels = (
        "SELECT rolname, rolvaliduntil IS NOT NULL AS bounded, rolcanlogin,"
        " shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname ~ '^sab_(l|s|o|u)_'"
    )
    for server, end in ((world.live, ends["live"]), (world.test, ends["copy"])):
        found = world.find_on_server(server, labels)
        assert len(found) == 3
        for name, bounded, can_login, label in found:
            assert f" {end} " in label, name
            assert bounded or not can_login
    with world.ports.store.open(f"snapshots/{snapshot_id}/label") as source:
        assert f" {ends['copy']} ".encode() in source.read()
    with connect(world.test) as connection:
        row = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
            [f"sab_{snapshot_id[4:]}"],
        ).fetchone()
    assert row is not None
    assert f" {ends['copy']} " in row[0]
