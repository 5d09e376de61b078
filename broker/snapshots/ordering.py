"""Ordering a copy, leasing and resetting its sandbox, and condemning it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from broker import people, retries, trail
from broker.errors import NOT_THERE, Conflict, Denied, NotFound
from broker.grants import in_force, leases, requests, shown_plans
from broker.grants.leases import LeasePlan
from broker.grants.requests import GrantRefused
from broker.grants.room import needed_bytes
from broker.ids import LeaseId, SnapshotId, TenantId, new_id
from broker.jobs import Queue
from broker.settings import Rates
from broker.snapshots import placing
from broker.snapshots.dedicated import choose_port
from broker.snapshots.model import InventoryItem, Snapshot
from broker.snapshots.states import ALIVE, CONDEMN, NOT_DESTROYED
from broker.states import StateConflict, advance, advance_all, record_birth
from broker.tx import Tx


def order(tx: Tx, grant_id: str, server_id: str | None, queue: Queue) -> SnapshotId:
    """Order a copy under an approved grant; the worker makes it. Raises GrantRefused, Conflict,
    NoRoom, PreflightRefused.

    The obligation to destroy it, with its end, stands in the row before anything is made.
    """
    people.check(tx, "snapshot:order")
    grant = requests.get_grant(tx, grant_id, lock=True)
    if tx.actor.person_id != grant.requester_id:
        raise Denied(f"{grant.id} was given to another person; ask for access yourself")
    until = in_force.check_usable(tx, grant, kind="copy")
    alive = tx.session.scalar(
        sa.select(Snapshot.id).where(Snapshot.grant_id == grant.id, Snapshot.state.in_(ALIVE))
    )
    if alive is not None:
        raise Conflict(f"{grant.id} has a copy already: {alive}; destroy it before another is made")
    plan = shown_plans.get_plan(tx, grant.id, grant.given_digest)
    needed = needed_bytes(plan)
    server = placing.place(tx, grant.tenant_id, server_id, plan.copy.server, needed)
    snapshot = Snapshot(
        id=new_id("snp"),
        tenant_id=grant.tenant_id,
        state="ordered",
        grant_id=grant.id,
        database_id=grant.database_id,
        server_id=server.id,
        port=choose_port(tx, server) if server.is_dedicated else None,
        requester_id=grant.requester_id,
        plan_digest=grant.given_digest,
        ordered_at=tx.at,
        ends_at=until,
        needed_bytes=needed,
        progress={},
    )
    retries.hint(snapshot, tx.at)
    facts = {
        "grant": grant.id,
        "plan": grant.given_digest or "",
        "server": snapshot.server_id,
        "ends_at": until.isoformat(),
    }
    record_birth(tx, snapshot, "snapshot.ordered", facts=facts)
    queue.put(tx, "copy_snapshot", snapshot.id, queue="copies")
    return SnapshotId(snapshot.id)


def ask_sandbox_lease(
    tx: Tx,
    snapshot_id: str,
    verifier: str,
    queue: Queue,
    limits: Rates = leases.RATES,
    *,
    develop: bool = False,
) -> LeaseId:
    """Ask for a login on a ready copy's sandbox; `develop` to change its definitions too.

    Raises Conflict, Denied, GrantRefused.
    """
    people.check(tx, "lease:issue")  # before anything is said of the copy (G12)
    # Locked in the order in which an end takes them: it waits for us or we for it.
    grant = requests.get_grant(tx, get_snapshot(tx, snapshot_id).grant_id, lock=True)
    snapshot = get_snapshot(tx, snapshot_id, lock=True)
    in_force.check_usable(tx, grant, kind="copy")
    if snapshot.state != "ready":
        raise Conflict(f"{snapshot.id} is {snapshot.state}; a login needs a copy that is ready")
    if snapshot.being_reset:
        raise Conflict(f"{snapshot.id} is being reset; ask for a login once that is done")
    if develop and not shown_plans.get_plan(tx, grant.id, grant.given_digest).copy.develop:
        raise GrantRefused(
            f"{grant.id} does not let you change the copy's definitions; it was not asked, or not "
            "given: make a new request that asks for it"
        )
    where = LeasePlan(
        scope_name=snapshot.owner_role if develop else snapshot.use_role,
        dbname=snapshot.sandbox,
        ends_at=snapshot.ends_at,
        server_id=snapshot.server_id,
        snapshot_id=snapshot.id,
        port=snapshot.port,
    )
    return leases.ask_lease(tx, grant, verifier, where, queue, limits)


def ask_reset(tx: Tx, snapshot_id: str, queue: Queue) -> None:
    """Rebuild a ready copy's sandbox from its artifact: the worker does it, its logins end now.

    Raises Conflict, Denied, GrantRefused.
    """
    snapshot = get_snapshot(tx, snapshot_id)
    people.check(tx, "snapshot:reset", TenantId(snapshot.tenant_id))
    tx.session.refresh(snapshot, with_for_update=True)
    grant = requests.get_grant(tx, snapshot.grant_id)
    if tx.actor.person_id != grant.requester_id:
        raise Denied(f"{grant.id} was given to another person; ask for access yourself")
    in_force.check_usable(tx, grant, kind="copy")
    if snapshot.state != "ready":
        raise Conflict(f"{snapshot.id} is {snapshot.state}; only a copy that is ready is reset")
    if snapshot.being_reset:
        raise Conflict(f"{snapshot.id} is being reset already")
    for lease in leases.list_open(tx, snapshot_id=snapshot.id):
        leases.end(tx, lease, "the copy is reset", queue)
    snapshot.attempts = 0
    snapshot.stuck_since = snapshot.stuck_reason = None
    retries.hint(snapshot, tx.at)
    trail.record(tx, TenantId(snapshot.tenant_id), "snapshot.reset_asked", snapshot.id)
    queue.put(tx, "reset_snapshot", snapshot.id, queue="copies")


def condemn(tx: Tx, snapshot: Snapshot, why: str, queue: Queue) -> bool:
    """Condemn a copy, its leases with it; False when it already was. There is no way back (G7).

    `lifecycle` calls this, and a copy that gives up.
    """
    try:
        advance(tx, snapshot, CONDEMN, values=_condemned(tx, why), facts={"why": why})
    except StateConflict:
        return False
    for lease in leases.list_open(tx, snapshot_id=snapshot.id):
        leases.end(tx, lease, why, queue)
    queue.put(tx, "destroy_snapshot", snapshot.id, queue="copies")
    return True


def condemn_all(tx: Tx, ids: Collection[str], why: str, queue: Queue) -> set[str]:
    """As `condemn`, for many with the same reason, in few statements; returns whose it did.

    Those that somebody holds just now are left out: for `condemn`, one by one.
    """
    values = _condemned(tx, why)
    done = advance_all(tx, Snapshot, ids, CONDEMN, values=values, facts={"why": why})
    if done:
        leases.end_on(tx, done, why, queue)
        queue.put_all(tx, "destroy_snapshot", sorted(done), queue="copies")
    return done


def _condemned(tx: Tx, why: str) -> dict[str, Any]:
    return {"condemned_at": tx.at, "condemned_why": why, **retries.afresh(tx.at)}


def write_down(tx: Tx, snapshot_id: str, kind: str, place: str) -> None:
    """Put a place into the inventory, before anything is put there; idempotent."""
    tx.session.execute(
        sa.text(
            "INSERT INTO inventory_item (snapshot_id, kind, place, written_at) "
            "VALUES (:s, :k, :p, :at) ON CONFLICT DO NOTHING"
        ),
        {"s": snapshot_id, "k": kind, "p": place, "at": tx.at},
    )


def list_inventory(tx: Tx, snapshot_id: str) -> Sequence[InventoryItem]:
    query = sa.select(InventoryItem).where(InventoryItem.snapshot_id == snapshot_id)
    return tx.session.scalars(query.order_by(InventoryItem.id)).all()


def get_snapshot(tx: Tx, snapshot_id: str, *, lock: bool = False) -> Snapshot:
    snapshot = tx.session.get(Snapshot, snapshot_id, with_for_update=lock, populate_existing=lock)
    if snapshot is None:
        raise NotFound(NOT_THERE)
    return snapshot


def check_readable(tx: Tx, snapshot_id: str) -> Snapshot:
    """The copy, if the actor may see it; otherwise the same NotFound as for none (G12)."""
    snapshot = get_snapshot(tx, snapshot_id)
    people.check(tx, "snapshot:read", TenantId(snapshot.tenant_id))
    return snapshot


def list_alive(tx: Tx, *, grant_id: str) -> Sequence[Snapshot]:
    query = sa.select(Snapshot).where(
        Snapshot.grant_id == grant_id, Snapshot.state.in_(NOT_DESTROYED)
    )
    return tx.session.scalars(query).all()
