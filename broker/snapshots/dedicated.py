"""The dedicated server of a copy: made before anything is in it, brought back after a restart of
its host, ended with the copy.

    volume key made ─▶ label ─▶ volume ─▶ server ─▶ the copy as ever ─▶ key erased ─▶ all removed

What must stay true: the volume's key lies in the key port, under a name of this copy alone, and
dies before the volume is touched; a worker that is not on the test host knows nothing of what is
there, so it can't say that something is gone.
"""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass

import sqlalchemy as sa

from broker import tenants
from broker.db import Busy
from broker.engines import Target
from broker.engines.postgres.dedicated import HostUnavailable, NewServer, Seen, volume_place
from broker.engines.postgres.dedicated.host import SandboxHost
from broker.engines.postgres.scram import make_verifier
from broker.errors import Conflict
from broker.faults import crash_point
from broker.grants.room import NoRoom, told
from broker.grants.targets import sandbox_target
from broker.keys import Sealer
from broker.labels import Label
from broker.logs import get_log
from broker.retries import FAILURES, describe
from broker.secret import Secret
from broker.snapshots.model import Snapshot
from broker.snapshots.ports import Ports
from broker.tenants import TestServer
from broker.tx import Tx, system

_WORKER = system("worker")
_KEY_BYTES = 32
_MOST = 200  # servers on one host
DECOY = "sab_decoy"
_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Dedicated:
    """One copy's server; `host` is None on a worker that is not on the test host."""

    snapshot: Snapshot
    target: Target
    host: SandboxHost | None

    @property
    def on_host(self) -> SandboxHost:
        if self.host is None:
            raise HostUnavailable(
                "this worker is not on the test host; run the one that serves copies there, with "
                "BROKER_HOST__FOLDER"
            )
        return self.host

    def make(self, keys: Sealer, key: Secret[bytes]) -> None:
        """Raises HostUnavailable."""
        snapshot, name = self.snapshot, self.snapshot.sandbox
        place = volume_place(name)
        self.on_host.make(
            NewServer(
                name=name,
                label=Label("sandbox", snapshot.id, snapshot.ends_at, place).text(keys.label_key()),
                host=self.target.host,
                port=self.target.port,
                login=self.target.user,
                verifier=make_verifier(self.target.password),
            ),
            key,
        )

    def check_room(self, needed: int) -> None:
        """Raises NoRoom when the host's disk has less, HostUnavailable."""
        free = shutil.disk_usage(self.on_host.folder).free
        if needed > free:
            raise NoRoom(f"the copy needs {told(needed)} and its host has {told(free)} free")

    def ensure_running(self, keys: Sealer) -> None:
        """Raises HostUnavailable, KeyErased."""
        name = self.snapshot.sandbox
        if not self.on_host.see(name).is_running:
            key = open_volume_key(keys, self.snapshot)
            self.on_host.start(name, self.target.host, self.target.port, key)

    def destroy(self) -> None:
        self.on_host.destroy(self.snapshot.sandbox)

    def see(self) -> Seen:
        """A fresh look, which first finds the decoy. Raises HostUnavailable."""
        if not any(seen.name == DECOY for seen in self.on_host.look()):
            raise HostUnavailable("the look at the test host is blind: it does not see its decoy")
        return self.on_host.see(self.snapshot.sandbox)

    def place_decoy(self) -> None:
        (self.on_host.folder / DECOY).mkdir(mode=0o700, exist_ok=True)


def find_dedicated(ports: Ports, row: TestServer, snapshot: Snapshot) -> Dedicated | None:
    """None for a copy on a shared server."""
    if row.kind != "dedicated":
        return None
    return Dedicated(snapshot, sandbox_target(ports.keys, row, snapshot.port), ports.host)


def choose_port(tx: Tx, row: TestServer) -> int:
    """The first that no copy on this host has. Raises Conflict when there is none."""
    taken = set(
        tx.session.scalars(
            sa.select(Snapshot.port).where(
                Snapshot.server_id == row.id, Snapshot.state != "destroyed"
            )
        )
    )
    for port in range(row.port, min(row.port + _MOST, 65536)):
        if port not in taken:
            return port
    raise Conflict(f"{row.name} holds {_MOST} servers already; wait for one to end")


def make_volume_key(ports: Ports, snapshot: Snapshot) -> Secret[bytes]:
    """A fresh key, wrapped under the volume's own name. Raises KeyErased when it died already."""
    ports.keys.create(snapshot.volume_key)
    crash_point("volume-key-made")
    key = Secret(secrets.token_bytes(_KEY_BYTES))
    wrapped = ports.keys.wrap(snapshot.volume_key, key, snapshot.id.encode())
    with ports.database.begin(_WORKER) as tx:
        tx.session.get_one(Snapshot, snapshot.id).wrapped_volume_key = wrapped
    return key


def open_volume_key(keys: Sealer, snapshot: Snapshot) -> Secret[bytes]:
    wrapped = snapshot.wrapped_volume_key or b""
    return keys.unwrap(snapshot.volume_key, wrapped, snapshot.id.encode())


def revive(ports: Ports) -> int:
    """Start again the servers of ready copies that a restart of this host ended; how many."""
    if ports.host is None:
        return 0
    with ports.database.begin(_WORKER) as tx:
        query = sa.select(Snapshot).where(Snapshot.state == "ready", Snapshot.port.is_not(None))
        ready = [(row.id, row.sandbox) for row in tx.session.scalars(query)]
    return sum(_revive(ports, identity, name) for identity, name in ready)


def _revive(ports: Ports, snapshot_id: str, name: str) -> int:
    try:
        if ports.host is None or ports.host.see(name).is_running:
            return 0
        with ports.database.exclusive(f"snapshot {snapshot_id}"):
            with ports.database.begin(_WORKER) as tx:
                snapshot = tx.session.get_one(Snapshot, snapshot_id)
                row = tenants.get_server(tx, snapshot.server_id)
                server = find_dedicated(ports, row, snapshot)
            if snapshot.state != "ready" or server is None:
                return 0
            server.ensure_running(ports.keys)
            return 1
    except Busy:
        return 0
    except FAILURES as error:
        _log.warning("server_not_started", id=snapshot_id, reason=describe(error))
        return 0
