"""What the janitor ends: on real servers, in a real store and a real keyring."""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from broker import finds, janitor, lifecycle, tenants
from broker.engines.postgres import leases as roles
from broker.engines.postgres.copying import sandbox
from broker.engines.postgres.leases import LeaseRole
from broker.engines.postgres.scopes import Scope, make_scope
from broker.engines.postgres.scram import make_verifier, new_password
from broker.finds import Found
from broker.ids import new_id
from broker.keys.intake import login_context, seal_login
from broker.labels import Label
from broker.sweeps import Overtaken
from broker.tx import system
from tests.janitor_world import (
    FAR,
    OURS,
    SANDBOXES,
    copies,
    is_dead,
    list_open,
    live,
    log_in,
    make_login,
    make_sandbox,
    put_object,
    told,
)
from tests.world import (
    World,
    clone_crm,
    connect,
    enrol,
    register_database,
)


def test_a_login_that_no_row_knows_is_ended_with_its_session_and_its_scope(world: World) -> None:
    """G3. A crash, or a control database restored from before the lease was asked."""
    role, password = make_login(world, live(world))
    with log_in(live(world), role, password) as session:
        assert session.execute("SELECT count(*) FROM companies").fetchone()
        assert janitor.look_everywhere(world.ports) == 2
        assert is_dead(session)
    assert world.find_on_server(world.live, OURS) == []
    assert told(world, world.tenant) == [
        ("orphan.found", "lease"),
        ("orphan.ended", "lease"),
        ("orphan.found", "scope"),
        ("orphan.ended", "scope"),
    ]
    assert janitor.look_everywhere(world.ports) == 0
    assert len(told(world, world.tenant)) == 4


def test_a_login_that_came_back_after_it_was_revoked_is_ended(world: World) -> None:
    """A tenant's server restored from a backup: the row says revoked, the role can log in."""
    grant_id = world.approved()
    lease_id, password = world.lease(grant_id)
    world.work()
    lease = world.find_lease(lease_id)
    with world.as_(world.admin) as tx:
        lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)
    world.work()
    assert world.find_lease(lease_id).state == "revoked"
    assert janitor.look_everywhere(world.ports) == 0
    key, target = world.ports.keys.label_key(), live(world)
    label = Label("scope", lease_id, FAR, lease.scope_name).text(key)
    make_scope(target, Scope(lease.scope_name, ()), label, keyed=True)
    label = Label("lease", lease_id, FAR, lease.role_name).text(key)
    back = LeaseRole(lease.role_name, lease.scope_name, make_verifier(password), FAR, label)
    roles.issue(target, back)
    assert janitor.look_everywhere(world.ports) == 2
    assert world.find_on_server(world.live, OURS) == []
    entry = next(e for e in world.entries() if e["kind"] == "orphan.ended")
    assert entry["subject"] == lease_id
    assert entry["facts"] == {
        "kind": "lease",
        "role": lease.role_name,
        "on": world.database_id,
        "row": "revoked",
    }


def test_a_finding_stands_in_the_log_of_the_tenant_whose_login_it_was_and_in_no_other(
    world: World,
) -> None:
    """G12. Two tenants' databases on one server, and no rows that say whose each login is."""
    other, _ = enrol(world, "Second tenant")
    crm = clone_crm(world.live)
    try:
        database_id = register_database(world, world.ports.keys, other, crm)
        mine, _ = make_login(world, live(world))
        theirs, _ = make_login(world, live(world, database_id))
        assert janitor.look_everywhere(world.ports) == 4
        assert told(world, None) == []
        for tenant_id, on, role in (
            (world.tenant, world.database_id, mine),
            (other, database_id, theirs),
        ):
            kinds = told(world, tenant_id)
            assert sorted(kind for entry, kind in kinds if entry == "orphan.ended") == [
                "lease",
                "scope",
            ]
            facts = [e["facts"] for e in world.entries(tenant_id) if e["kind"] == "orphan.ended"]
            assert {fact["on"] for fact in facts} == {on}
            assert [fact["role"] for fact in facts if "role" in fact] == [role]
    finally:
        with connect(world.live) as connection:
            connection.execute(f"DROP DATABASE {crm} WITH (FORCE)")


def test_a_login_that_leads_to_two_tenants_is_told_to_the_vendor_alone(world: World) -> None:
    """G12. The setup of one database was undone, so the login reaches it too."""
    other, _ = enrol(world, "Second tenant")
    crm = clone_crm(world.live)
    try:
        register_database(world, world.ports.keys, other, crm)
        with connect(world.live) as connection:
            connection.execute(f"GRANT CONNECT ON DATABASE {crm} TO PUBLIC")
        make_login(world, live(world))
        assert janitor.look_everywhere(world.ports) == 2
        assert told(world, None) == [("orphan.found", "lease"), ("orphan.ended", "lease")]
        assert told(world, other) == []
        assert {kind for _, kind in told(world, world.tenant)} == {"scope"}  # its schema is here
    finally:
        with connect(world.live) as connection:
            connection.execute(f"DROP DATABASE {crm} WITH (FORCE)")


