"""Making a copy: intent, effect, look, confirm, for the whole of it.

1. The row says `copying`, and the inventory names every place, before anything is there.
2. A wrapping key of this snapshot alone; under it a fresh data key. The masking key lives in this
   process's memory and in no other place, and dies with this function.
3. `loading.fill` reads under one snapshot, masked in the tenant's server, into store and sandbox.
4. `ready` after the checks, or nothing is kept: a failed try is cleared away before it is noted.

A worker that dies leaves `copying`; the next one clears what there is and begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from broker import quarantine, retries, tenants
from broker.db import Busy, Held
from broker.engines import Target
from broker.engines.postgres.connect import AnotherServer, ServerRestored, StandbyAnswers
from broker.engines.postgres.copying import CopyFailed, SourceBusy
from broker.engines.postgres.dedicated import HostUnavailable, volume_place
from broker.faults import crash_point
from broker.grants import contacts, grounds, mismatch, requests, shown_plans
from broker.grants.grounds import UNUSABLE, Made, Unusable
from broker.grants.mismatch import GrantAltered
from broker.grants.plan import Plan
from broker.grants.room import NoRoom
from broker.grants.targets import live_target, server_target
from broker.logs import redact
from broker.quarantine import Quarantined
from broker.retries import FAILURES, describe
from broker.sealing import new_data_key
from broker.secret import Secret
from broker.snapshots import loading, placing
from broker.snapshots.artifacts import delete_all
from broker.snapshots.dedicated import find_dedicated, make_volume_key
from broker.snapshots.loading import Filled
from broker.snapshots.model import Snapshot
from broker.snapshots.ordering import condemn, get_snapshot, write_down
from broker.snapshots.places import Places
from broker.snapshots.ports import Ports
from broker.snapshots.progress import CopyStopped, Watch
from broker.snapshots.states import COPYING, READY
from broker.states import advance
from broker.tenancy import Tenancy
from broker.tx import Tx, system

WORKER = system("worker")
_TRIES = 5
_NOT_ITS_FAULT = (CopyStopped, SourceBusy, ServerRestored, AnotherServer, StandbyAnswers, NoRoom)


@dataclass(frozen=True, slots=True)
class Work:
    """What a copy needs of its row, read in a transaction that is over."""

    places: Places
    plan: Plan
    source: Target
    schemas: tuple[str, ...]
    tenancy: Tenancy

    @property
    def snapshot(self) -> Snapshot:
        return self.places.snapshot


def copy(ports: Ports, snapshot_id: str) -> None:
    """Make an ordered copy, or what a dead worker left of one, from the start."""
    try:
        with ports.database.exclusive(f"snapshot {snapshot_id}") as held:
            if not _is_met(ports, snapshot_id):
                return
            try:
                work = _begin(ports, snapshot_id)
            except UNUSABLE as found:
                _refuse(ports, snapshot_id, found)
                return
            if work is None:
                return
            try:
                crash_point("copy-begun")
                clear(ports, work)
                filled = _fill(ports, work, held)
                crash_point("copy-filled")
                _confirm(ports, work, filled)
                crash_point("copy-confirmed")
            except FAILURES as error:
                _give_back(ports, work, error)
    except Busy:
        return


def _is_met(ports: Ports, snapshot_id: str) -> bool:
    """The first contact with both servers comes before anything is read or made there."""
    with ports.database.begin(WORKER) as tx:
        snapshot = get_snapshot(tx, snapshot_id)
        source = tenants.get_database(tx, snapshot.database_id)
        server = tenants.get_server(tx, snapshot.server_id)
        new = [(source.id, live_target(ports.keys, source))] if source.cluster is None else []
        if server.cluster is None and not server.is_dedicated:  # that one is made, not met
            new.append((server.id, server_target(ports.keys, server)))
    try:
        for registered_id, target in new:
            contacts.meet(ports.database, target, registered_id, ports.keys.label_key())
    except FAILURES as error:
        with ports.database.begin(WORKER) as tx:
            _wait(tx, get_snapshot(tx, snapshot_id), describe(error))
        return False
    return True


def _wait(tx: Tx, snapshot: Snapshot, reason: str) -> None:
    """No failure of the copy's own: it does not count as a try."""
    if snapshot.state in {"ordered", "copying"}:
        snapshot.stuck_since, snapshot.stuck_reason = tx.at, redact(reason)[:1000]
        retries.hint(snapshot, tx.at)


def _begin(ports: Ports, snapshot_id: str) -> Work | None:
    """Move to `copying`, and write every place down; None when there is nothing to do."""
    with ports.database.begin(WORKER) as tx:
        snapshot = get_snapshot(tx, snapshot_id)
        if snapshot.state not in {"ordered", "copying"}:
            return None
        database = tenants.get_database(tx, snapshot.database_id)
        host = tenants.get_server(tx, snapshot.server_id)
        try:
            if (held := quarantine.find_refusal(tx, ports.keys)) is not None:
                raise held
            source = contacts.to_make(database, live_target(ports.keys, database))
            own = find_dedicated(ports, host, snapshot)
            server = own.target if own else contacts.to_make(host, server_target(ports.keys, host))
            if own is not None:
                _ = own.on_host  # else another worker must do it
        except (Quarantined, ServerRestored, HostUnavailable) as error:
            _wait(tx, snapshot, error.message)
            return None
        plan = prove(tx, ports, snapshot)
        if snapshot.state == "ordered":
            advance(tx, snapshot, COPYING)
        write_down(tx, snapshot.id, "data key", snapshot.wrapping_key)
        write_down(tx, snapshot.id, "sandbox database", snapshot.sandbox)
        for role in (snapshot.owner_role, snapshot.use_role):
            write_down(tx, snapshot.id, "sandbox role", role)
        write_down(tx, snapshot.id, "artifact", snapshot.prefix)
        if own is not None:
            write_down(tx, snapshot.id, "volume key", snapshot.volume_key)
            write_down(tx, snapshot.id, "server volume", volume_place(snapshot.sandbox))
            write_down(tx, snapshot.id, "server process", snapshot.sandbox)
        return Work(
            places=Places(snapshot, server, ports.keys.label_key(), own),
            plan=plan,
            # The tenant's DBA sees which copy it is, and this copy knows its own sessions by it.
            source=replace(source, application_name=f"{source.application_name} {snapshot.id}"),
            schemas=tuple(database.schemas),
            tenancy=database.whose,
        )


