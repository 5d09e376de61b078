"""Many lease roles of one server in one go, where nothing and nobody stands in the way.

The recipes are those of `leases` and `revoking`, step by step in the same order, each step once for
all: a message, a commit and a look cost the same for one role as for fifty. What must stay true:
these are the plain cases alone. Whatever is not plain (a role that is there already, a lock, a
hidden session, something that a role owns, any error) raises NotPlain or is left out of the answer,
and the recipe for one does it with all its care; every step is one that it may meet half done.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg import sql

from broker.engines import Target
from broker.engines.postgres.account import MARK
from broker.engines.postgres.leases import EXCESS, LeaseRole, creation
from broker.engines.postgres.looks import HIDDEN, IS_MARKED, Connection, OpenSession, session
from broker.engines.postgres.revoking import LOCK_TIMEOUT, REFUSAL, Ended, list_places
from broker.errors import Conflict
from broker.labels import is_marked

_LOOKS, _PAUSE_S = 15, 0.02  # for sessions that end, and for those of others that just begin


class NotPlain(Conflict):
    """The recipe for one lease must do it; it may meet what was begun here half done."""

    type = "not-plain"


def issue(
    target: Target, leases: Sequence[LeaseRole], *, bounded: bool, open_session: OpenSession
) -> None:
    """Make the roles, all or none: their commit comes last, after the check of what they can do.

    Raises NotPlain, ServerUnavailable, AccountTooWeak.
    """
    with open_session(target) as connection:
        made = creation(leases, connection.info.server_version, bounded=bounded, login=True)
        with _plainly():
            _run(connection, [sql.SQL("BEGIN"), *made])
            _check(connection, leases, bounded=bounded)
            _run(connection, [sql.SQL("COMMIT")])


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    """What the server refuses is not for here; what a lost connection means is told elsewhere."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate is None:
            raise
        raise NotPlain(f"something is in the way: SQLSTATE {error.sqlstate}") from None


_MADE = """
    SELECT r.rolname,
           NOT (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication
                OR r.rolbypassrls),
           ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                  WHERE m.member = r.oid ORDER BY 1),
           EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid AND m.admin_option)
      FROM pg_roles r WHERE r.rolname = ANY(%s)
"""


def _check(connection: Connection, leases: Sequence[LeaseRole], *, bounded: bool) -> None:
    """No attribute, the two memberships and nothing else, and no more reach than the scope's.

    A role that was made in this transaction has been granted nothing itself: what it can do are the
    rights of its scope, of the mark and of PUBLIC, the same for all of one scope.
    """
    wanted = {lease.role: sorted([lease.scope, MARK]) for lease in leases}
    scopes = {lease.scope: lease for lease in leases}
    if bounded:
        wanted |= {scope: [MARK] for scope in scopes}
    rows = connection.execute(_MADE, [list(wanted)]).fetchall()
    plain = {name: groups for name, powerless, groups, admin in rows if powerless and not admin}
    if plain != wanted:
        raise NotPlain("a role has attributes or memberships that the broker did not give it")
    for scope, lease in scopes.items() if bounded else ():
        names = {"role": lease.role, "scope": scope}
        if connection.execute(EXCESS, names).fetchone() is not None:
            raise NotPlain(f"{lease.role} would reach more than its scope")


@dataclass(frozen=True, slots=True)
class _Found:
    oid: int
    scopes: Sequence[str]


def revoke(
    target: Target, roles: Sequence[str], *, open_session: OpenSession
) -> Mapping[str, Ended]:
    """End the roles; the answer has those of which a look through a new connection found nothing.

    The order of the steps is the defence, see `revoking.revoke`. Raises NotPlain,
    ServerUnavailable, AccountTooWeak.
    """
    if target.standbys:
        raise NotPlain("an end on standbys is confirmed one by one")
    with open_session(target, options={"lock_timeout": LOCK_TIMEOUT}) as connection:
        found = _find(connection, roles)
        if not found:
            return {}
        with _plainly():
            refused_at, dead_at = _end(connection, found)
    with session(target) as fresh:
        left, gone_at = _look(fresh, found)
        places = list_places(fresh, target)
    return {
        role: Ended(refused_at, dead_at, gone_at, oid=one.oid, places=places)
        for role, one in found.items()
        if role not in left
    }