def test_what_its_maker_is_at_waits_for_the_next_round(world: World) -> None:
    identity = new_id("lse")
    role, _ = make_login(world, live(world), identity)
    with world.broker.database.exclusive(f"lease {identity}"):
        assert janitor.look_everywhere(world.ports) == 0
        assert (role,) in world.find_on_server(world.live, OURS)
    assert janitor.look_everywhere(world.ports) == 2


@dataclass
class Destroyed:
    """A copy that was destroyed, and what a backup of its key would bring back."""

    snapshot_id: str
    key_file: Path
    key: bytes


@pytest.fixture
def destroyed(world: World) -> Destroyed:
    ticket = world.ticket()
    grant_id = world.request(ticket)
    world.work()
    world.approve(grant_id)
    snapshot_id = world.order(grant_id)
    world.work()
    keyring = world.broker.settings.keys.keyring
    assert keyring is not None
    key_file = keyring / "wrapping" / f"snapshot.{snapshot_id}.key"
    key = key_file.read_bytes()
    world.close_ticket(ticket)
    world.work()
    assert world.snapshot(snapshot_id).state == "destroyed"
    return Destroyed(snapshot_id, key_file, key)


def test_what_comes_back_of_a_destroyed_copy_is_ended_and_its_state_does_not_move(
    world: World, destroyed: Destroyed
) -> None:
    """Each place restored from a backup: the test server, the store, the keyring."""
    snapshot_id = destroyed.snapshot_id
    assert janitor.look_everywhere(world.ports) == 0
    make_sandbox(world, snapshot_id)
    put_object(world, f"snapshots/{snapshot_id}/table-00000")
    destroyed.key_file.touch(mode=0o600)
    destroyed.key_file.write_bytes(destroyed.key)

    assert janitor.look_everywhere(world.ports) == 3
    assert world.find_on_server(world.test, SANDBOXES) == []
    assert world.find_on_server(world.test, OURS) == []
    assert list(world.ports.store.list_all("snapshots/")) == []
    assert not destroyed.key_file.exists()
    kinds = told(world, world.tenant)
    assert {kind for entry, kind in kinds if entry == "remnant.ended"} == {
        "key",
        "artifact",
        "sandbox",
    }
    assert world.snapshot(snapshot_id).state == "destroyed"


def test_a_bare_database_goes_with_its_labelled_owner(world: World) -> None:
    """The broker died between CREATE DATABASE and its comment, and its row is not there."""
    identity, server = new_id("snp"), copies(world)
    owner = f"sab_o_{identity[4:]}"
    label = Label("sandbox", identity, FAR, owner).text(world.ports.keys.label_key())
    sandbox.create_role(server, owner, label)
    with connect(world.test) as connection:
        connection.execute(f"CREATE DATABASE sab_{identity[4:]} OWNER {server.user}")
    assert janitor.look_everywhere(world.ports) == 1
    assert world.find_on_server(world.test, SANDBOXES) == []
    assert ("remnant.ended", "sandbox") in told(world, None)
    assert not any(identity[4:] in find.name for find in list_open(world))  # no stranger either


def test_a_login_on_a_sandbox_that_no_row_knows_is_ended_and_the_live_copy_stays(
    world: World,
) -> None:
    snapshot_id = world.order(world.approved())
    world.work()
    snapshot = world.snapshot(snapshot_id)
    assert snapshot.state == "ready"
    identity, role, password = new_id("lse"), f"sab_l_{secrets.token_hex(8)}", new_password()
    label = Label("lease", identity, FAR, role).text(world.ports.keys.label_key())
    server = replace(copies(world), dbname=snapshot.sandbox)
    lost = LeaseRole(role, snapshot.use_role, make_verifier(password), FAR, label)
    roles.issue(server, lost, bounded=False)
    with log_in(server, role, password) as session:
        assert janitor.look_everywhere(world.ports) == 1
        assert is_dead(session)
    assert told(world, world.tenant) == [("orphan.found", "lease"), ("orphan.ended", "lease")]
    mine, password = world.sandbox_lease(snapshot_id)
    world.work()
    with world.login(mine, password) as session:
        assert session.execute("SELECT count(*) FROM crm.companies").fetchone() != (0,)
        assert janitor.look_everywhere(world.ports) == 0
        assert not is_dead(session)


