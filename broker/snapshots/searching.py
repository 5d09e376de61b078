"""The last search: before a sandbox is dropped, real values are looked for in it once more.

When the copy was made none was there; since then people could change rows, and paste real ones. So
the canaries are kept, sealed under the copy's own data key like its rows, and die with it. They are
read just before the key is erased; just before the drop every masked column is searched.

What must stay true: it is a look and no condition. Whatever fails here, a store that is away or a
sandbox that is gone, the key dies and the sandbox is dropped; then nothing is said to have been
searched. It is tried at the first try alone, so that it delays the end of a key once at the most.
"""

from __future__ import annotations

import sqlalchemy as sa

from broker import trail
from broker.engines import Target
from broker.faults import crash_point
from broker.ids import TenantId
from broker.retries import FAILURES
from broker.snapshots import spot
from broker.snapshots.artifacts import open_artifact
from broker.snapshots.later_looks import add_looks
from broker.snapshots.looks import Found
from broker.snapshots.model import Look, Snapshot
from broker.snapshots.places import Places
from broker.snapshots.ports import Ports
from broker.snapshots.spot import CANARIES, Canaries
from broker.tx import system

KIND = "real values"
METHOD = "searched in every masked column, before it was dropped, by keyed digests"
_WORKER = system("worker")


def read_canaries(ports: Ports, snapshot: Snapshot) -> Canaries | None:
    """To be searched for once the key is erased; None when there is nothing to search with."""
    if snapshot.ready_at is None or snapshot.attempts or _is_told(ports, snapshot):
        return None
    try:
        artifact = open_artifact(ports, snapshot)
        wanted = (o for o in artifact.read_manifest().objects if o.name == CANARIES)
        sealed = next(wanted, None)  # none in copies of an earlier version
        return Canaries.from_bytes(artifact.read(sealed)) if sealed is not None else None
    except FAILURES:
        return None


def _is_told(ports: Ports, snapshot: Snapshot) -> bool:
    query = sa.select(Look.id).where(Look.snapshot_id == snapshot.id, Look.kind == KIND)
    with ports.database.begin(_WORKER) as tx:
        return tx.session.scalar(query) is not None


def search(ports: Ports, server: Target, snapshot: Snapshot, canaries: Canaries | None) -> None:
    """Look for them in the sandbox, whose leases have ended, and note what was found."""
    if canaries is None or not canaries.count:
        return
    places = Places(snapshot, server, ports.keys.label_key())
    try:
        owner = places.open_owner()  # the drop shuts it out again, and takes it away
        leaks = spot.list_found(canaries, owner, lambda: None, short=True)
    except FAILURES:
        return
    crash_point("searched")
    with ports.database.begin(_WORKER) as tx:
        add_looks(tx, snapshot.id, None, [Found(KIND, snapshot.sandbox, METHOD, bool(leaks))])
        facts = {"canaries": canaries.count, "columns": len(leaks)}
        trail.record(tx, TenantId(snapshot.tenant_id), "snapshot.searched", snapshot.id, facts)
