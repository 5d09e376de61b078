"""Leases by the batch: intent, effect, look, confirm, each once for all that are due on one server.

What must stay true is what `lease_steps` keeps, of which this is the short way: a batch takes the
plain cases, and says which leases are left for `lease_steps`, one by one. So nothing here decides,
notes a failure, or makes a scope; and whatever fails here is as if it had not been tried.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from broker import quarantine, tenants
from broker.bell import ring
from broker.db import Database
from broker.engines import Target
from broker.engines.postgres import together
from broker.engines.postgres.connect import ServerRestored
from broker.engines.postgres.looks import OpenSession
from broker.engines.postgres.revoking import Ended
from broker.errors import BrokerError
from broker.faults import crash_point
from broker.grants import contacts, grounds
from broker.grants.lease_scopes import drop_scope_if_unused
from broker.grants.lease_steps import end_facts, end_values
from broker.grants.lease_work import KeyPort, login_role
from broker.grants.model import Grant, Lease
from broker.grants.preflights import TOO_OLD
from broker.grants.states import LEASE_ISSUED, LEASE_REVOKED
from broker.grants.targets import live_target, server_target
from broker.ids import is_id
from broker.logs import get_log
from broker.retries import FAILURES, describe
from broker.states import advance_all
from broker.tenants import TenantDatabase, TestServer
from broker.tx import Tx, system

_WORKER = system("worker")
_DONE = {"stuck_since": None, "stuck_reason": None, "next_try_at": None}
_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """A lease that is due on `place`, the id of a database or test server."""

    lease_id: str
    place: str
    scope: str


@dataclass(frozen=True, slots=True)
class Left:
    """What a batch did not do: `singly` for `lease_steps`, `again` to be called in a moment."""

    singly: Sequence[Call]
    again: Sequence[Call]


@dataclass(frozen=True, slots=True)
class _Due:
    """A lease's row; `ready` says that its role may be made just like that."""

    lease_id: str
    state: str
    grant_id: str
    role: str
    scope: str
    verifier: str | None
    ends_at: datetime
    database_id: str | None
    ready: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """A server as roles are ended there, and as they are made: on one timeline alone."""

    ending: Target
    making: Target


@dataclass(frozen=True, slots=True)
class Batches:
    """What a worker takes calls with; each place is one thread's (see `broker.desk`)."""

    database: Database
    port: KeyPort
    open_session: OpenSession

    def take(self, place: str, calls: Sequence[Call]) -> Left:
        """Make and end what can be made and ended together; returns what is left."""
        locks = {call.lease_id: f"lease {call.lease_id}" for call in calls}
        scopes = {f"scope {call.scope}" for call in calls}
        with self.database.hold_all(locks.values(), scopes) as held:
            server, due = self._read(place, list(locks), held)
            mine = [one for one in due if locks[one.lease_id] in held]
            done = self._revoke(
                place, server.ending, [one for one in mine if one.state == "revoking"]
            )
            over = {one.scope for one in mine if one.lease_id in done}
            done |= self._issue(
                place, server.making, [one for one in mine if one.state == "pending"]
            )
        if is_id(place, "dbs"):
            for scope in over:
                drop_scope_if_unused(self.database, self.port, scope)
        # What somebody else holds may be the making of a role that is to end: then it ends after.
        busy = {one.lease_id for one in due if one not in mine and one.state == "revoking"}
        left = {one.lease_id for one in mine} - done
        return Left(
            [call for call in calls if call.lease_id in left],
            [call for call in calls if call.lease_id in busy],
        )

    def _read(
        self, place: str, ids: Sequence[str], held: Collection[str]
    ) -> tuple[_Place, list[_Due]]:
        """Under the locks: nobody else makes or ends these, and no scope that is held is dropped"""
        with self.database.begin(_WORKER) as tx:
            asked = {"ids": list(ids), "tenancy": "", "looked": tx.at - TOO_OLD}
            row: TenantDatabase | TestServer
            if is_id(place, "dbs"):
                row = registered = tenants.get_database(tx, place)
                target = live_target(self.port, registered)
                asked["tenancy"] = registered.whose.digest()
            else:
                # Not by way of the sandbox: the role must be ended also when its database is gone.
                row = tenants.get_server(tx, place)
                target = server_target(self.port, row)
            rows = tx.session.execute(_DUE, asked).all()
            making = _find_making(row, target)
            due = _list_due(tx, self.port, rows, held if making is not None else ())
            return _Place(target, making or target), due

    def _issue(self, place: str, target: Target, due: Sequence[_Due]) -> set[str]:
        """Returns the leases that are issued."""
        ready = [one for one in due if one.ready]
        if not ready:
            return set()
        key, live = self.port.label_key(), is_id(place, "dbs")
        try:
            wanted = [login_role(one, key) for one in ready]
            together.issue(target, wanted, bounded=live, open_session=self.open_session)
        except FAILURES as error:
            _note(place, error)
            return set()
        crash_point("role-made")
        with self.database.begin(_WORKER) as tx:
            issued = _confirm_issued(tx, ready)
        crash_point("lease-issued")
        return issued

    def _revoke(self, place: str, target: Target, due: Sequence[_Due]) -> set[str]:
        """Returns the leases that are revoked."""
        if not due:
            return set()
        try:
            roles = [one.role for one in due]
            ended = together.revoke(target, roles, open_session=self.open_session)
        except FAILURES as error:
            _note(place, error)
            return set()
        crash_point("role-ended")
        with self.database.begin(_WORKER) as tx:
            revoked = _confirm_revoked(tx, due, ended)
        crash_point("lease-revoked")
        return revoked


