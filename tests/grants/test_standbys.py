"""A registered standby keeps a lease `revoking` until its end is confirmed there (G3, case 37)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from broker import lifecycle, tenants
from broker.addresses import parse_address
from broker.engines.postgres import standbys
from broker.errors import Denied, Invalid
from broker.tx import Actor
from tests.engines.registered import wait_for
from tests.engines.standby import lagging, replayed, standby_of
from tests.stories import is_dead, retry, skip, sweep
from tests.world import World


def register(world: World, *addresses: str, actor: Actor | None = None) -> None:
    with world.as_(actor or world.operator) as tx:
        tenants.register_standbys(tx, world.database_id, addresses)


def test_standbys_are_named_by_an_operator_in_the_tenants_log(world: World) -> None:
    for actor in (world.admin, world.engineer):
        with pytest.raises(Denied):
            register(world, "standby.example:5432", actor=actor)
    for text in ("standby.example", ":5432", "standby.example:0", "standby.example:x", "a:70000"):
        with pytest.raises(Invalid, match="HOST:PORT"):
            register(world, text)
    with pytest.raises(Invalid, match="itself"):
        register(world, f"{world.live.host}:{world.live.port}")
    register(world, "standby.example:5432", "[2001:db8::1]:5433", "standby.example:5432")
    entry = world.entries()[-1]
    assert (entry["kind"], entry["facts"]) == ("database.standbys_registered", {"named": 2})
    assert "standby.example" not in str(entry)
    assert parse_address("[2001:db8::1]:5433") == ("2001:db8::1", 5433)


@pytest.mark.long
def test_a_lease_stays_revoking_until_its_standby_confirms_the_end(
    world: World, servers_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never called revoked, with the words for both sides; then revoked, by the sweep alone."""
    monkeypatch.setattr(standbys, "REPLAY_S", 0.2)
    with standby_of(world.live, servers_folder / "standby-of-world") as there:
        address = f"{there.host}:{there.port}"
        register(world, address)
        lease_id, password = world.lease(world.approved())
        world.work()
        wait_for(lambda: replayed(world.live, there), "the login is there too")
        on_standby = replace(world, live=there)
        with on_standby.login(lease_id, password) as victim:
            with lagging(there):
                with world.as_(world.admin) as tx:
                    lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)
                world.work()
                lease = world.find_lease(lease_id)
                assert lease.state == "revoking"
                assert "unconfirmed on 1 of 1 standbys" in (lease.stuck_reason or "")
                assert f"{address}: it lags" in (lease.stuck_reason or "")
                assert not is_dead(victim)
                with pytest.raises(psycopg.OperationalError):
                    world.login(lease_id, password)
            wait_for(lambda: replayed(world.live, there), "it caught up")
            retry(world)
            assert is_dead(victim)
        assert world.find_lease(lease_id).state == "revoked"
        other, _ = world.lease(world.approved())
        world.work()
    with world.as_(world.admin) as tx:
        lifecycle.end_lease_by_click(tx, other, world.broker.queue)
    world.work()
    assert world.find_lease(other).state == "revoking"
    assert "did not answer" in (world.find_lease(other).stuck_reason or "")
    register(world)  # it is shut down, an operator says
    skip(world, timedelta(minutes=15))
    sweep(world)
    assert world.find_lease(other).state == "revoked"
