"""Steps that tests of guarantees and of faults have in common, on a `World`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import sqlalchemy as sa

from broker import sweeps, tenants
from broker.audit.export import begin_export, stream, verifier_keys
from broker.audit.integrate import integrate_all
from broker.audit.note import VerifierKey
from broker.engines import Target
from broker.grants.narrowing import Narrowing
from broker.grants.targets import live_target, server_target
from broker.ids import GrantId, SnapshotId, TenantId
from broker.keys import LOG_KEY, STATEMENTS_KEY
from broker.secret import Secret
from broker.snapshots import certificates
from broker.tx import system
from tests.world import World, connect

DEADLINE_S = 180  # for machines that do much else


def ready_copy(world: World, narrowing: Narrowing | None = None) -> tuple[GrantId, SnapshotId]:
    """An approved grant and its copy, made."""
    grant_id = world.approved(narrowing or Narrowing())
    snapshot_id = world.order(grant_id)
    world.work()
    snapshot = world.snapshot(snapshot_id)
    assert snapshot.state == "ready", snapshot.stuck_reason
    return grant_id, snapshot_id


def skip(world: World, span: timedelta, *, looked: bool = True) -> None:
    """From now on the control database's clock is ahead by `span`; servers were looked at on the
    way, as the sweeps do, unless `looked` is false.
    """
    world.broker.database._clock = lambda: datetime.now(UTC) + span
    if not looked:
        return
    with world.as_(system("tests")) as tx:
        tx.session.execute(sa.text("UPDATE preflight SET checked_at = :at"), {"at": tx.at})


def sweep(world: World, fence: int = 0) -> None:
    """What the scheduler does at its intervals, and then what workers do."""
    sweeps.sweep_ends(world.broker.database, world.broker.queue, fence)
    sweeps.sweep_retries(world.broker.database, world.broker.queue, fence)
    world.work()


def retry(world: World) -> None:
    """Let the longest wait between two tries pass, and sweep."""
    skip(world, timedelta(seconds=301))
    sweep(world)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Look again and again until it holds; fails past a generous deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)


def is_dead(session: psycopg.Connection) -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def live_database(world: World) -> Target:
    """The tenant's database with the broker's login."""
    with world.as_(system("tests")) as tx:
        return live_target(world.ports.keys, tenants.get_database(tx, world.database_id))


def sandbox_server(world: World) -> Target:
    """The test server with the broker's login."""
    with world.as_(system("tests")) as tx:
        return server_target(world.ports.keys, tenants.get_server(tx, world.server_id))


def control_database(world: World) -> str:
    """Name of this world's control database."""
    return world.broker.settings.control.dsn.reveal().rpartition("/")[2]


@contextmanager
def control_superuser(world: World) -> Iterator[psycopg.Connection]:
    """The control database as somebody who writes SQL by hand."""
    dsn = world.broker.settings.control.owner_dsn
    assert dsn is not None
    with psycopg.connect(dsn.reveal(), autocommit=True) as connection:
        yield connection


def forget_looks(world: World) -> None:
    """As if its servers had just been registered: nobody has looked at them."""
    with control_superuser(world) as connection:
        connection.execute("DELETE FROM preflight")


def pinned(world: World, tenant_id: TenantId | None = None) -> list[VerifierKey]:
    """The keys that the tenant was given at enrolment."""
    with world.as_(system("tests")) as tx:
        origin = tenants.get_tenant(tx, tenant_id or world.tenant).log_origin
    keys = world.ports.keys
    texts = verifier_keys(origin, keys.public(LOG_KEY), keys.public(STATEMENTS_KEY))
    return [VerifierKey.parse(text) for text in texts]


def exported(world: World, tenant_id: TenantId | None = None) -> bytes:
    """The tenant's bundle, up to date."""
    tenant_id = tenant_id or world.tenant
    integrate_all(world.broker.database, world.ports.keys)
    hints = [key.format() for key in pinned(world, tenant_id)]
    with world.as_(world.admin if tenant_id == world.tenant else system("tests")) as tx:
        export = begin_export(tx, tenant_id, hints, certificates.list_envelopes)
        return b"".join(stream(lambda: nullcontext(tx), export))


def unseal_all(world: World, snapshot_id: str, into: Path) -> Secret[bytes]:
    """Write the plaintext of every sealed object of a copy into a folder; returns the data key."""
    from broker.sealing import Manifest, SealContext, Sealed, open_sealed

    snapshot = world.snapshot(snapshot_id)
    assert snapshot.wrapped_key is not None
    key = world.ports.keys.unwrap(snapshot.wrapping_key, snapshot.wrapped_key, snapshot.id.encode())
    into.mkdir()

    def unseal(name: str, expected: Sealed) -> bytes:
        with world.ports.store.open(snapshot.prefix + name) as source:
            blocks = open_sealed(source, key, SealContext(snapshot.id, name), expected)
            content = b"".join(blocks)
        (into / name).write_bytes(content)
        return content

    first = Sealed("manifest", snapshot.manifest_size or 0, snapshot.manifest_sha256 or "")
    for sealed in Manifest.from_bytes(unseal("manifest", first)).objects:
        unseal(sealed.name, sealed)
    return key


@contextmanager
def unmounted(folder: Path) -> Iterator[None]:
    """The store's volume is away: its folder is there and empty."""
    away = folder.with_name(folder.name + ".away")
    folder.rename(away)
    folder.mkdir()
    try:
        yield
    finally:
        folder.rmdir()
        away.rename(folder)


@contextmanager
def shut_out(world: World, server: str) -> Iterator[None]:
    """`live` or `test`: the server refuses the broker's login, which is what "down" looks like."""
    target = live_database(world) if server == "live" else sandbox_server(world)
    where = world.live if server == "live" else world.test
    with connect(where) as connection:
        connection.execute(f"ALTER ROLE {target.user} NOLOGIN")
        try:
            yield
        finally:
            connection.execute(f"ALTER ROLE {target.user} LOGIN")