def _find_making(row: TenantDatabase | TestServer, target: Target) -> Target | None:
    """None where nothing is made just like that: a server that is not known, or was restored."""
    try:
        return contacts.to_make(row, target) if row.cluster is not None else None
    except ServerRestored:
        return None


def _note(place: str, error: Exception) -> None:
    """Not a failure of any lease: each is tried by itself now."""
    _log.info("one_by_one", place=place, why=describe(error))


# A role is made just like that where its grant goes on, nothing is paused, its scope stands, the
# database is registered as it was when that was approved, and a look of late found nothing fatal.
_DUE = sa.text(
    """
    SELECT l.id, l.state, l.grant_id, l.role_name, l.scope_name, l.verifier, l.ends_at,
           l.database_id,
           g.state = 'approved' AND COALESCE(g.paused_at, l.paused_at, l.held_at) IS NULL
             AND (l.server_id IS NOT NULL
                  OR s.made_at IS NOT NULL AND s.dropped_at IS NULL AND p.digest IS NOT NULL
                     AND COALESCE(p.document ->> 'tenancy', '') = :tenancy)
             AND EXISTS (SELECT FROM preflight f WHERE f.fatal = 0 AND f.checked_at >= :looked
                            AND f.target = COALESCE(l.database_id, l.server_id)) AS plain
      FROM lease l JOIN access_grant g ON g.id = l.grant_id
      LEFT JOIN live_scope s ON s.name = l.scope_name
      LEFT JOIN plan p ON p.grant_id = g.id AND p.digest = g.given_digest
     WHERE l.id = ANY(:ids) AND l.state IN ('pending', 'revoking')
    """
)


_WITH_GRANTS = (
    sa.select(Lease, Grant)
    .join(Grant, Grant.id == Lease.grant_id)
    .where(Lease.id == sa.any_(sa.bindparam("ids", type_=sa.ARRAY(sa.Text))))
)


def _list_due(
    tx: Tx, port: KeyPort, rows: Sequence[sa.Row[Any]], held: Collection[str]
) -> list[_Due]:
    hopeful = [
        row
        for row in rows
        if row.state == "pending" and row.plain and f"scope {row.scope_name}" in held
    ]
    proved = _list_proved(tx, port, hopeful)
    return [
        _Due(
            lease_id=row.id,
            state=row.state,
            grant_id=row.grant_id,
            role=row.role_name,
            scope=row.scope_name,
            verifier=row.verifier,
            ends_at=row.ends_at,
            database_id=row.database_id,
            ready=row.id in proved,
        )
        for row in rows
    ]


def _list_proved(tx: Tx, port: KeyPort, rows: Sequence[sa.Row[Any]]) -> set[str]:
    """Leases whose grounds hold now, as `lease_steps` proves them; none in quarantine."""
    if not rows or quarantine.find_refusal(tx, port) is not None:
        return set()
    leases = tx.session.execute(_WITH_GRANTS, {"ids": [row.id for row in rows]}).all()
    proved = set()
    for lease, grant in leases:
        with contextlib.suppress(BrokerError):  # left for `lease_steps`, which says what it is
            grounds.prove(tx, port, grant, grounds.kind_of(lease))
            grounds.check_lease(tx, grant, lease)
            proved.add(lease.id)
    return proved


# What was ended or paused meanwhile is left: the row is pending still, and its job undoes the role.
_STILL_WANTED = sa.text(
    "SELECT l.id FROM lease l JOIN access_grant g ON g.id = l.grant_id WHERE l.id = ANY(:ids)"
    " AND g.state = 'approved' AND COALESCE(g.paused_at, l.paused_at) IS NULL"
    " FOR UPDATE OF g, l SKIP LOCKED"
)


def _confirm_issued(tx: Tx, made: Sequence[_Due]) -> set[str]:
    """Grants are locked, so that an end sees these leases, or is seen; see `lease_steps`."""
    asked = {"ids": [one.lease_id for one in made]}
    ids = tx.session.scalars(_STILL_WANTED, asked).all()
    issued = advance_all(tx, Lease, ids, LEASE_ISSUED, values=_DONE)
    ring(tx, *issued)
    return issued


def _confirm_revoked(tx: Tx, due: Sequence[_Due], ended: Mapping[str, Ended]) -> set[str]:
    ids = [one.lease_id for one in due if one.role in ended]
    if not ids:
        return set()
    together_ended = next(iter(ended.values()))  # all at the same instants
    values = {**end_values(together_ended), **_DONE}
    facts = end_facts(together_ended)
    revoked = advance_all(tx, Lease, ids, LEASE_REVOKED, values=values, facts=facts)
    oids = sa.case({role: one.oid for role, one in ended.items()}, value=Lease.role_name)
    tx.session.execute(sa.update(Lease).where(Lease.id.in_(revoked)).values(role_oid=oids))
    ring(tx, *revoked)
    return revoked