def prove(tx: Tx, ports: Ports, snapshot: Snapshot) -> Plan:
    """The plan that was given: what the copy rests on still stands, and is what was signed.

    Raises one of UNUSABLE.
    """
    grant = requests.get_grant(tx, snapshot.grant_id)
    if grant.state == "approved":  # else it is condemned meanwhile, and nothing comes of it
        grounds.prove(tx, ports.keys, grant, "copy")
    grounds.check_bounds(grant, Made("copy", snapshot.tenant_id, snapshot.ends_at))
    if snapshot.database_id != grant.database_id:
        raise GrantAltered(grant.id, ["database"])
    plan = shown_plans.get_plan(tx, grant.id, grant.given_digest)
    mismatch.check_plan(grant.id, plan, snapshot.plan_digest)
    return plan


def _refuse(ports: Ports, snapshot_id: str, found: Unusable) -> None:
    with ports.database.begin(WORKER) as tx:
        snapshot = get_snapshot(tx, snapshot_id)
        grounds.note(tx, snapshot.grant_id, found)
        condemn(tx, snapshot, found.why, ports.queue)


def clear(ports: Ports, work: Work) -> None:
    """Take away whatever an earlier try left."""
    work.places.clear()
    delete_all(ports.store, work.snapshot.prefix)


def _fill(ports: Ports, work: Work, held: Held) -> Filled:
    data_key = _make_data_key(ports, work.snapshot)
    if work.places.own is not None:
        work.places.own.make(ports.keys, make_volume_key(ports, work.snapshot))
    roots = {table.partition_of for table in work.plan.tables}  # they hold no rows themselves
    tables = sum(t.rows and t.full_name not in roots for t in work.plan.tables)
    watch = Watch(ports.database, held, work.snapshot.id, tables)
    job = loading.Job(
        places=work.places.through(watch.lines),
        plan=work.plan,
        policy=ports.policy,
        source=replace(work.source, lines=watch.lines),
        schemas=work.schemas,
        tenancy=work.tenancy,
        store=ports.store,
        data_key=data_key,
        watch=watch,
        reserve=lambda needed: _reserve(ports, work, needed),
    )
    with watch.cutting():
        return loading.fill(job)


def _reserve(ports: Ports, work: Work, needed: int) -> None:
    """Raises NoRoom while there is none; the copy waits for it."""
    if work.places.own is not None:
        work.places.own.check_room(needed)
    with ports.database.begin(WORKER) as tx:
        placing.reserve(tx, get_snapshot(tx, work.snapshot.id), needed)


def _make_data_key(ports: Ports, snapshot: Snapshot) -> Secret[bytes]:
    """A fresh data key, wrapped under the snapshot's own key, which is made first.

    Raises KeyErased when the snapshot was condemned and its key has died already.
    """
    ports.keys.create(snapshot.wrapping_key)
    crash_point("key-made")
    data_key = new_data_key()
    wrapped = ports.keys.wrap(snapshot.wrapping_key, data_key, snapshot.id.encode())
    with ports.database.begin(WORKER) as tx:
        get_snapshot(tx, snapshot.id).wrapped_key = wrapped
    crash_point("key-noted")
    return data_key


def _confirm(ports: Ports, work: Work, filled: Filled) -> None:
    with ports.database.begin(WORKER) as tx:
        snapshot = get_snapshot(tx, work.snapshot.id)
        advance(
            tx,
            snapshot,
            READY,
            values={
                "ready_at": tx.at,
                "manifest_size": filled.manifest.size_bytes,
                "manifest_sha256": filled.manifest.sha256,
                "report": filled.report,
            },
            facts={
                "tables": filled.tables,
                "rows": filled.rows,
                "manifest": filled.manifest.sha256,
                "plan": snapshot.plan_digest,
                "drift": len(filled.report["drift"]),
            },
        )
        retries.note_success(snapshot)


def _tell(work: Work, error: Exception) -> str:
    """A tool's own words may name another tenant's schema, into which a definition leads (G12)."""
    if work.tenancy.is_shared and isinstance(error, CopyFailed) and "tool" in error.facts:
        return (
            "the definitions of this part of the database did not work by themselves: they lead "
            "into schemas that are not registered with it; register those too, or ask for live "
            "access alone"
        )
    return describe(error)


def _give_back(ports: Ports, work: Work, error: Exception) -> None:
    """Keep nothing of a failed try; say why; give up after some tries, save where we only yield."""
    reason = _tell(work, error)
    try:
        clear(ports, work)
    except FAILURES as left:
        reason = f"{reason}; and clearing up: {describe(left)}"
    with ports.database.begin(WORKER) as tx:
        snapshot = get_snapshot(tx, work.snapshot.id)
        if snapshot.state != "copying":
            return  # condemned meanwhile: its own job goes on from here
        retries.note_failure(snapshot, tx.at, reason)
        if snapshot.attempts >= _TRIES and not isinstance(error, _NOT_ITS_FAULT):
            condemn(tx, snapshot, "the copy failed again and again", ports.queue)
