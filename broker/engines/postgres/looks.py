"""Looks at a server: which roles there are ours, and what is still alive of one of them.

Asked is not done: what is reported as gone was not found by `look`, through a connection of its
own. What must stay true: a role is ours only as a member of the mark with a comment that reads as
a label; every other role, of whatever name, is never touched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import psycopg
from psycopg import sql

from broker.engines import ServerUnavailable, Target
from broker.engines.postgres.account import MARK, check_version
from broker.engines.postgres.connect import connect
from broker.engines.postgres.line import bounded
from broker.errors import Conflict, Unavailable
from broker.labels import is_marked

Connection = psycopg.Connection[tuple[Any, ...]]
# Another worker at the same moment: on the same role, or granting on the same database.
MET = (
    psycopg.errors.InternalError_,  # "tuple concurrently updated"
    psycopg.errors.UniqueViolation,
    psycopg.errors.DuplicateObject,
    psycopg.errors.DuplicateSchema,
    psycopg.errors.UndefinedObject,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.DeadlockDetected,
)
_TRIES = 20


class AccountTooWeak(Unavailable):
    """Our login on that server lacks a privilege, or a role of the setup is gone.

    The DBA can mend it with the setup's SQL.
    """

    type = "account-too-weak"


class NotOurs(Conflict):
    """A role of that name was made by somebody else; it is left as it is."""

    type = "role-not-ours"


class StillThere(Unavailable):
    """Something that was to be gone is not, or is not known to be.

    `facts['sql']` is what a DBA could run as superuser to end it.
    """

    type = "still-there"


@dataclass(frozen=True, slots=True)
class MarkedRole:
    """A member of the mark. `valid_until` is None if never set; year 1 if access was ended."""

    name: str
    comment: str | None
    can_login: bool
    valid_until: datetime | None
    oid: int


@dataclass(frozen=True, slots=True)
class Look:
    """What a fresh connection found of a role: itself, its sessions, its prepared transactions."""

    role_exists: bool
    sessions: int
    prepared: int

    @property
    def found_nothing(self) -> bool:
        return not (self.role_exists or self.sessions or self.prepared)


class OpenSession(Protocol):
    """How a step gets its session: `session` opens a new one, a `WarmSessions` may lend one."""

    def __call__(
        self,
        target: Target,
        *,
        dbname: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[Connection]: ...


@contextlib.contextmanager
def session(
    target: Target, *, dbname: str | None = None, options: Mapping[str, str] | None = None
) -> Iterator[Connection]:
    """A new connection whose faults are told in our words: unreachable, or not allowed."""
    connection = connect(target, dbname=dbname, options=options)
    with contextlib.closing(connection):
        check_version(connection.info.server_version)
        with telling_faults(target, dbname or target.dbname), bounded(connection):
            yield connection


@contextlib.contextmanager
def telling_faults(target: Target, dbname: str) -> Iterator[None]:
    """Raise AccountTooWeak or ServerUnavailable for what a session's own errors mean."""
    try:
        yield
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject) as error:
        raise AccountTooWeak(
            f"{target.user} can't do this in {dbname}: "
            f"{error.diag.message_primary}; let the DBA run the setup's SQL again"
        ) from None
    except psycopg.OperationalError as error:
        why = error.diag.message_primary or "our session ended"
        raise ServerUnavailable(
            f"the server at {target.host}:{target.port} did not do what we asked: {why}; "
            "nothing is known, try again"
        ) from None


def again_if_met(step: Callable[[], None]) -> None:
    """Run a step that is one transaction, again if it met another worker's."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(*MET):
            return step()
    return step()


# The broker's own login holds the mark too, to give it, but WITH ADMIN: it is not listed.
IS_MARKED = """
    EXISTS (SELECT FROM pg_auth_members m
             WHERE m.member = r.oid AND m.roleid = to_regrole(%(mark)s) AND NOT m.admin_option)
"""
_ROLE = """
    r.rolname, pg_catalog.shobj_description(r.oid, 'pg_authid'), r.rolcanlogin,
    NULLIF(GREATEST(r.rolvaliduntil, '0001-01-02 00:00+00'), 'infinity'), r.oid::bigint
"""


def list_marked_roles(target: Target) -> list[MarkedRole]:
    """Every role that carries the mark, by name: leases, scopes, their owners, sandboxes' roles.

    The caller checks the label's MAC before it believes one.
    """
    with session(target) as connection:
        return list_marked_roles_in(connection)


def list_marked_roles_in(connection: Connection) -> list[MarkedRole]:
    rows = connection.execute(
        f"SELECT {_ROLE} FROM pg_roles r WHERE {IS_MARKED} ORDER BY r.rolname", {"mark": MARK}
    ).fetchall()
    return [MarkedRole(*row) for row in rows]


def find_ours(connection: Connection, name: str) -> MarkedRole | None:
    """Return the role, or None if there is none. Raises NotOurs if it is somebody else's."""
    # One statement: between two, the role could be made by another worker, and look like nobody's.
    row = connection.execute(
        f"SELECT {IS_MARKED}, {_ROLE} FROM pg_roles r WHERE r.rolname = %(name)s",
        {"mark": MARK, "name": name},
    ).fetchone()
    if row is None:
        return None
    is_member, *found = row
    if is_member and is_marked(found[1]):
        return MarkedRole(*found)
    raise NotOurs(f"the role {name} on this server was not made by the broker; it is left alone")


