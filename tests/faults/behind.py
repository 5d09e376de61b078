"""A small world whose places stand behind doors that misbehave, and copies that fill them.

A copy here is what a worker left that died in the middle: its key, its sandbox with a row in it,
its label and a sealed object, each made by the product's own steps. That costs a quarter of a whole
copy, and everything that must be destroyed is there.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from broker import bootstrap, lifecycle, tenants
from broker.bootstrap import Broker
from broker.engines.postgres.account import setup_test_server_sql
from broker.engines.postgres.scram import make_verifier, new_password
from broker.grants import lease_steps
from broker.keys import KeyState
from broker.keys.intake import login_context, seal_login
from broker.settings import Control
from broker.snapshots import certificates, destroying, making, ordering
from broker.snapshots.artifacts import put_sealed
from broker.snapshots.ports import Ports
from broker.snapshots.remnants import find_certificate
from broker.tenants import TenantDatabase, TestServer
from broker.tx import system
from tests.faults.door import Door, door_of_postgres
from tests.world import World, connect, looked_at

HELD = "SELECT datname::text FROM pg_database WHERE datname ~ %s UNION ALL SELECT rolname::text"
HELD += " FROM pg_roles WHERE rolname ~ %s"
ONCE = (
    *("snapshot.ordered", "snapshot.condemned", "key.erased", "snapshot.destroyed"),
    "certificate.issued",
)


@dataclass
class Behind:
    """`broker` and `ports` go through the doors; `world` goes straight."""

    world: World
    broker: Broker
    ports: Ports
    live: Door
    test: Door
    control: Door
    server_id: str
    grant_id: str

    @contextlib.contextmanager
    def through(self, **ports: Any) -> Iterator[None]:
        """Other ports meanwhile, through the doors alone."""
        before, self.ports = self.ports, replace(self.ports, **ports)
        try:
            yield
        finally:
            self.ports = before

    @contextlib.contextmanager
    def using(self, **ports: Any) -> Iterator[None]:
        """Other ports meanwhile, through the doors and straight."""
        before = self.ports, self.world.ports
        self.ports, self.world.ports = (replace(one, **ports) for one in before)
        try:
            yield
        finally:
            self.ports, self.world.ports = before

    def planted(self) -> str:
        """A copy that a worker left in the middle, in every place that a copy has."""
        world, straight = self.world, self.world.ports
        with world.as_(world.engineer) as tx:
            snapshot_id = ordering.order(tx, self.grant_id, self.server_id, world.broker.queue)
        assert making._is_met(straight, snapshot_id)
        work = making._begin(straight, snapshot_id)
        assert work is not None
        key = making._make_data_key(straight, work.snapshot)
        work.places.label_artifact(straight.store)
        work.places.make_sandbox("UTF8")
        with connect(world.test, work.snapshot.sandbox) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'a row of the tenant' AS it")
        prefix = work.snapshot.prefix
        put_sealed(straight.store, prefix, "table-00000", key, snapshot_id, b"rows")
        return snapshot_id

    def condemned(self) -> str:
        snapshot_id = self.planted()
        self.condemn(snapshot_id)
        return snapshot_id

    def condemn(self, snapshot_id: str) -> None:
        with self.world.as_(self.world.admin) as tx:
            lifecycle.condemn_by_click(tx, snapshot_id, self.world.broker.queue)

    def list_left(self, snapshot_id: str) -> list[str]:
        """What stands of a copy, by the truth of the places themselves, past every door."""
        part = snapshot_id[4:]
        found = [n for (n,) in self.world.find_on_server(self.world.test, HELD, part, part)]
        found += [o.name for o in self.world.ports.store.list_all("") if part in o.name]
        found += [n for n in self.world.ports.keys.list_names("snapshot/") if part in n]
        return found

    def is_certified(self, snapshot_id: str) -> bool:
        with self.world.as_(system("tests")) as tx:
            return find_certificate(tx, snapshot_id) is not None

    def end(self, snapshot_id: str, ports: Ports | None = None) -> None:
        """One try, then the certificate if there is one to give; and no more was said than is."""
        destroying.destroy(ports or self.ports, snapshot_id)
        certificates.certify(ports or self.ports, snapshot_id)
        self.check_truth(snapshot_id)

    def check_truth(self, snapshot_id: str) -> None:
        """What is said of a copy is so: destroyed is gone, and what is left has its reason."""
        snapshot = self.world.snapshot(snapshot_id)
        if snapshot.state == "destroyed" or self.is_certified(snapshot_id):
            assert self.list_left(snapshot_id) == []
        else:
            assert snapshot.state == "condemned"

    def is_stuck(self, snapshot_id: str) -> str:
        """The reason that a person reads."""
        snapshot = self.world.snapshot(snapshot_id)
        assert (snapshot.state, self.is_certified(snapshot_id)) == ("condemned", False)
        assert snapshot.stuck_reason
        return snapshot.stuck_reason

    def finish(self, snapshot_id: str) -> None:
        """The fault is over: what follows needs at most one try more, and each entry is there."""
        self.let_end(snapshot_id)
        entries = [e for e in self.world.entries() if snapshot_id in str(e)]
        told = Counter(entry["kind"] for entry in entries)
        assert [told[kind] for kind in ONCE] == [1] * len(ONCE), told

    def let_end(self, snapshot_id: str) -> None:
        for _ in range(2):
            self.end(snapshot_id)
        assert self.world.snapshot(snapshot_id).state == "destroyed", self.is_stuck(snapshot_id)
        assert self.is_certified(snapshot_id)
        assert self.world.ports.keys.find_state(f"snapshot/{snapshot_id}") is KeyState.ERASED

    # Logins on the tenant's server.

    def revoking(self) -> str:
        """A login in use, whose end was asked for."""
        lease_id, _ = self.world.lease(self.grant_id)
        self.world.issue(lease_id)
        assert self.world.find_lease(lease_id).state == "issued", lease_id
        with self.world.as_(self.world.admin) as tx:
            lifecycle.end_lease_by_click(tx, lease_id, self.world.broker.queue)
        return lease_id

    def revoke(self, lease_id: str) -> str:
        """One try; the state after it, which is true."""
        lease_steps.revoke(self.ports.database, self.ports.keys, lease_id)
        lease = self.world.find_lease(lease_id)
        query = "SELECT FROM pg_roles WHERE rolname = %s"
        there = self.world.find_on_server(self.world.live, query, lease.role_name)
        assert lease.state == "revoking" or not there
        return lease.state


@contextlib.contextmanager
def build_behind(world: World) -> Iterator[Behind]:
    with contextlib.ExitStack() as stack:
        live, live_host = stack.enter_context(door_of_postgres(world.live.host, world.live.port))
        test, test_host = stack.enter_context(door_of_postgres(world.test.host, world.test.port))
        dsn = world.broker.settings.control.dsn
        server = dsn.reveal().partition("@")[2].partition("/")[0].replace("%2F", "/")
        control, host = stack.enter_context(door_of_postgres(server, 5432))
        through = dsn.reveal().replace(server.replace("/", "%2F"), host.replace("/", "%2F"))
        settings = Control(dsn=type(dsn)(through))
        broker = bootstrap.build(world.broker.settings.model_copy(update={"control": settings}))
        stack.callback(broker.close)
        server_id = _register_server(world, test_host)
        world.database_id = _register_database(world, live_host)
        grant_id = world.approved()
        yield Behind(
            world, broker, bootstrap.build_ports(broker), live, test, control, server_id, grant_id
        )


def _register_server(world: World, host: str) -> str:
    """The same account is on the tenant's server too: another cluster that would let us in."""
    password, login = new_password(), f"sab_host_{host[-8:].lower()}"
    for server in (world.test, world.live):
        with connect(server) as connection:
            version = connection.info.server_version
            verifier = make_verifier(password)
            connection.execute(setup_test_server_sql(login, verifier, server_version=version))
    context = login_context("server", host, world.test.port, login)
    sealed = seal_login(world.ports.keys.intake_public(), password, context)
    with world.as_(world.operator) as tx:
        server = TestServer(
            name="behind a door",
            host=host,
            port=world.test.port,
            login=login,
            sealed_password=sealed,
        )
        return looked_at(tx, tenants.register_server(tx, server))


def _register_database(world: World, host: str) -> str:
    """The tenant's database once more, with the login that is there already."""
    with world.as_(world.operator) as tx:
        row = tenants.get_database(tx, world.database_id)
        keys = world.ports.keys
        here = login_context("database", row.host, row.port, row.login)
        password = keys.open_intake(row.sealed_password, here)
        there = login_context("database", host, row.port, row.login)
        behind = TenantDatabase(
            name="CRM behind a door",
            host=host,
            port=row.port,
            dbname=row.dbname,
            login=row.login,
            sealed_password=seal_login(keys.intake_public(), password, there),
            schemas=list(row.schemas),
        )
        return looked_at(tx, tenants.register_database(tx, world.tenant, behind))
