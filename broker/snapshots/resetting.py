"""Resetting a copy: its sandbox is rebuilt from the sealed artifact, and the tenant is not touched.

    asked ─▶ every object checked ─▶ logins ended ─▶ sandbox dropped, made, loaded, checked ─▶ done
                   └─ refused: the sandbox stays as it was

What must stay true: a reset is no state, so the copy stays `ready`, with work that is due; nobody
logs in meanwhile. An object that is not byte for byte what was sealed is named, and nothing of it
stays in a sandbox that anybody can use. Once the old sandbox is gone there is no way to refuse: a
copy whose artifact is damaged by then has nothing left to give and is condemned.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial

from broker import retries, tenants, trail
from broker.db import Busy, Held
from broker.engines.postgres.connect import connect
from broker.engines.postgres.copying import sandbox
from broker.engines.postgres.copying.archive import Archive, restore
from broker.engines.postgres.copying.rows import Connection, RowTarget, loading
from broker.engines.postgres.copying.sequences import analyze, put_sequences
from broker.errors import BrokerError, VerificationFailed
from broker.faults import crash_point
from broker.grants.targets import server_target
from broker.ids import TenantId
from broker.retries import FAILURES, describe
from broker.sealing import Sealed
from broker.snapshots.artifacts import Artifact, open_artifact
from broker.snapshots.contents import DEFINITIONS, Contents, SealedTable
from broker.snapshots.dedicated import find_dedicated
from broker.snapshots.destroying import revoke_leases
from broker.snapshots.loading import restore_post_data
from broker.snapshots.model import Snapshot
from broker.snapshots.ordering import condemn, get_snapshot
from broker.snapshots.parallel import run_all, run_in_lanes
from broker.snapshots.places import Places
from broker.snapshots.ports import Ports
from broker.snapshots.progress import Watch
from broker.tx import system

_WORKER = system("worker")
_LOGIN_LOOKS, _LOGIN_WAIT_S = 10, 0.5


def _after(checkpoint: Callable[[], None], block: bytes) -> bytes:
    checkpoint()
    return block


def reset(ports: Ports, snapshot_id: str) -> None:
    """Do a reset that is due, or what a dead worker left of one, from the start."""
    try:
        with ports.database.exclusive(f"snapshot {snapshot_id}") as held:
            places = _begin(ports, snapshot_id)
            if places is None:
                return
            try:
                _reset(ports, places, held)
                _confirm(ports, places.snapshot)
            except FAILURES as error:
                _give_back(ports, places, error)
    except Busy:
        return


def _begin(ports: Ports, snapshot_id: str) -> Places | None:
    with ports.database.begin(_WORKER) as tx:
        snapshot = get_snapshot(tx, snapshot_id)
        if not snapshot.being_reset:
            return None
        row = tenants.get_server(tx, snapshot.server_id)
        own = find_dedicated(ports, row, snapshot)
        server = own.target if own else server_target(ports.keys, row)
        return Places(snapshot, server, ports.keys.label_key(), own)


def _reset(ports: Ports, places: Places, held: Held) -> None:
    snapshot = places.snapshot
    if places.own is not None:
        places.own.ensure_running(ports.keys)
    artifact = open_artifact(ports, snapshot)
    manifest = artifact.read_manifest()
    contents = Contents.from_facts(manifest.facts)
    objects = {sealed.name: sealed for sealed in manifest.objects}
    run_all([partial(artifact.check, sealed) for sealed in manifest.objects])
    _end_logins(ports, snapshot)
    watch = Watch(ports.database, held, snapshot.id, len(contents.tables), state="ready")
    watch.step("definitions")  # from here on the old sandbox is no more
    crash_point("reset-begun")
    places.drop_sandbox()
    with watch.cutting():
        rebuild(places.through(watch.lines), artifact, objects, contents, watch)
    places.let_leases_in()


def _end_logins(ports: Ports, snapshot: Snapshot) -> None:
    """Their own jobs may be at it just now; give them a moment before this counts as a failure."""
    for _ in range(_LOGIN_LOOKS):
        with contextlib.suppress(BrokerError):
            return revoke_leases(ports, snapshot, "the copy is reset")
        time.sleep(_LOGIN_WAIT_S)
    return revoke_leases(ports, snapshot, "the copy is reset")


def rebuild(
    places: Places,
    artifact: Artifact,
    objects: dict[str, Sealed],
    contents: Contents,
    watch: Watch,
) -> None:
    """A fresh sandbox with everything in it, into which no lease gets yet."""
    with ExitStack() as stack:
        places.make_sandbox(contents.encoding)
        owner = places.open_owner()
        stack.callback(places.close_owner)
        archive = Archive.from_bytes(artifact.read(objects[DEFINITIONS]))
        stack.enter_context(archive)
        restore(archive, owner, "pre-data", checkpoint=watch.tick)
        watch.step("rows")
        run_in_lanes(
            [
                partial(_load, artifact, objects[name], list(tables), watch)
                for name, tables in itertools.groupby(contents.tables, lambda t: t.objects[0])
            ],
            lambda: connect(owner),
        )
        watch.step("indexes")
        restore_post_data(archive, owner, contents.left_out, watch.tick)
        with connect(owner) as connection:
            put_sequences(connection, contents.sequences)
            analyze(connection)
            sandbox.grant_use(connection, places.snapshot.use_role)


def _load(
    artifact: Artifact,
    expected: Sealed,
    tables: Sequence[SealedTable],
    watch: Watch,
    connection: Connection,
) -> None:
    """Raises VerificationFailed unless the server took as many rows as the manifest names."""
    targets = {
        table: RowTarget(connection, (table.schema, table.name), table.columns, table.binary)
        for table in tables
    }
    with loading(list(targets.values())) as load:

        def loaded(table: SealedTable, blocks: Iterator[bytes]) -> None:
            rows = load((_after(watch.tick, block) for block in blocks), targets[table], None)
            if rows != table.rows:
                raise VerificationFailed(
                    f"the object {expected.name!r} gave {rows} rows, {table.rows} were sealed"
                )
            watch.table_done()

        artifact.load(expected, tables, loaded)


def _confirm(ports: Ports, done: Snapshot) -> None:
    with ports.database.begin(_WORKER) as tx:
        snapshot = get_snapshot(tx, done.id)
        if not snapshot.being_reset:
            return  # condemned meanwhile: its own job takes the new sandbox away
        facts = {"manifest": snapshot.manifest_sha256 or ""}
        trail.record(tx, TenantId(snapshot.tenant_id), "snapshot.reset", snapshot.id, facts)
        snapshot.progress = {"step": "reset"}
        retries.note_success(snapshot)


def _give_back(ports: Ports, places: Places, error: Exception) -> None:
    """Leave the old sandbox, or none; say why; refuse or condemn where trying again is vain."""
    reason = describe(error)
    vain = isinstance(error, VerificationFailed)
    with ports.database.begin(_WORKER) as tx:
        gone = get_snapshot(tx, places.snapshot.id).progress.get("purpose") == "reset"
    if gone:
        try:
            places.drop_sandbox()
        except FAILURES as left:
            reason = f"{reason}; and clearing up: {describe(left)}"
    with ports.database.begin(_WORKER) as tx:
        snapshot = get_snapshot(tx, places.snapshot.id)
        if not snapshot.being_reset:
            return
        retries.note_failure(snapshot, tx.at, reason)
        if vain and gone:
            condemn(tx, snapshot, f"its artifact is damaged: {reason}", ports.queue)
        elif vain:
            snapshot.next_try_at = None
            facts = {"why": reason}
            tenant_id = TenantId(snapshot.tenant_id)
            trail.record(tx, tenant_id, "snapshot.reset_refused", snapshot.id, facts)
