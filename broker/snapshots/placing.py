"""Where a copy is made: on the first test server of the approved kind that is well and has room.

What must stay true: what copies that are not destroyed need is reserved, whether or not they have
grown to it; two orders at once don't both take the last room.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from broker import tenants
from broker.errors import BrokerError, Conflict
from broker.grants import preflights
from broker.grants.room import NoRoom, check_quota, told
from broker.snapshots.model import Snapshot
from broker.tenants import TestServer
from broker.tx import Tx

_LOCK = "room for copies"


def place(tx: Tx, tenant_id: str, server_id: str | None, kind: str, needed: int) -> TestServer:
    """The server that was named, or the first that takes it; of the kind that was approved.

    Raises NoRoom, Conflict, PreflightRefused.
    """
    _lock(tx)
    check_quota(tx, tenant_id, needed, reserved_bytes(tx, Snapshot.tenant_id == tenant_id))
    refusals: list[BrokerError] = []
    for server in _list_servers(tx, server_id, kind):
        refusal = preflights.find_refusal(tx, server.id) or _find_lack(tx, server, needed)
        if refusal is None:
            return server
        refusals.append(refusal)
    raise refusals[0]


def reserve(tx: Tx, snapshot: Snapshot, needed: int) -> None:
    """What the copy needs by its tables as they are now. Raises NoRoom."""
    if needed <= snapshot.needed_bytes:
        return
    _lock(tx)
    others = reserved_bytes(tx, Snapshot.tenant_id == snapshot.tenant_id) - snapshot.needed_bytes
    check_quota(tx, snapshot.tenant_id, needed, others)
    more = needed - snapshot.needed_bytes
    if (lack := _find_lack(tx, tenants.get_server(tx, snapshot.server_id), more)) is not None:
        raise lack
    snapshot.needed_bytes = needed


def _lock(tx: Tx) -> None:
    """One reservation at a time: two would not see each other's."""
    tx.session.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(_LOCK))))


def _list_servers(tx: Tx, server_id: str | None, kind: str) -> Sequence[TestServer]:
    if server_id is not None:
        server = tenants.get_server(tx, server_id)
        if server.kind != kind:
            raise Conflict(f"{server_id} is {server.kind}; the plan that was given says {kind}")
        return [server]
    servers = [server for server in tenants.list_servers(tx) if server.kind == kind]
    if not servers:
        raise Conflict(
            f"no {kind} test server is registered; an operator does it: broker servers create"
        )
    return servers


def _find_lack(tx: Tx, server: TestServer, needed: int) -> NoRoom | None:
    if server.capacity_bytes is None:
        return None
    left = server.capacity_bytes - reserved_bytes(tx, Snapshot.server_id == server.id)
    if needed <= left:
        return None
    return NoRoom(
        f"the copy needs {told(needed)} and {server.name} has room for {told(max(left, 0))}; wait "
        "for a copy there to end, or have an operator add room",
        needed_bytes=needed,
    )


def reserved_bytes(tx: Tx, which: sa.ColumnElement[bool]) -> int:
    """What copies that are not destroyed yet need."""
    total = sa.select(sa.func.coalesce(sa.func.sum(Snapshot.needed_bytes), 0))
    return int(tx.session.scalar(total.where(which, Snapshot.state != "destroyed")) or 0)
