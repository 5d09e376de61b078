"""The end of a lease: no login, no session, no role, whatever its holder does against it.

Each step commits by itself, for what is not committed refuses nobody; locks are waited for only
briefly, for a lease may hold the lock on its own row. The order is the defence, and each step
answers an attack: see `revoke`. What must stay true: `Ended` is returned only after a look through
a new connection found nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg import sql

from broker.engines import ServerUnavailable, Target
from broker.engines.postgres import standbys
from broker.engines.postgres.account import MARK, grant_role
from broker.engines.postgres.connect import read_identity, run
from broker.engines.postgres.looks import (
    MET,
    AccountTooWeak,
    Connection,
    MarkedRole,
    OpenSession,
    StillThere,
    end_hidden_sessions,
    end_seen_sessions,
    find_ours,
    list_hidden_sessions,
    list_prepared,
    look_through,
    session,
)

_PAUSE_S = 0.05  # for sessions that were told to end
LOCK_TIMEOUT = "200ms"
REFUSAL: LiteralString = "NOLOGIN PASSWORD NULL CONNECTION LIMIT 0 VALID UNTIL '-infinity'"
# In the way of a step, mostly by a session of the lease's: it is ended and the step tried again.
_IN_THE_WAY = (
    *MET,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.ObjectInUse,
    psycopg.errors.DependentObjectsStillExist,
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fresh look found nothing: a cluster by its system identifier, as its primary on a
    timeline, or as its standby. No address: what is signed of an end names none.
    """

    cluster: str
    timeline: int | None
    standby: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """When each was so, at the latest, by the clock of the tenant's server. `oid` was the role's;
    `places` are the servers where the last look was made.
    """

    login_refused_at: datetime
    last_session_dead_at: datetime
    role_gone_at: datetime
    found_absent: bool = False
    oid: int | None = None
    places: tuple[Place, ...] = ()


def revoke(
    target: Target, role: str, *, deadline_s: float = 20, open_session: OpenSession = session
) -> Ended:
    """End a lease: no login, no session, no role, and a look that says so; idempotent.

    1. Take the scope away. Whoever is connected, but hidden from us, wakes without rights; and this
       step alone can't be blocked by the lease.
    2. Refuse its login, committed, before sessions are ended: none slips in between.
    3. End sessions until none is found twice, hidden ones too.
    4. Drop what it owns in every database, then the role; look through a new connection, whatever
       `open_session` gives for the steps before.

    After 3 and after 4 the same on each standby, see `standbys`: while one is Unconfirmed the role
    stays, refused and without rights, for its id is what its sessions there are known by.

    Raises StillThere past the deadline, or at once where only a superuser can help; NotOurs;
    AccountTooWeak; ServerUnavailable: nothing is known then. Repeat until it returns.
    """
    with open_session(target, options={"lock_timeout": LOCK_TIMEOUT}) as connection:
        found = find_ours(connection, role)
        if found is None:
            refused_at = dead_at = now(connection)
        else:
            ending = Ending(connection, target, found, time.monotonic() + deadline_s)
            ending.insist(ending.take_rights)
            ending.insist(ending.refuse_login)
            refused_at = now(connection)
            ending.insist(ending.end_sessions)
            if target.standbys:
                ending.end_on_standbys()
                refused_at = now(connection)  # everywhere
            dead_at = now(connection)
            ending.insist(ending.drop)
    oid = found.oid if found else None
    with session(target) as fresh:
        seen = look_through(fresh, role, oid=oid)
        if seen.found_nothing:
            standbys.check_gone_there(fresh, target, role, oid)
        gone_at = now(fresh)
        places = list_places(fresh, target)
    if not seen.found_nothing:
        raise StillThere(
            f"after dropping {role} a new connection found: role {seen.role_exists}, "
            f"sessions {seen.sessions}, prepared transactions {seen.prepared}",
            sql="SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid <> 0"
            " AND usesysid NOT IN (SELECT oid FROM pg_roles); SELECT * FROM pg_prepared_xacts;",
        )
    return Ended(refused_at, dead_at, gone_at, found is None, oid, places)


def list_places(connection: Connection, target: Target) -> tuple[Place, ...]:
    """The session's server, and its registered standbys, at which `standbys` has looked."""
    cluster, timeline = read_identity(connection)
    there = [Place(cluster, None, standby=True) for _ in target.standbys]
    return (Place(cluster, timeline), *there)


def ending_sql(role: str) -> str:
    """What a superuser could run to end a role, where nobody could look what stands in the way."""
    name = sql.Identifier(role)
    return (
        sql.SQL(
            "ALTER ROLE {role} NOLOGIN VALID UNTIL '-infinity'; SELECT pg_terminate_backend(pid)"
            " FROM pg_stat_activity WHERE usename = {text}; DROP OWNED BY {role}; DROP ROLE {role};"
        )
        .format(role=name, text=sql.Literal(role))
        .as_string()
    )


def now(connection: Connection) -> datetime:
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None  # noqa: S101  # a function gives one row
    at: datetime = row[0]
    return at


