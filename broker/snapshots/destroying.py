"""Destroying a condemned copy, or a remnant of one, whatever fails on the way.

    leases revoked → key erased → sandbox searched and dropped → objects deleted
    → independent looks → destroyed

A copy on a server of its own loses both keys first, and then the server with all its logins.

The key dies first of all that holds data: from then on what is sealed is unreadable, whatever fails
later. A later step goes on when an earlier one is stuck, but nothing is called destroyed before
every look passed (G7, G8). A legal hold stops it half way: see `holds` and `_close`. Every step is
idempotent; there is no last try.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from broker import retries, tenants, trail
from broker.db import Busy
from broker.engines import Target
from broker.engines.postgres.copying import sandbox
from broker.errors import BrokerError
from broker.faults import crash_point
from broker.grants import lease_steps, leases
from broker.grants.targets import server_target
from broker.ids import TenantId
from broker.keys import KeyHeld
from broker.labels import Label
from broker.retries import FAILURES, describe
from broker.snapshots import holds, looks, searching
from broker.snapshots.artifacts import delete_all, replace_label, spare_all
from broker.snapshots.dedicated import Dedicated, find_dedicated
from broker.snapshots.holds import LegalHold
from broker.snapshots.later_looks import add_looks, plan_looks
from broker.snapshots.looks import Found
from broker.snapshots.model import Look, Remnant, Snapshot
from broker.snapshots.ports import Ports
from broker.snapshots.remnants import get_ended
from broker.snapshots.states import DESTROYED, REMNANT_DESTROYED
from broker.states import advance
from broker.tx import system

_WORKER = system("worker")


@dataclass(frozen=True, slots=True)
class _Work:
    snapshot: Snapshot
    server: Target | Dedicated
    hold: LegalHold | None


def destroy(ports: Ports, identity: str) -> None:
    """Do all that can be done now towards the end of a condemned copy, or of a remnant; note what
    is in the way.
    """
    snapshot_id = _find_snapshot(ports, identity)
    try:
        with ports.database.exclusive(f"snapshot {snapshot_id}", wait_s=lease_steps.WAIT_S):
            try:
                work = _read(ports, identity)
                if work is None:
                    return
                if work.hold is not None:
                    problems = _close(ports, work, work.hold)
                    if not problems:
                        return
                else:
                    problems = _end(ports, work)
                if not problems:
                    found, problems = looks.look_everywhere(ports, work.server, work.snapshot)
                    problems += looks.list_left(found)
                    if not problems:
                        crash_point("looks-made")
                        _confirm(ports, identity, found)
                        crash_point("destroyed")
                        return
            except FAILURES as error:
                problems = [describe(error)]
            _note(ports, identity, problems)
    except Busy:
        return  # a copy that is being stopped, or another worker; the sweep asks again


def _find_snapshot(ports: Ports, identity: str) -> str:
    if not identity.startswith("rmn_"):
        return identity
    with ports.database.begin(_WORKER) as tx:
        return get_ended(tx, identity)[0].id


def _read(ports: Ports, identity: str) -> _Work | None:
    with ports.database.begin(_WORKER) as tx:
        snapshot, remnant = get_ended(tx, identity)
        if (remnant or snapshot).state != "condemned":
            return None
        row = tenants.get_server(tx, snapshot.server_id)
        hold = None if remnant else holds.find_or_rule_out(tx, snapshot.id)
        own = find_dedicated(ports, row, snapshot)
        return _Work(snapshot, own or server_target(ports.keys, row), hold)


def _end(ports: Ports, work: _Work) -> list[str]:
    """All steps in order; returns what is in the way, a sentence each."""
    snapshot = work.snapshot
    steps: tuple[tuple[str, Callable[[], object]], ...] = (
        *_first_steps(ports, work, lambda: _erase_key(ports, snapshot)),
        ("artifact", lambda: _delete_objects(ports, snapshot)),
    )
    return _do_all(steps)


def _first_steps(
    ports: Ports, work: _Work, close_key: Callable[[], object]
) -> tuple[tuple[str, Callable[[], object]], ...]:
    """Logins, key, sandbox; of a server of its own all logins go with it, and both keys before."""
    snapshot, server = work.snapshot, work.server
    why = "the copy is condemned"
    canaries = searching.read_canaries(ports, snapshot)
    if isinstance(server, Dedicated):
        return (
            ("data key", close_key),
            ("search", lambda: searching.search(ports, server.target, snapshot, canaries)),
            ("volume key", lambda: ports.keys.erase(snapshot.volume_key)),
            ("server", server.destroy),
            ("leases", lambda: _note_leases_gone(ports, server, why)),
        )
    return (
        ("leases", lambda: revoke_leases(ports, snapshot, why)),
        ("data key", close_key),
        ("search", lambda: searching.search(ports, server, snapshot, canaries)),
        ("sandbox", lambda: _drop_sandbox(snapshot, server)),
    )


def _note_leases_gone(ports: Ports, server: Dedicated, why: str) -> None:
    """Nobody has a login or a session on a server of which nothing is there. Raises BrokerError."""
    looks.place_decoys(ports.database, ports.keys, ports.store, server)
    left = looks.list_left(looks.look_at_server(server, server.snapshot))
    if left:
        raise BrokerError("; ".join(left))
    with ports.database.begin(_WORKER) as tx:
        open_ = leases.list_open(tx, snapshot_id=server.snapshot.id)
        for lease in open_:
            leases.end(tx, lease, why, ports.queue)
    for lease in open_:
        lease_steps.note_server_gone(ports.database, lease.id)


def _do_all(steps: Sequence[tuple[str, Callable[[], object]]]) -> list[str]:
    problems: list[str] = []
    for name, step in steps:
        try:
            step()
        except FAILURES as error:
            problems.append(f"{name}: {describe(error)}")
        crash_point(f"after-{name.replace(' ', '-')}")
    return problems


def _close(ports: Ports, work: _Work, hold: LegalHold) -> list[str]:
    """What a held copy loses at once: logins, the use of its key, the sandbox. Its sealed form and
    its key stay, under a label whose end is the hold's, which the reaper reads.
    """
    snapshot = work.snapshot
    steps: tuple[tuple[str, Callable[[], object]], ...] = (
        *_first_steps(ports, work, lambda: ports.keys.hold(snapshot.wrapping_key)),
        ("artifact", lambda: _label_until(ports, snapshot, hold.ends_at or snapshot.ends_at)),
        ("looks", lambda: _look_at_closed(ports, work)),
    )
    problems = _do_all(steps)
    if not problems:
        _confirm_closed(ports, hold.id)
    return problems


def _label_until(ports: Ports, snapshot: Snapshot, end: datetime) -> None:
    if any(ports.store.list_all(snapshot.prefix)):  # condemned before anything was sealed: nothing
        label = Label("artifact", snapshot.id, end, snapshot.prefix)
        replace_label(ports.store, snapshot.prefix, label.text(ports.keys.label_key()))
        spare_all(ports.store, snapshot.prefix)


def _look_at_closed(ports: Ports, work: _Work) -> None:
    """Raises BrokerError while a fresh look finds a part of the sandbox, or the key opens it."""
    looks.place_decoys(ports.database, ports.keys, ports.store, work.server)
    left = looks.list_left(looks.look_at_server(work.server, work.snapshot))
    snapshot = work.snapshot
    if snapshot.port is not None:
        left += looks.list_left(looks.look_at_volume_key(ports.keys, snapshot))
    if snapshot.wrapped_key is not None:
        try:
            ports.keys.unwrap(snapshot.wrapping_key, snapshot.wrapped_key, snapshot.id.encode())
            left.append("the key still opens the sealed form")
        except KeyHeld:
            pass
    if left:
        raise BrokerError("; ".join(left))


def _confirm_closed(ports: Ports, hold_id: str) -> None:
    """The copy is due again when its hold is over; that one may be over already."""
    with ports.database.begin(_WORKER) as tx:
        hold = holds.note_closed(tx, hold_id)
        snapshot = get_ended(tx, hold.snapshot_id)[0]
        if hold.state == "in_force" and snapshot.state == "condemned":
            retries.note_success(snapshot)
            snapshot.next_try_at = hold.ends_at


def revoke_leases(ports: Ports, snapshot: Snapshot, why: str) -> None:
    """End every login on the sandbox, for certain. Raises BrokerError while one is left."""
    with ports.database.begin(_WORKER) as tx:
        left = [lease.id for lease in leases.list_open(tx, snapshot_id=snapshot.id)]
        for lease in leases.list_open(tx, snapshot_id=snapshot.id):
            leases.end(tx, lease, why, ports.queue)
    for lease_id in left:
        lease_steps.revoke(ports.database, ports.keys, lease_id)
        with ports.database.shared(f"lease {lease_id}"):
            pass  # the lease's own job may be at it: wait for its end rather than try again later
    with ports.database.begin(_WORKER) as tx:
        stuck = [lease.id for lease in leases.list_open(tx, snapshot_id=snapshot.id)]
    if stuck:
        raise BrokerError(f"logins are not revoked yet: {', '.join(stuck)}")


def _erase_key(ports: Ports, snapshot: Snapshot) -> None:
    ports.keys.erase(snapshot.wrapping_key)
    crash_point("key-erased")
    with ports.database.begin(_WORKER) as tx:
        told = tx.session.scalar(
            sa.select(Look.id).where(Look.snapshot_id == snapshot.id, Look.kind == "key erased")
        )
        if told is None:
            tx.session.add(
                Look(
                    snapshot_id=snapshot.id,
                    kind="key erased",
                    place=snapshot.wrapping_key,
                    method="erased by the key port",
                    found=False,
                    at=tx.at,
                )
            )
            facts = {"key": snapshot.wrapping_key}
            trail.record(tx, TenantId(snapshot.tenant_id), "key.erased", snapshot.id, facts)


def _drop_sandbox(snapshot: Snapshot, server: Target) -> None:
    """By name, and by label: an engineer's clone or a renamed database goes too."""

    def is_part(found: sandbox.Found) -> bool:
        label = found.label_text or ""
        return label.startswith("sab1 sandbox ") and snapshot.id in label

    own_roles = [snapshot.owner_role, snapshot.use_role]
    sandbox.drop_sandbox(server, snapshot.sandbox, own_roles, is_part)