def look(target: Target, role: str, *, oid: int | None = None) -> Look:
    """Look afresh for a role, through a new connection; see `look_through`."""
    with session(target) as connection:
        return look_through(connection, role, oid=oid)


def look_through(connection: Connection, role: str, *, oid: int | None = None) -> Look:
    """Look for a role, through a connection that did nothing before.

    `oid` finds what outlived it: a session keeps its dropped role's.
    Without `oid`, when the role is absent, every session and prepared transaction of whatever
    dropped role counts: it can't be told from this one's.
    """
    row = connection.execute(
        """
        WITH sought AS (
            SELECT COALESCE(max(oid), %(oid)s::oid) AS oid, count(*) > 0 AS there
              FROM pg_roles WHERE rolname = %(role)s)
        SELECT there,
               (SELECT count(*) FROM pg_stat_activity a
                 WHERE CASE WHEN sought.oid IS NOT NULL THEN a.usesysid = sought.oid
                       ELSE a.usesysid <> 0 AND a.usesysid NOT IN (SELECT oid FROM pg_roles)
                       END),
               (SELECT count(*) FROM pg_prepared_xact() AS p
                 WHERE CASE WHEN sought.oid IS NOT NULL THEN p.ownerid = sought.oid
                       ELSE p.ownerid NOT IN (SELECT oid FROM pg_roles) END)
          FROM sought
        """,
        {"role": role, "oid": oid},
    ).fetchone()
    assert row is not None  # noqa: S101  # an aggregate gives one row
    return Look(*row)


def list_reachable(target: Target, role: str) -> list[str]:
    """Databases on the server to which a role may connect: of a lease, the one that it is for."""
    with session(target) as connection:
        rows = connection.execute(
            "SELECT d.datname FROM pg_database d JOIN pg_roles r ON r.rolname = %s"
            " WHERE d.datallowconn AND has_database_privilege(r.oid, d.oid, 'CONNECT') ORDER BY 1",
            [role],
        ).fetchall()
    return [name for (name,) in rows]


def list_prepared(connection: Connection, role: MarkedRole) -> list[tuple[str, str]]:
    """(gid, database) of the role's prepared transactions: they outlive its sessions."""
    return connection.execute(
        "SELECT p.gid, d.datname FROM pg_prepared_xact() AS p JOIN pg_database d ON d.oid = p.dbid"
        " WHERE p.ownerid = %s ORDER BY 1",
        [role.oid],
    ).fetchall()


def end_seen_sessions(connection: Connection, role: MarkedRole) -> int:
    """End the sessions that pg_stat_activity shows; return how many there were.

    The two-argument form waits, up to 200 ms each.
    """
    rows = connection.execute(
        "SELECT pg_terminate_backend(pid, 200) FROM pg_stat_activity WHERE usesysid = %s",
        [role.oid],
    ).fetchall()
    return len(rows)


# PostgreSQL 18 shows starting sessions, but not yet whose they are.
HIDDEN = """
    SELECT DISTINCT l.pid FROM pg_locks l
     WHERE l.pid IS NOT NULL AND l.pid <> pg_backend_pid()
       AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid
                          AND (a.usesysid IS NOT NULL OR a.backend_type <> 'client backend'))
"""


def list_hidden_sessions(connection: Connection) -> list[int]:
    """Process ids of sessions, of whatever role, that pg_stat_activity does not show whole.

    Anybody may connect with `post_auth_delay`: for up to 36 minutes such a session is past the
    check of LOGIN and only its process id is seen, in pg_locks, without its role.
    """
    return [pid for (pid,) in connection.execute(HIDDEN).fetchall()]


def end_hidden_sessions(connection: Connection, role: MarkedRole, pids: Sequence[int]) -> int:
    """End those of the hidden sessions that are the role's; return how many there were.

    Whose one is the server tells us by the rule that a role may end its own sessions: we ask as
    that role, and are refused for all others', so that no starting session of the tenant's is ever
    cut. Needs `SET` on the role.
    """
    ended = 0
    for pid in pids:
        with connection.transaction():
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role.name)))
            try:
                with connection.transaction():  # a savepoint
                    row = connection.execute(
                        "SELECT pg_catalog.pg_terminate_backend(%s)", [pid]
                    ).fetchone()
            except psycopg.errors.InsufficientPrivilege:
                continue
        ended += row is not None and row[0]
    return ended
