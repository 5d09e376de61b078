"""What the sessions of some roles do now, as the server shows it.

The text of a statement may hold values, so it is read only where it was asked for. What it can't
see: a session that is still starting (`post_auth_delay`), which shows a process and no role yet.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from broker.engines.postgres.looks import Connection

_SESSIONS = """
    SELECT r.rolname, a.backend_start,
           CASE WHEN a.client_addr IS NOT NULL THEN host(a.client_addr)
                WHEN a.client_port = -1 THEN 'local' END,
           a.state, a.state_change, a.query_start,
           CASE WHEN r.rolname = ANY (%(shown)s) AND pg_has_role('pg_read_all_stats', 'USAGE')
                THEN a.query END
      FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
     WHERE r.rolname = ANY (%(roles)s) AND a.pid <> pg_backend_pid()
     ORDER BY a.backend_start NULLS LAST, a.pid
"""


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """`origin` is an address, or `local`; `statement` the running one, or the last if `state` is
    not `active`. All but `role` are None where our login may not see them.
    """

    role: str
    since: datetime | None
    origin: str | None
    state: str | None
    state_since: datetime | None
    statement_since: datetime | None
    statement: str | None


def list_sessions(
    connection: Connection, roles: Collection[str], shown: Collection[str]
) -> list[SessionSeen]:
    """Sessions of `roles`, the oldest first; with statements for those of `shown` alone."""
    rows = connection.execute(_SESSIONS, {"roles": list(roles), "shown": list(shown)})
    return [SessionSeen(*row) for row in rows]


def list_first_seen(connection: Connection, roles: Collection[str]) -> dict[str, datetime]:
    """Since when somebody is in, of those roles that have a session now."""
    rows = connection.execute(
        "SELECT r.rolname::text, min(a.backend_start) FROM pg_stat_activity a"
        " JOIN pg_roles r ON r.oid = a.usesysid"
        " WHERE r.rolname = ANY (%s) AND a.backend_start IS NOT NULL GROUP BY 1",
        [list(roles)],
    ).fetchall()
    return dict(rows)


def end_outliving(connection: Connection, oids: Collection[int]) -> dict[int, int]:
    """End sessions under the former ids of roles that are gone; how many, by id.

    An id that the server has given to another role since is left alone.
    """
    rows = connection.execute(
        "WITH told AS MATERIALIZED ("
        "  SELECT usesysid::bigint AS oid, pg_terminate_backend(pid, 200) FROM pg_stat_activity"
        "   WHERE usesysid = ANY (%s::oid[]) AND usesysid NOT IN (SELECT oid FROM pg_roles))"
        " SELECT oid, count(*)::int FROM told GROUP BY 1",
        [list(oids)],
    ).fetchall()
    return dict(rows)
