"""The login of one run of a backup: it reads what the setup lets be read, in clear, and no more.

Made and ended as a lease's role is, with its label, so that `broker reap` and the janitor know it.
What must stay true: it is given LOGIN last, after a look at what it may do; it is a member of
`sab_backup`, by which the DBA's pg_hba.conf lets it in from its own machine alone; its name and
password serve one run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from broker.engines import Target
from broker.engines.postgres.account import BACKUP, MARK, READER, membership
from broker.engines.postgres.connect import run
from broker.engines.postgres.leases import RoleTaken
from broker.engines.postgres.looks import Connection, again_if_met, find_ours, session
from broker.engines.postgres.revoking import revoke
from broker.engines.postgres.scram import check_verifier
from broker.errors import Conflict


class BackupRoleAltered(Conflict):
    """The role can do something that we did not give it; it was removed."""

    type = "backup-role-altered"


@dataclass(frozen=True, slots=True)
class BackupRole:
    """`valid_until` is an aware instant; `connections` is how many sessions it may have at once."""

    role: str
    verifier: str
    valid_until: datetime
    label_text: str
    connections: int

    def __post_init__(self) -> None:
        check_verifier(self.verifier)


def issue(target: Target, wanted: BackupRole) -> None:
    """Make the role, check what it may do, then let it log in; idempotent.

    Raises BackupRoleAltered, RoleTaken, NotOurs, AccountTooWeak, ServerUnavailable.
    """
    with session(target) as connection:
        again_if_met(lambda: _find_or_create(connection, wanted))
        try:
            _check(connection, wanted.role)
        except BackupRoleAltered:
            revoke(target, wanted.role)
            raise
        again_if_met(lambda: run(connection, "ALTER ROLE {role} LOGIN", role=wanted.role))


def _find_or_create(connection: Connection, wanted: BackupRole) -> None:
    with connection.transaction():
        found = find_ours(connection, wanted.role)
        if found is None:
            connection.execute(sql.SQL("; ").join(_creation(connection, wanted)))
        elif found.comment != wanted.label_text or found.valid_until != wanted.valid_until:
            raise RoleTaken(f"the role {wanted.role} is being ended, or is another run's")


def _creation(connection: Connection, wanted: BackupRole) -> list[sql.Composable]:
    role, version = sql.Identifier(wanted.role), connection.info.server_version
    given = {MARK: False, BACKUP: False, READER: True}
    return [
        sql.SQL(
            "CREATE ROLE {} NOLOGIN INHERIT CONNECTION LIMIT {} VALID UNTIL {} PASSWORD {}"
        ).format(
            role,
            sql.Literal(wanted.connections),
            sql.Literal(wanted.valid_until.isoformat()),
            sql.Literal(wanted.verifier),
        ),
        *(
            sql.SQL("GRANT {} TO {}").format(sql.Identifier(name), role)
            + membership(version, inherit=inherits, settable=False)
            for name, inherits in given.items()
        ),
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
            sql.Identifier(connection.info.dbname), role
        ),
        sql.SQL("COMMENT ON ROLE {} IS {}").format(role, sql.Literal(wanted.label_text)),
    ]


def _check(connection: Connection, role: str) -> None:
    """No attribute, the three memberships alone, and none of them to give on."""
    row = connection.execute(
        """
        SELECT NOT (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication
                    OR r.rolbypassrls),
               ARRAY(SELECT g.rolname::text FROM pg_auth_members m
                       JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid ORDER BY 1),
               EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid AND m.admin_option)
          FROM pg_roles r WHERE r.rolname = %s
        """,
        [role],
    ).fetchone()
    if row != (True, sorted([MARK, BACKUP, READER]), False):
        raise BackupRoleAltered(
            f"the role {role} has attributes or memberships that the broker did not give it; it "
            "was removed and let nobody in"
        )


def list_sessions(target: Target, role: str) -> list[tuple[str | None, str]]:
    """(address, name of the program) of each session of the role; None is by the socket."""
    with session(target) as connection:
        return connection.execute(
            "SELECT host(a.client_addr), coalesce(a.application_name, '')"
            " FROM pg_stat_activity a WHERE a.usename = %s ORDER BY a.backend_start",
            [role],
        ).fetchall()
