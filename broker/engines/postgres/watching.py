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