def _find(connection: Connection, roles: Sequence[str]) -> dict[str, _Found]:
    """Those that are there and ours; what is absent or somebody else's is not for here."""
    rows = connection.execute(
        f"""
        SELECT r.rolname, {IS_MARKED}, shobj_description(r.oid, 'pg_authid'), r.oid::bigint,
               ARRAY(SELECT DISTINCT g.rolname::text FROM pg_auth_members m
                       JOIN pg_roles g ON g.oid = m.roleid
                      WHERE m.member = r.oid AND g.rolname <> %(mark)s)
          FROM pg_roles r WHERE r.rolname = ANY(%(roles)s)
        """,
        {"mark": MARK, "roles": list(roles)},
    ).fetchall()
    return {
        name: _Found(oid, scopes)
        for name, is_member, comment, oid, scopes in rows
        if is_member and is_marked(comment)
    }


def _end(connection: Connection, found: Mapping[str, _Found]) -> tuple[datetime, datetime]:
    """When the logins were refused, and when the last session was dead, at the latest."""
    members: dict[str, list[sql.Identifier]] = {}
    for role, one in found.items():
        for scope in one.scopes:
            members.setdefault(scope, []).append(sql.Identifier(role))
    taken = [
        sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(scope), sql.SQL(", ").join(roles))
        for scope, roles in members.items()
    ]
    refused = [_alter(role, REFUSAL) for role in found]
    # A transaction each, so that the first stands whatever becomes of the second; one message.
    _run(connection, [*_committed(taken), *_committed(refused)])
    refused_at, dead_at = _end_sessions(connection, [one.oid for one in found.values()])
    names = sql.SQL(", ").join(map(sql.Identifier, found))
    connection.execute(sql.SQL("DROP ROLE {}").format(names))
    return refused_at, dead_at


# One look: sessions that were told to end (each waited for, up to 200 ms), sessions that are
# hidden, and what a role left behind that a plain DROP ROLE would not take.
_SESSIONS = f"""
    WITH told AS MATERIALIZED (
        SELECT pg_terminate_backend(pid, 200) FROM pg_stat_activity WHERE usesysid = ANY(%(oids)s))
    SELECT (SELECT count(*) FROM told), (SELECT count(*) FROM ({HIDDEN}) AS hidden),
           EXISTS (SELECT FROM pg_prepared_xact() AS p WHERE p.ownerid = ANY(%(oids)s))
             OR EXISTS (SELECT FROM pg_shdepend s
                         WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = ANY(%(oids)s)
                           AND s.classid <> 'pg_auth_members'::regclass),
           clock_timestamp()
"""


def _end_sessions(connection: Connection, oids: Sequence[int]) -> tuple[datetime, datetime]:
    """Two looks in a row find none; each is a transaction, and so sees afresh."""
    began: datetime | None = None
    clean = 0
    for _ in range(_LOOKS):
        row = connection.execute(_SESSIONS, {"oids": list(oids)}).fetchone()
        assert row is not None  # noqa: S101  # for the type checker: it has no FROM
        sessions, hidden, left, at = row
        began = began or at
        clean = 0 if sessions or hidden else clean + 1
        if left:
            raise NotPlain("a role owns something, or left a prepared transaction")
        if clean == 2:
            return began, at
        if clean == 0:
            time.sleep(_PAUSE_S)
    raise NotPlain("there are sessions that do not end, or hide")


def _look(fresh: Connection, found: Mapping[str, _Found]) -> tuple[set[str], datetime]:
    """Names of which anything is left: the role, a session under its former id, a transaction."""
    by_oid = {one.oid: role for role, one in found.items()}
    row = fresh.execute(
        """
        SELECT ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%(names)s)),
               ARRAY(SELECT usesysid::bigint FROM pg_stat_activity WHERE usesysid = ANY(%(oids)s)
                     UNION SELECT oid::bigint FROM pg_roles WHERE oid = ANY(%(oids)s)
                     UNION SELECT p.ownerid::bigint FROM pg_prepared_xact() AS p
                            WHERE p.ownerid = ANY(%(oids)s)),
               clock_timestamp()
        """,
        {"names": list(found), "oids": list(by_oid)},
    ).fetchone()
    assert row is not None  # noqa: S101  # for the type checker: it has no FROM
    names, oids, at = row
    return {*names, *(by_oid[oid] for oid in oids)}, at


def _alter(role: str, what: LiteralString) -> sql.Composed:
    return sql.SQL("ALTER ROLE {} ").format(sql.Identifier(role)) + sql.SQL(what)


def _committed(statements: Sequence[sql.Composable]) -> list[sql.Composable]:
    return [sql.SQL("BEGIN"), *statements, sql.SQL("COMMIT")] if statements else []


def _run(connection: Connection, statements: Sequence[sql.Composable]) -> None:
    """In one message: one transaction, unless it says otherwise itself."""
    connection.execute(sql.SQL("; ").join(statements))