def test_two_janitors_at_once_end_each_thing_once(world: World) -> None:
    for _ in range(3):
        make_login(world, live(world))
    put_object(world, f"snapshots/{new_id('snp')}/table-00000")
    start = threading.Barrier(2)

    def look() -> int:
        start.wait(10)
        return janitor.look_everywhere(world.ports)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(look), pool.submit(look)
        ended = first.result() + second.result()
    ended += janitor.look_everywhere(world.ports)  # a scope that was busy at that moment
    assert ended == 7
    assert world.find_on_server(world.live, OURS) == []
    for entry in ("orphan.found", "orphan.ended"):
        assert [e for e, _ in told(world, world.tenant)].count(entry) == 6
    assert told(world, None).count(("remnant.ended", "artifact")) == 1


def test_a_server_that_does_not_answer_keeps_no_other(world: World) -> None:
    password, nowhere = new_password(), str(world.broker.settings.store.folder)
    context = login_context("server", nowhere, 5432, "sab_host_nobody")
    sealed = seal_login(world.ports.keys.intake_public(), password, context)
    with world.as_(world.operator) as tx:
        away = tenants.TestServer(
            name="away", host=nowhere, port=5432, login="sab_host_nobody", sealed_password=sealed
        )
        tenants.register_server(tx, away)
        tx.session.flush()
        # A row whose host was changed does not open.
        moved = tenants.TestServer(
            name="moved", host=nowhere, port=1, login="sab_host_nobody", sealed_password=sealed
        )
        tenants.register_server(tx, moved)
    make_login(world, live(world))
    make_sandbox(world, new_id("snp"))
    assert janitor.look_everywhere(world.ports) == 3
    assert world.find_on_server(world.live, OURS) == []
    assert world.find_on_server(world.test, SANDBOXES) == []


def test_what_can_not_be_ended_now_stays_open_with_its_reason_until_it_can(world: World) -> None:
    role, _ = make_login(world, live(world))
    with connect(world.live) as connection:
        ((scope,),) = connection.execute(
            "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = to_regrole(%s)"
            " AND roleid <> 'sab_managed'::regrole",
            [role],
        ).fetchall()
        connection.execute("CREATE ROLE sab_l_dba_friend")
        connection.execute(f"GRANT {scope} TO sab_l_dba_friend")
        assert janitor.look_everywhere(world.ports) == 1
        (find,) = list_open(world)
        assert (find.name, find.noun) == (scope, "orphan")
        assert "sab_l_dba_friend" in (find.stuck_reason or "")
        assert janitor.look_everywhere(world.ports) == 0
        assert told(world, world.tenant).count(("orphan.found", "scope")) == 1
        connection.execute(f"REVOKE {scope} FROM sab_l_dba_friend")
    assert janitor.look_everywhere(world.ports) == 1
    assert list_open(world) == []


def test_a_find_that_a_killed_janitor_had_ended_already_is_closed(world: World) -> None:
    """Intent, effect, and no confirmation: what is no longer listed is over, and the log says so.

    A find that is younger than the listing may only not have been there yet, and stays.
    """
    place = f"{world.live.host}:{world.live.port}"
    found = Found("orphan", place, "lease", "sab_l_x", new_id("lse"), world.tenant, {"on": "x"})
    with world.as_(system("janitor")) as tx:
        finds.open_find(tx, found)
        finds.close_vanished(tx, place, (), tx.at - timedelta(seconds=1))
    assert told(world, world.tenant) == [("orphan.found", "lease")]
    janitor.look_everywhere(world.ports)
    assert told(world, world.tenant) == [("orphan.found", "lease"), ("orphan.ended", "lease")]
    with world.as_(system("janitor")) as tx:
        assert not finds.close_find(tx, found)
    assert len(told(world, world.tenant)) == 2


def test_the_scheduler_that_leads_has_it_swept_and_an_overtaken_one_does_not(
    world: World,
) -> None:
    with world.as_(system("scheduler")) as tx:
        tx.session.execute(
            sa.text(
                "INSERT INTO scheduler_lead (singleton, holder, fence, until)"
                " VALUES (true, 'tests', 7, now())"
            )
        )
    make_login(world, live(world))
    with pytest.raises(Overtaken):
        janitor.sweep_orphans(world.ports, 6)
    assert world.find_on_server(world.live, OURS) != []
    with world.as_(system("scheduler")) as tx:
        world.broker.queue.put_sweep(tx, "sweep_orphans", 7)
    world.work()
    assert world.find_on_server(world.live, OURS) == []
    with world.as_(system("tests")) as tx:
        run = tx.session.execute(
            sa.text("SELECT fence, found FROM sweep_run WHERE kind = 'orphans'")
        ).one()
    assert (run.fence, run.found) == (7, 2)