def _delete_objects(ports: Ports, snapshot: Snapshot) -> None:
    delete_all(ports.store, snapshot.prefix)


def _confirm(ports: Ports, identity: str, found: list[Found]) -> None:
    """The row keeps a next try: it is due until its certificate is issued."""
    with ports.database.begin(_WORKER) as tx:
        snapshot, remnant = get_ended(tx, identity)
        add_looks(tx, snapshot.id, remnant.id if remnant else None, found)
        plan_looks(tx, snapshot.id, identity)
        if remnant is not None:
            told = {"snapshot": snapshot.id, "looks": len(found), "attempts": remnant.attempts}
            gone = {"destroyed_at": tx.at}
            advance(tx, remnant, REMNANT_DESTROYED, values=gone, facts=told)
        else:
            advance(
                tx,
                snapshot,
                DESTROYED,
                values={
                    "destroyed_at": tx.at,
                    "wrapped_key": None,
                    "wrapped_volume_key": None,
                },
                facts={"looks": len(found), "attempts": snapshot.attempts},
            )
        row = remnant or snapshot
        retries.note_success(row)
        retries.hint(row, tx.at)
        ports.queue.put(tx, "certify_snapshot", identity, queue="copies")


def _note(ports: Ports, identity: str, problems: list[str]) -> None:
    with ports.database.begin(_WORKER) as tx:
        snapshot, remnant = get_ended(tx, identity)
        row: Snapshot | Remnant = remnant or snapshot
        if row.state == "condemned":
            first = row.stuck_since is None
            retries.note_failure(row, tx.at, "; ".join(problems))
            if first:
                kind = "remnant.stuck" if remnant else "snapshot.stuck"
                facts = {"problems": len(problems)}
                trail.record(tx, TenantId(row.tenant_id), kind, row.id, facts)