@dataclass(frozen=True, slots=True)
class Ending:
    """The steps of one revocation; each may be repeated, and each commits by itself."""

    connection: Connection
    target: Target
    role: MarkedRole
    until: float  # of time.monotonic()

    def insist(self, step: Callable[[], object]) -> None:
        """Repeat a step until nobody stands in its way; the lease's sessions are ended meanwhile.

        What is gone meanwhile was dropped by another worker: the last look decides.
        """
        while True:
            try:
                step()
            except psycopg.errors.UndefinedObject:
                return
            except _IN_THE_WAY as error:
                end_seen_sessions(self.connection, self.role)
                if time.monotonic() > self.until:
                    raise self._still_there(str(error.diag.message_primary)) from None
            else:
                return

    def take_rights(self) -> None:
        rows = self.connection.execute(
            "SELECT DISTINCT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid"
            " WHERE m.member = %s AND r.rolname <> %s",
            [self.role.oid, MARK],
        ).fetchall()
        for (scope,) in rows:
            try:
                run(self.connection, "REVOKE {s} FROM {role}", s=scope, role=self.role.name)
            except psycopg.errors.InsufficientPrivilege:
                # Somebody else gave this one. It ends with the role; the login must still go first.
                continue

    def refuse_login(self) -> None:
        run(self.connection, "ALTER ROLE {role} " + REFUSAL, role=self.role.name)

    def end_sessions(self) -> None:
        """Two looks in a row find none: one may meet a session between its check and its row.

        There the second one finds the row. So no time need pass between two that found nothing.
        """
        clean = 0
        while clean < 2:
            found = end_seen_sessions(self.connection, self.role)
            if hidden := list_hidden_sessions(self.connection):
                self._take_its_rights()
                found += end_hidden_sessions(self.connection, self.role, hidden)
            clean = 0 if found else clean + 1
            if found and time.monotonic() > self.until:
                raise self._still_there(f"{found} sessions do not end")
            if found:
                time.sleep(_PAUSE_S)

    def end_on_standbys(self) -> None:
        """Raises Unconfirmed."""
        self.insist(self._take_its_rights)
        standbys.end_there(self.connection, self.target, self.role)

    def drop(self) -> None:
        """A prepared transaction keeps its locks without a session, and hides its owner once the
        role is gone: so it is looked for first.
        """
        if list_prepared(self.connection, self.role):
            raise self._still_there("it left prepared transactions")
        databases = self._list_databases()
        if databases:
            self._take_its_rights()
        for dbname in databases:
            if dbname == self.connection.info.dbname:
                run(self.connection, "DROP OWNED BY {role}", role=self.role.name)
            else:
                self._drop_owned_in(dbname)
        run(self.connection, "DROP ROLE {role}", role=self.role.name)

    def _take_its_rights(self) -> None:
        """The role's own rights, which by now are none: to end its hidden sessions as the role, and
        to drop what it owns. They go with the role.
        """
        us = self.connection.info.user
        grant_role(self.connection, self.role.name, us, inherit=True, settable=True)

    def _drop_owned_in(self, dbname: str) -> None:
        options = {"lock_timeout": LOCK_TIMEOUT}
        try:
            with session(self.target, dbname=dbname, options=options) as there:
                run(there, "DROP OWNED BY {role}", role=self.role.name)
        except (ServerUnavailable, AccountTooWeak) as error:
            raise self._still_there(f"in {dbname!r} {error.message}") from None

    def _list_databases(self) -> list[str]:
        """Where it owns or was granted anything; what is shared counts for our own database.

        Memberships end with the role, and are nothing to drop.
        """
        rows = self.connection.execute(
            "SELECT DISTINCT COALESCE(d.datname, current_database()) FROM pg_shdepend s"
            " LEFT JOIN pg_database d ON d.oid = s.dbid"
            " WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = %s"
            " AND s.classid <> 'pg_auth_members'::regclass",
            [self.role.oid],
        ).fetchall()
        return [name for (name,) in rows]

    def _still_there(self, why: str) -> StillThere:
        role = sql.Identifier(self.role.name)
        oid = sql.Literal(self.role.oid)
        prepared = list_prepared(self.connection, self.role)
        databases = sorted({*self._list_databases(), *(dbname for _, dbname in prepared)})
        texts = [
            *(sql.SQL("ROLLBACK PREPARED {};").format(sql.Literal(gid)) for gid, _ in prepared),
            sql.SQL("ALTER ROLE {} NOLOGIN VALID UNTIL '-infinity';").format(role),
            sql.SQL(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = {};"
            ).format(oid),
            sql.SQL("DROP OWNED BY {};").format(role),
            sql.SQL("DROP ROLE {};").format(role),
        ]
        text = " ".join(t.as_string() for t in texts)
        return StillThere(
            f"the role {self.role.name} is not gone: {why}; a superuser can end it, with the first "
            f"and the last but one in each of the databases {databases!r}: {text}",
            sql=text,
            databases=databases,
        )
