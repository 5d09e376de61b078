"""A lease that is held: its role stands, lets nobody in, reads nothing, and has no session.

The first steps of a revocation, in the same order and for the same reasons (see `revoking`), and
nothing that could not be given back: password, `VALID UNTIL` and limit stay. What must stay true:
`Held` is returned only after a look through a new connection found neither session nor LOGIN.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from broker.engines import Target
from broker.engines.postgres.connect import run
from broker.engines.postgres.looks import (
    Connection,
    MarkedRole,
    OpenSession,
    StillThere,
    find_ours,
    look_through,
    session,
)
from broker.engines.postgres.revoking import LOCK_TIMEOUT, Ending, now
from broker.engines.postgres.standbys import Unconfirmed


@dataclass(frozen=True, slots=True)
class Held:
    """When each was so, at the latest, by the clock of the tenant's server."""

    login_refused_at: datetime
    last_session_dead_at: datetime
    found_absent: bool = False


def hold(
    target: Target, role: str, *, deadline_s: float = 20, open_session: OpenSession = session
) -> Held:
    """Let nobody in and end all sessions; idempotent. Raises as `revoking.revoke` does."""
    with open_session(target, options={"lock_timeout": LOCK_TIMEOUT}) as connection:
        found = find_ours(connection, role)
        if found is None:
            at = now(connection)
            return Held(at, at, found_absent=True)
        ending = Ending(connection, target, found, time.monotonic() + deadline_s)
        try:
            ending.insist(ending.take_rights)
            ending.insist(lambda: run(connection, "ALTER ROLE {role} NOLOGIN", role=role))
            refused_at = now(connection)
            ending.insist(ending.end_sessions)
            if target.standbys:
                ending.end_on_standbys()
                refused_at = now(connection)
            dead_at = now(connection)
        except Unconfirmed:
            raise
        except StillThere:
            raise _not_held(role, "a session or a prepared transaction is in the way") from None
        # Taken perhaps, to end sessions that were hidden: nothing of a lease's stays with us.
        run(connection, "REVOKE {role} FROM {us}", role=role, us=connection.info.user)
    with session(target) as fresh:
        _check_held(fresh, found)
    return Held(refused_at, dead_at)


def _check_held(fresh: Connection, role: MarkedRole) -> None:
    seen = look_through(fresh, role.name, oid=role.oid)
    standing = find_ours(fresh, role.name)
    if seen.sessions or (standing is not None and standing.can_login):
        raise _not_held(role.name, f"a new connection found {seen.sessions} sessions of it")


def _not_held(role: str, why: str) -> StillThere:
    name, text = sql.Identifier(role), sql.Literal(role)
    statements = [
        sql.SQL("ALTER ROLE {} NOLOGIN;").format(name),
        sql.SQL(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {};"
        ).format(text),
    ]
    mend = " ".join(statement.as_string() for statement in statements)
    return StillThere(
        f"the role {role} is not held: {why}; a superuser can do it: {mend}", sql=mend
    )
