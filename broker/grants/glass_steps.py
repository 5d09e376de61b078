"""Looking through the glass, for one reader: the worker's part (see `glass`).

Read-only. What must stay true: a text that was read leaves this function sealed, or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from broker import tenants
from broker.bell import ring
from broker.db import Database
from broker.engines import Target
from broker.engines.postgres.looks import OpenSession, session
from broker.engines.postgres.watching import SessionSeen, list_sessions
from broker.grants.glass import KEPT, GlassLook
from broker.grants.model import Lease
from broker.grants.states import LEASE_OPEN
from broker.grants.targets import LoginOpener, live_target, sandbox_target
from broker.keys.passing import seal
from broker.retries import FAILURES, describe
from broker.tx import Tx, system

_WORKER = system("worker")
_SIDE_BY_SIDE = 4  # servers: one that hangs keeps few others
_OPTIONS = {"statement_timeout": "3s"}


@dataclass(frozen=True, slots=True)
class _Place:
    """A server, and the ids of the leases there by role; `shown` are roles."""

    target: Target
    leases: Mapping[str, str]
    shown: frozenset[str]


def look(
    database: Database, opener: LoginOpener, look_id: str, open_session: OpenSession = session
) -> None:
    """Look at each server once, and seal what is seen to who asked. Never tried again."""
    with database.begin(_WORKER) as tx:
        row = tx.session.get(GlassLook, look_id)
        if row is None or row.sealed is not None or tx.at - row.asked_at > KEPT:
            return
        public, places = row.public, _list_places(tx, opener, row)
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        seen = list(pool.map(lambda place: _look_at(place, open_session), places))
    answer = {lease_id: pane for panes in seen for lease_id, pane in panes.items()}
    sealed = seal(public, json.dumps(answer).encode(), look_id.encode())
    with database.begin(_WORKER) as tx:
        tx.session.execute(
            sa.update(GlassLook).where(GlassLook.id == look_id).values(sealed=sealed)
        )
        ring(tx, look_id)


def _list_places(tx: Tx, opener: LoginOpener, row: GlassLook) -> list[_Place]:
    leases = tx.session.scalars(
        sa.select(Lease).where(Lease.id.in_(row.lease_ids), Lease.state.in_(LEASE_OPEN))
    ).all()
    by_target: dict[str, list[Lease]] = {}
    for lease in leases:
        by_target.setdefault(lease.database_id or lease.server_id or "", []).append(lease)
    return [
        _Place(
            target=_target(tx, opener, there[0]),
            leases={lease.role_name: lease.id for lease in there},
            shown=frozenset(le.role_name for le in there if le.id in row.statement_ids),
        )
        for there in by_target.values()
    ]


def _target(tx: Tx, opener: LoginOpener, lease: Lease) -> Target:
    if lease.database_id is not None:
        return live_target(opener, tenants.get_database(tx, lease.database_id))
    return sandbox_target(opener, tenants.get_server(tx, lease.server_id or ""), lease.port)


def _look_at(place: _Place, open_session: OpenSession) -> dict[str, Any]:
    """By id of lease; a server that can't be looked at is unknown, not empty."""
    try:
        with open_session(place.target, options=_OPTIONS) as connection:
            seen = list_sessions(connection, place.leases, place.shown)
    except FAILURES as error:
        reason = describe(error)
        return {identity: {"sessions": [], "problem": reason} for identity in place.leases.values()}
    return {
        identity: {"sessions": _of(role, seen), "problem": None}
        for role, identity in place.leases.items()
    }


def _of(role: str, seen: Sequence[SessionSeen]) -> list[dict[str, Any]]:
    return [
        {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(item).items()
        }
        for item in seen
        if item.role == role
    ]
