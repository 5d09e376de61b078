"""Sessions of logins, watched on their servers: the first of each, and any that outlives its end.

The broker can't sign in as a lease, for only its holder has the password. So when somebody is first
seen in it, what the role can do is looked at once more, and the login is ended if that is more than
its scope. And after an end a session might still come: one that was past the check of LOGIN and
slept (`post_auth_delay`, up to 36 minutes) is without rights, and is ended as soon as it shows.

What must stay true: nothing here makes, or is needed for, an end; what could not be looked at is
looked at in the next round. A session that is shorter than a round (a minute) may not be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from broker import tenants, trail
from broker.db import Busy, Database
from broker.engines import Target
from broker.engines.postgres import leases as roles
from broker.engines.postgres.leases import ScopeExceeded
from broker.engines.postgres.looks import OpenSession, session
from broker.engines.postgres.watching import end_outliving, list_first_seen
from broker.grants import leases
from broker.grants.lease_work import KeyPort, login_role
from broker.grants.model import Lease
from broker.grants.targets import live_target, server_target
from broker.ids import TenantId, is_id
from broker.jobs import Queue
from broker.logs import get_log
from broker.retries import FAILURES, describe
from broker.tx import Tx, system

_WORKER = system("worker")
WATCHED_FOR = timedelta(seconds=2147 + 60)  # the longest post_auth_delay, and a round
_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class _Watched:
    """A login's row as read in a transaction that is over; see `lease_work.Wanted`."""

    lease_id: str
    role: str
    scope: str
    verifier: str | None
    ends_at: datetime
    database_id: str | None
    oid: int | None


def put_due(tx: Tx, queue: Queue) -> None:
    """Enqueue a look at each server that has a login in which nobody was seen, or ended one."""
    place = sa.func.coalesce(Lease.database_id, Lease.server_id)
    queue.put_all(
        tx,
        "watch_sessions",
        tx.session.scalars(sa.select(place).where(_is_watched(tx)).distinct()).all(),
        queue="access",
    )


def _is_watched(tx: Tx) -> sa.ColumnElement[bool]:
    unseen = sa.and_(Lease.state == "issued", Lease.first_seen_at.is_(None))
    ended = sa.and_(Lease.role_oid.is_not(None), Lease.role_gone_at > tx.at - WATCHED_FOR)
    on_servers = sa.or_(Lease.database_id.is_not(None), Lease.server_id.is_not(None))
    return sa.and_(on_servers, Lease.port.is_(None), sa.or_(unseen, ended))


def watch(
    database: Database,
    port: KeyPort,
    place: str,
    queue: Queue,
    open_session: OpenSession = session,
) -> None:
    """Look once at the sessions on a registered database's or test server's server."""
    try:
        with database.exclusive(f"watch {place}"):
            target, watched = _read(database, port, place)
            if watched:
                _look(database, port, target, watched, queue, open_session)
    except Busy:
        return
    except FAILURES as error:
        _log.info("sessions_not_watched", id=place, reason=describe(error))


def _read(database: Database, port: KeyPort, place: str) -> tuple[Target, list[_Watched]]:
    with database.begin(_WORKER) as tx:
        if is_id(place, "dbs"):
            target = live_target(port, tenants.get_database(tx, place))
        else:
            target = server_target(port, tenants.get_server(tx, place))
        on = sa.func.coalesce(Lease.database_id, Lease.server_id) == place
        rows = tx.session.scalars(sa.select(Lease).where(on, _is_watched(tx)))
        return target, [
            _Watched(
                lease_id=row.id,
                role=row.role_name,
                scope=row.scope_name,
                verifier=row.verifier,
                ends_at=row.ends_at,
                database_id=row.database_id,
                oid=row.role_oid if row.state == "revoked" else None,
            )
            for row in rows
        ]


def _look(
    database: Database,
    port: KeyPort,
    target: Target,
    watched: Sequence[_Watched],
    queue: Queue,
    open_session: OpenSession,
) -> None:
    by_oid = {one.oid: one for one in watched if one.oid is not None}
    by_role = {one.role: one for one in watched if one.oid is None}
    key = port.label_key()
    excess: dict[str, str] = {}
    with open_session(target) as connection:
        outlived = end_outliving(connection, list(by_oid))
        seen = list_first_seen(connection, list(by_role))
        for role in seen:
            one = by_role[role]
            bounded = one.database_id is not None
            try:
                roles.check_bounds(connection, login_role(one, key), bounded=bounded)
            except ScopeExceeded as error:
                excess[role] = error.message
    with database.begin(_WORKER) as tx:
        for role, at in seen.items():
            _note_seen(tx, by_role[role], at)
            if role in excess:
                lease = leases.get_lease(tx, by_role[role].lease_id)
                leases.end(tx, lease, "its role can do more than its scope", queue)
        for oid, count in outlived.items():
            _note_outlived(tx, by_oid[oid], count)


def _note_seen(tx: Tx, one: _Watched, at: datetime) -> None:
    lease = leases.get_lease(tx, one.lease_id)
    tx.session.refresh(lease, with_for_update=True)
    if lease.first_seen_at is not None:
        return
    lease.first_seen_at = at
    facts = {"grant": lease.grant_id, "first_seen_at": at.isoformat()}
    trail.record(tx, TenantId(lease.tenant_id), "lease.entered", lease.id, facts)


def _note_outlived(tx: Tx, one: _Watched, count: int) -> None:
    lease = leases.get_lease(tx, one.lease_id)
    facts = {"grant": lease.grant_id, "sessions": count}
    trail.record(tx, TenantId(lease.tenant_id), "lease.outlived", lease.id, facts)
    _log.error("session_outlived_its_login", lease=lease.id, sessions=count)
