"""A copy on a server of its own, from its order to its certificate (G6, G7, G8, G14).

Here its volume is a plain folder; what rests on encryption is tests/system/test_dedicated_volumes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import sqlalchemy as sa

from broker import janitor, tenants
from broker.engines.postgres.dedicated import HostUnavailable, Seen
from broker.engines.postgres.dedicated.cluster import user_ids
from broker.engines.postgres.dedicated.host import SandboxHost
from broker.errors import Conflict
from broker.grants import approval_policy
from broker.grants.approval_policy import ApprovalPolicy
from broker.grants.model import Lease
from broker.grants.narrowing import is_within
from broker.grants.plan import CopyPlan
from broker.grants.scope_kinds import Wanted, Ways, find_problems
from broker.keys import KeyErased
from broker.reap import reap_host
from broker.snapshots import certificates, destroying, looks, making, ordering
from broker.snapshots.dedicated import Dedicated, find_dedicated
from broker.snapshots.remnants import find_certificate
from broker.tx import system
from tests.dedicated_hosts import dedicated_grant, host_of
from tests.grants.test_develop import DEVELOP, USE
from tests.stories import retry
from tests.world import World


@pytest.fixture
def host(world: World) -> Iterator[SandboxHost]:
    with host_of(world, plain=True) as host:
        yield host


def ready(world: World) -> tuple[str, str]:
    grant_id = dedicated_grant(world)
    snapshot_id = world.order(grant_id)
    world.work()
    snapshot = world.snapshot(snapshot_id)
    assert snapshot.state == "ready", snapshot.stuck_reason
    return grant_id, snapshot_id


def login(world: World, snapshot_id: str) -> psycopg.Connection:
    lease_id, password = world.sandbox_lease(snapshot_id)
    world.work()
    lease = world.find_lease(lease_id)
    assert lease.state == "issued", lease.stuck_reason
    with world.as_(system("tests")) as tx:
        server = tenants.get_server(tx, lease.server_id or "")
    return psycopg.connect(
        host=server.host,
        port=lease.port,
        dbname=lease.dbname,
        user=lease.role_name,
        password=password.reveal(),
        autocommit=True,
    )


@pytest.mark.long
def test_it_lives_on_a_server_of_its_own_and_nothing_of_that_is_left(
    world: World, host: SandboxHost
) -> None:
    grant_id, snapshot_id = ready(world)
    snapshot = world.snapshot(snapshot_id)
    seen = host.see(snapshot.sandbox)
    assert seen.processes > 0
    with login(world, snapshot_id) as session:
        assert session.execute("SELECT count(*) FROM crm.contacts").fetchone() != (0,)
        superusers = "SELECT rolcanlogin FROM pg_roles WHERE rolsuper AND rolcanlogin"
        assert session.execute(superusers).fetchall() == []
    world.close_ticket(world.grant(grant_id).ticket_id)
    world.work()
    gone = world.snapshot(snapshot_id)
    assert gone.state == "destroyed", gone.stuck_reason
    assert host.see(snapshot.sandbox) == Seen.nothing(snapshot.sandbox)
    with pytest.raises(KeyErased):
        world.ports.keys.unwrap(
            snapshot.volume_key, snapshot.wrapped_volume_key or b"", snapshot_id.encode()
        )
    certificates.certify(world.ports, snapshot_id)
    with world.as_(system("tests")) as tx:
        row = find_certificate(tx, snapshot_id)
        assert row is not None
        stated = certificates.read_statement(row.envelope)
    kinds = {item["kind"] for item in stated["inventory"]}
    assert {"volume key", "server volume", "server process"} <= kinds
    assert kinds <= set(stated["method"])
    assert stated["method"]["server volume"].startswith("purge by cryptographic erase")
    looked = {look["kind"]: look["found"] for look in stated["looks"]}
    assert looked == {
        "data key": False,
        "real values": False,
        "volume key": False,
        "server process": False,
        "server volume": False,
        "artifact": False,
    }
    assert stated["residue"] == [certificates.RESIDUE_DEDICATED]
    assert all(one.state == "revoked" for one in leases_of(world, snapshot_id))


def leases_of(world: World, snapshot_id: str) -> list[Lease]:
    with world.as_(system("tests")) as tx:
        return list(tx.session.scalars(sa.select(Lease).where(Lease.snapshot_id == snapshot_id)))


@pytest.mark.long
def test_what_the_hosts_restart_ended_comes_back_and_what_nobody_explains_goes(
    world: World, host: SandboxHost
) -> None:
    _, snapshot_id = ready(world)
    name = world.snapshot(snapshot_id).sandbox
    host._cluster(name).stop()  # as a restart of the host would
    assert not host.see(name).processes
    janitor.look_everywhere(world.ports)
    assert host.see(name).processes
    # A label past its end is the reaper's, whatever the broker does.
    key, later = world.ports.keys.label_key(), datetime.now(UTC) + timedelta(days=2)
    assert reap_host(host, key, datetime.now(UTC)).ended == []
    assert reap_host(host, key, later).ended == [f"server {name}"]
    assert host.see(name) == Seen.nothing(name)
    # A folder with a true name and no row that explains it is the janitor's to end.
    (host.folder / f"sab_{'b' * 26}").mkdir()
    (host.folder / "backup").mkdir()
    janitor.look_everywhere(world.ports)
    assert [seen.name for seen in host.look()] == ["backup"]
    (host.folder / "backup").rmdir()


def test_a_worker_that_is_not_on_the_host_says_so_and_calls_nothing_gone(
    world: World, host: SandboxHost
) -> None:
    grant_id = dedicated_grant(world)
    snapshot_id = world.order(grant_id)
    elsewhere = replace(world.ports, host=None)
    making.copy(elsewhere, snapshot_id)
    assert "not on the test host" in (world.snapshot(snapshot_id).stuck_reason or "")
    with world.as_(world.engineer) as tx:
        ordering.condemn(tx, ordering.get_snapshot(tx, snapshot_id), "tests", world.broker.queue)
    destroying.destroy(elsewhere, snapshot_id)
    waiting = world.snapshot(snapshot_id)
    assert waiting.state == "condemned"
    assert "not on the test host" in (waiting.stuck_reason or "")
    retry(world)
    world.work()
    assert world.snapshot(snapshot_id).state == "destroyed", world.snapshot(
        snapshot_id
    ).stuck_reason
    (host.folder / "sab_decoy").rmdir()
    server = own(world, snapshot_id)
    with pytest.raises(HostUnavailable, match="blind"):
        looks.look_at_server(server, server.snapshot)


def own(world: World, snapshot_id: str) -> Dedicated:
    snapshot = world.snapshot(snapshot_id)
    with world.as_(system("tests")) as tx:
        server = find_dedicated(world.ports, tenants.get_server(tx, snapshot.server_id), snapshot)
    assert server is not None
    return server


def test_the_plan_says_which_server_and_what_remains_and_a_decision_can_not_loosen_it() -> None:
    strict = replace(USE, copy=CopyPlan(dedicated=True))
    assert (USE.copy.server, strict.copy.server) == ("shared", "dedicated")
    assert "unreadable" in strict.copy.residue
    assert "freed blocks" in USE.copy.residue
    assert is_within(strict, USE)
    assert not is_within(USE, strict)
    assert strict.copy.meet(DEVELOP.copy) == CopyPlan(dedicated=True)
    no_copy = Ways(live=True, copy=False, platform=False)
    assert "ask for one too" in find_problems(Wanted(dedicated=True), no_copy)["dedicated"]


def test_a_customer_who_wants_each_copy_so_gets_each_so(world: World) -> None:
    with world.as_(world.admin) as tx:
        approval_policy.propose(tx, world.tenant, ApprovalPolicy(dedicated_only=True))
    grant_id = world.approved()
    assert world.grant(grant_id).asked_dedicated
    with pytest.raises(Conflict, match="no dedicated test server"):
        world.order(grant_id)
    with world.as_(world.engineer) as tx, pytest.raises(Conflict, match="plan that was given"):
        ordering.order(tx, grant_id, world.server_id, world.broker.queue)


def test_only_root_needs_another_user() -> None:
    assert (user_ids("nobody") is None) == (os.geteuid() != 0)
