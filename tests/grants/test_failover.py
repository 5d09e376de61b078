"""A standby takes over while logins are being ended (case 36), and a server that is away keeps no
other (case 46); on real servers behind a name that leads from one to the other.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from broker import janitor, lifecycle
from broker.embedded import EmbeddedServer, running
from broker.engines.postgres import standbys, warm
from broker.keys.keyring import Keyring
from tests.conftest import admin
from tests.engines.registered import wait_for
from tests.engines.standby import replayed, standby_of
from tests.grants.test_standbys import register
from tests.renamed import named
from tests.stories import retry, skip, sweep
from tests.test_server_identity import kept
from tests.world import (
    ControlTemplate,
    World,
    build_world,
    clone_crm,
    make_crm_template,
    register_database,
)

pytestmark = pytest.mark.long  # a server of its own with its standby, and many logins

GRANTS = 499 if os.environ.get("SOAK") else 12


@pytest.fixture
def primary(servers_folder: Path) -> Iterator[EmbeddedServer]:
    """Of this test alone: it does not come back."""
    server = EmbeddedServer(servers_folder / f"primary-{secrets.token_hex(4)}")
    with running(server):
        yield server


def cut_off(standby: EmbeddedServer) -> None:
    """It gets nothing more of its primary, and does not know it."""
    with admin(standby) as connection:
        connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
        connection.execute("SELECT pg_reload_conf()")
        receiving = "SELECT FROM pg_stat_wal_receiver"
        wait_for(lambda: connection.execute(receiving).fetchone() is None, "it is cut off")


def promote(standby: EmbeddedServer) -> None:
    with admin(standby) as connection:
        connection.execute("SELECT pg_promote()")


def test_after_a_failover_no_end_of_the_old_primary_counts_on_the_new_one(
    primary: EmbeddedServer,
    control_template: ControlTemplate,
    test_server: EmbeddedServer,
    servers_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One login was ended on the old primary alone, of another the end was under way: both work
    on the new one, which lacks the last minute, until it was swept; nothing is made there before.
    """
    monkeypatch.setattr(standbys, "REPLAY_S", 0.2)
    monkeypatch.setattr(warm, "LIFE_S", 0.0)  # as a minute later: no session of before is kept
    marks = make_crm_template(primary, scale=0.01)
    folder = servers_folder / f"standby-{secrets.token_hex(4)}"
    with (
        named(primary) as (name, called),
        standby_of(primary, folder) as standby,
        build_world(
            control_template, called, test_server, tmp_path, clone_crm(primary), marks
        ) as world,
    ):
        grant_id = world.approved()
        logins = [world.lease(grant_id) for _ in range(2)]
        (ended, _), (ending, _) = logins
        world.work()
        janitor.look_everywhere(world.ports)
        cluster, before, _ = kept(world)
        wait_for(lambda: replayed(primary, standby), "the logins are there too")
        cut_off(standby)
        end(world, ended)
        assert world.find_lease(ended).state == "revoked"
        register(world, f"{standby.host}:{standby.port}")
        end(world, ending)
        assert "unconfirmed" in (world.find_lease(ending).stuck_reason or "")

        promote(standby)
        name.lead_to(standby)  # the old one is fenced late: it runs on
        register(world)
        for lease_id, password in logins:
            world.login(lease_id, password).close()
        asked, _ = world.lease(grant_id)
        retry(world)
        assert world.find_lease(ending).state == "revoked"
        assert world.find_lease(asked).state == "pending"
        assert f"was swept on {before}" in (world.find_lease(asked).stuck_reason or "")
        janitor.look_everywhere(world.ports)
        for lease_id, password in logins:
            with pytest.raises(psycopg.OperationalError):
                world.login(lease_id, password)
        assert kept(world) == (cluster, (before or 0) + 1, None)
        skip(world, timedelta(minutes=15))
        sweep(world)
        assert world.find_lease(asked).state == "issued"


def end(world: World, lease_id: str) -> None:
    with world.as_(world.admin) as tx:
        lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)
    world.work()


def test_ending_everything_of_a_tenant_ends_all_but_what_a_dead_server_keeps(world: World) -> None:
    """Case 46: the one database that does not answer is told, retried, and in nobody's way."""
    with named(world.live) as (name, called):
        away = replace(world, live=called, crm=clone_crm(world.live))
        keys = world.ports.keys
        assert isinstance(keys, Keyring)
        away.database_id = register_database(away, keys, world.tenant, away.crm)
        there, _ = away.lease(away.approved())
        lease_ids = [world.lease(grant_id)[0] for grant_id in approved(world, GRANTS)]
        world.work()
        name.lead_nowhere()
        with world.as_(world.admin) as tx:
            count = lifecycle.end_all_of_tenant(tx, world.tenant, world.broker.queue)
        assert count == GRANTS + 1
        world.work()
        assert {world.find_lease(lease_id).state for lease_id in lease_ids} == {"revoked"}
        stuck = world.find_lease(there)
        assert stuck.state == "revoking"
        assert "did not answer" in (stuck.stuck_reason or "")
        name.lead_to(world.live)
        retry(world)
        assert world.find_lease(there).state == "revoked"
        with admin(world.live) as connection:
            connection.execute(f"DROP DATABASE {away.crm} WITH (FORCE)")


def approved(world: World, count: int) -> list[str]:
    waiting = [world.request(world.ticket()) for _ in range(count)]
    world.work()
    for grant_id in waiting:
        world.approve(grant_id)
    return [str(grant_id) for grant_id in waiting]
