"""Looks that are repeated: an hour, a day, a week and a month after a destruction.

What was not seen at first may come back: a restored backup, a volume mounted again, a store that
lagged. What must stay true: a due look stays due until it was made and found nothing; one that
can't be made is tried again, never skipped; and what is found is condemned as a remnant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from broker import retries, tenants, trail
from broker.db import Busy
from broker.engines import Target
from broker.grants.targets import server_target
from broker.ids import TenantId
from broker.retries import FAILURES, describe
from broker.snapshots import looks
from broker.snapshots.dedicated import Dedicated, find_dedicated
from broker.snapshots.looks import Found
from broker.snapshots.model import LaterLook, Look, Snapshot
from broker.snapshots.ordering import get_snapshot
from broker.snapshots.ports import Ports
from broker.snapshots.remnants import condemn_remnant, find_open
from broker.tx import Tx, system

_WORKER = system("looks")
AFTER_S = (3600, 86400, 7 * 86400, 30 * 86400)


@dataclass(frozen=True, slots=True)
class _Work:
    snapshot: Snapshot
    server: Target | Dedicated


def plan_looks(tx: Tx, snapshot_id: str, of_id: str) -> None:
    """Write down the looks that follow the destruction of `of_id`, now."""
    for after_s in AFTER_S:
        due_at = tx.at + timedelta(seconds=after_s)
        tx.session.add(
            LaterLook(
                of_id=of_id,
                after_s=after_s,
                snapshot_id=snapshot_id,
                due_at=due_at,
                next_try_at=due_at,
            )
        )


def look_again(ports: Ports, snapshot_id: str) -> None:
    """Make the looks at a destroyed copy that are due now."""
    try:
        with ports.database.exclusive(f"snapshot {snapshot_id}"):
            try:
                work = _read(ports, snapshot_id)
                if work is None:
                    return
                found, problems = looks.look_everywhere(ports, work.server, work.snapshot)
            except FAILURES as error:
                found, problems = [], [describe(error)]
            _note(ports, snapshot_id, found, problems)
    except Busy:
        return  # it is being looked at or its remnant destroyed; the sweep asks again


def _read(ports: Ports, snapshot_id: str) -> _Work | None:
    """None when nothing is due, or a remnant is being destroyed: that ends with looks anyway."""
    with ports.database.begin(_WORKER) as tx:
        due = _list_due(tx, snapshot_id)
        if not due:
            return None
        if find_open(tx, snapshot_id) is not None:
            _note_failure(tx, due, "its remnant is not destroyed yet")
            return None
        snapshot = get_snapshot(tx, snapshot_id)
        server = tenants.get_server(tx, snapshot.server_id)
        own = find_dedicated(ports, server, snapshot)
        return _Work(snapshot, own or server_target(ports.keys, server))


def _list_due(tx: Tx, snapshot_id: str) -> Sequence[LaterLook]:
    return tx.session.scalars(
        sa.select(LaterLook)
        .where(
            LaterLook.snapshot_id == snapshot_id,
            LaterLook.passed_at.is_(None),
            LaterLook.due_at <= tx.at,
        )
        .order_by(LaterLook.due_at)
    ).all()


def _note(ports: Ports, snapshot_id: str, found: list[Found], problems: list[str]) -> None:
    """What is found counts even when another place could not be looked at."""
    left = [item.kind for item in found if item.found]
    with ports.database.begin(_WORKER) as tx:
        due = _list_due(tx, snapshot_id)
        if left:
            remnant = condemn_remnant(tx, snapshot_id, left, "look", ports.queue)
            add_looks(tx, snapshot_id, remnant.id if remnant else None, found)
            _note_failure(tx, due, f"found: {', '.join(left)}")
        elif problems:
            _note_failure(tx, due, "; ".join(problems))
        else:
            add_looks(tx, snapshot_id, None, found)
            _note_passed(tx, get_snapshot(tx, snapshot_id), due, len(found))


def _note_failure(tx: Tx, due: Sequence[LaterLook], reason: str) -> None:
    for row in due:
        retries.note_failure(row, tx.at, reason)


def _note_passed(tx: Tx, snapshot: Snapshot, due: Sequence[LaterLook], places: int) -> None:
    for row in due:
        row.passed_at = tx.at
        retries.note_success(row)
        facts = {"of": row.of_id, "after_s": row.after_s, "places": places}
        trail.record(tx, TenantId(snapshot.tenant_id), "look.passed", snapshot.id, facts)


def add_looks(tx: Tx, snapshot_id: str, remnant_id: str | None, found: Sequence[Found]) -> None:
    """Keep each answer, as evidence for the certificate and its page."""
    for item in found:
        tx.session.add(
            Look(
                snapshot_id=snapshot_id,
                remnant_id=remnant_id,
                kind=item.kind,
                place=item.place,
                method=item.method,
                found=item.found,
                at=tx.at,
            )
        )
