"""Lease roles: one login for one grant, which can never do more than it allows.

    absent ──_create──▶ no login, all set ──bounds checked──▶ LOGIN ──revoke──▶ absent, looked at

What must stay true: LOGIN comes last, by a statement or a commit of its own, after a check of what
the role can really do; a role that is being ended is never revived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from broker.engines import Target
from broker.engines.postgres.account import MARK, membership
from broker.engines.postgres.connect import run
from broker.engines.postgres.looks import (
    Connection,
    MarkedRole,
    OpenSession,
    again_if_met,
    find_ours,
    session,
)
from broker.engines.postgres.revoking import revoke
from broker.engines.postgres.scram import check_verifier
from broker.errors import Conflict, Invalid
from broker.labels import is_marked

_PLACES = ("SCHEMA", "DATABASE")  # where a role may create
_NAMED = 10  # objects in a sentence; all are in the facts


class ScopeExceeded(Conflict):
    """The role could do more than its scope says, mostly by a grant to PUBLIC; it was removed.

    `facts['relations']` are the objects, `facts['sql']` is what mends it.
    """

    type = "scope-exceeded"


class ScopeMissing(Conflict):
    """The scope's role is not there, or was dropped meanwhile."""

    type = "scope-missing"


class RoleTaken(Conflict):
    """A lease of that name exists with another label, or is being ended."""

    type = "role-taken"


@dataclass(frozen=True, slots=True)
class LeaseRole:
    """`scope` is the role whose rights are inherited; `valid_until` an aware instant."""

    role: str
    scope: str
    verifier: str
    valid_until: datetime
    label_text: str
    connection_limit: int = 3
    statement_timeout_s: int = 300
    idle_in_transaction_s: int = 600
    search_path: tuple[str, ...] = ()  # empty: the scope's schema, or a sandbox's own default
    acts_as_scope: bool = False  # sessions begin as the scope's role, which owns what they make

    def __post_init__(self) -> None:
        if not self.role.startswith("sab_l_") or len(self.role.encode()) > 63:
            raise Invalid(f"{self.role!r} is no name of a lease's role")
        if not is_marked(self.label_text):
            raise Invalid("a lease carries a label")
        if self.valid_until.tzinfo is None:
            raise Invalid("the end of a lease is an instant with its zone")
        check_verifier(self.verifier)


def issue(
    target: Target, lease: LeaseRole, *, bounded: bool = True, open_session: OpenSession = session
) -> None:
    """Make the role, check what it can do, then let it log in; idempotent.

    `bounded` is for live databases: nothing but the views of the scope's schema may be readable.
    Without it (a sandbox, whose contents are the engineer's to use) the role alone is checked.
    Raises ScopeExceeded, RoleTaken, ScopeMissing, NotOurs, AccountTooWeak, ServerUnavailable.
    """
    with open_session(target) as connection:
        again_if_met(lambda: _find_or_create(connection, lease, bounded=bounded))
        try:
            check_bounds(connection, lease, bounded=bounded)
        except ScopeExceeded:
            revoke(target, lease.role)
            raise
        again_if_met(lambda: run(connection, "ALTER ROLE {role} LOGIN", role=lease.role))


def resume(
    target: Target, lease: LeaseRole, *, bounded: bool = True, open_session: OpenSession = session
) -> None:
    """Let a held role in again: give its scope back, check what it can do, then LOGIN; idempotent.

    Raises as `issue` does, and then leaves it held; RoleTaken when it is gone or being ended.
    """
    with open_session(target) as connection:
        again_if_met(lambda: _give_back(connection, lease))
        try:
            check_bounds(connection, lease, bounded=bounded)
        except ScopeExceeded:
            run(connection, "REVOKE {s} FROM {role}", s=lease.scope, role=lease.role)
            raise
        again_if_met(lambda: run(connection, "ALTER ROLE {role} LOGIN", role=lease.role))


def _give_back(connection: Connection, lease: LeaseRole) -> None:
    with connection.transaction():
        found = find_ours(connection, lease.role)
        if found is None:
            raise RoleTaken(f"the role {lease.role} is gone; end this login and make a new one")
        _check_same(found, lease)
        version = connection.info.server_version
        options = membership(version, inherit=True, settable=lease.acts_as_scope)
        connection.execute(_grant(lease.scope, [lease.role]) + options)


def check_bounds(connection: Connection, lease: LeaseRole, *, bounded: bool) -> None:
    """What the role can do is what its scope says. Raises ScopeExceeded, RoleTaken."""
    _check_role(connection, lease)
    if bounded:
        _check_scope_role(connection, lease)
        _check_relations(connection, lease)


def _find_or_create(connection: Connection, lease: LeaseRole, *, bounded: bool) -> None:
    with connection.transaction():
        found = find_ours(connection, lease.role)
        if found is not None:
            _check_same(found, lease)
            return
        scope = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [lease.scope])
        if scope.fetchone() is None:
            raise ScopeMissing(f"the scope {lease.scope} is not on this server; make it first")
        _create(connection, lease, bounded=bounded)


def _create(connection: Connection, lease: LeaseRole, *, bounded: bool) -> None:
    """All in one message to the server: each would cost a way there and back."""
    statements = creation([lease], connection.info.server_version, bounded=bounded)
    connection.execute(sql.SQL("; ").join(statements))


def creation(
    leases: Sequence[LeaseRole], version: int, *, bounded: bool, login: bool = False
) -> list[sql.Composable]:
    """The statements that make the roles with all that they have; with `login` they may log in
    once this is committed, which then must not be before they were checked.

    `version` is the server's, as libpq gives it. The order is for servers with many leases: from
    PostgreSQL 16 on our login is a member of each, and every change of a membership makes the
    server read all of them anew for the next statement that needs our rights. So what changes them
    comes in few statements, and what needs no new one between.
    """
    by_scope: dict[tuple[str, bool], list[str]] = {}
    for lease in leases:
        by_scope.setdefault((lease.scope, lease.acts_as_scope), []).append(lease.role)
    marked = membership(version, inherit=False, settable=False)
    return [
        *(_creation(lease, sql.SQL("LOGIN" if login else "NOLOGIN")) for lease in leases),
        *(one for lease in leases for one in _description(lease, bounded=bounded)),
        _grant(MARK, [lease.role for lease in leases]) + marked,
        *(
            _grant(scope, roles) + membership(version, inherit=True, settable=settable)
            for (scope, settable), roles in by_scope.items()
        ),
    ]


def _creation(lease: LeaseRole, login: sql.SQL) -> sql.Composable:
    return sql.SQL(
        "CREATE ROLE {} {} INHERIT CONNECTION LIMIT {} VALID UNTIL {} PASSWORD {}"
    ).format(
        sql.Identifier(lease.role),
        login,
        sql.Literal(lease.connection_limit),
        sql.Literal(lease.valid_until.isoformat()),
        sql.Literal(lease.verifier),
    )


def _description(lease: LeaseRole, *, bounded: bool) -> list[sql.Composable]:
    """The label, and settings for the engineer's comfort: whoever is logged in may change them."""
    role = sql.Identifier(lease.role)
    path = lease.search_path or ((lease.scope,) if bounded else ())
    settings: dict[str, sql.Composable] = {
        "statement_timeout": sql.Literal(f"{lease.statement_timeout_s}s"),
        "idle_in_transaction_session_timeout": sql.Literal(f"{lease.idle_in_transaction_s}s"),
    }
    if lease.acts_as_scope:
        settings["role"] = sql.Literal(lease.scope)
    if path:
        settings["search_path"] = sql.SQL(", ").join(map(sql.Identifier, path))
    return [
        sql.SQL("COMMENT ON ROLE {} IS {}").format(role, sql.Literal(lease.label_text)),
        *(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(role, sql.Identifier(name), value)
            for name, value in settings.items()
        ),
    ]


def _grant(role: str, to: Sequence[str]) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, to))
    return sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), names)


def _check_same(found: MarkedRole, lease: LeaseRole) -> None:
    """A second call finds the first one's work, whole; it never revives what is being ended."""
    if found.comment != lease.label_text:
        raise RoleTaken(f"the role {lease.role} exists and belongs to another lease")
    if found.valid_until is not None and found.valid_until.year == 1:
        raise RoleTaken(f"the role {lease.role} is being ended; issue a new lease")
    if found.valid_until != lease.valid_until:
        raise RoleTaken(f"the end of {lease.role} was altered by somebody else; end this lease")


def _check_role(connection: Connection, lease: LeaseRole) -> None:
    """No attribute, and exactly two memberships, each given once."""
    row = connection.execute(
        """
        SELECT r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls
                 OR EXISTS (SELECT FROM pg_auth_members m
                             WHERE m.member = r.oid AND m.admin_option)
          FROM pg_roles r WHERE r.rolname = %s
        """,
        [lease.role],
    ).fetchone()
    if row is None:
        raise RoleTaken(f"the role {lease.role} is being ended; issue a new lease")
    if row[0] or _list_memberships(connection, lease.role) != sorted([lease.scope, MARK]):
        raise _altered(lease.role, lease)


def _check_scope_role(connection: Connection, lease: LeaseRole) -> None:
    """The scope's role inherits from nobody."""
    if _list_memberships(connection, lease.scope) != [MARK]:
        raise _altered(lease.scope, lease)


def _list_memberships(connection: Connection, role: str) -> list[str]:
    rows = connection.execute(
        "SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid"
        " WHERE m.member = to_regrole(quote_ident(%s))",
        [role],
    ).fetchall()
    return sorted(name for (name,) in rows)


def _altered(role: str, lease: LeaseRole) -> ScopeExceeded:
    return ScopeExceeded(
        f"the role {role} has attributes or memberships that the broker did not give it; "
        f"the lease's role {lease.role} lets nobody in",
        relations=[],
        sql="",
    )


# What the role may do, by the server's own rules, so that grants to PUBLIC count. Within the
# scope's schema only SELECT on views is meant: the key's table is there too.
EXCESS = """
    WITH role AS (SELECT oid, rolname FROM pg_roles WHERE rolname = %(role)s),
    relation AS (
        SELECT c.oid, n.nspname, c.relname, c.relkind, c.relacl,
               n.nspname = %(scope)s AND c.relkind = 'v' AS meant
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
           AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
           AND n.nspname !~ '^pg_(toast_)?temp_[0-9]+$')
    SELECT CASE WHEN c.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
           format('%%I.%%I', c.nspname, c.relname),
           ARRAY(SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC'
                                 ELSE quote_ident(pg_get_userbyid(a.grantee)) END
                   FROM (SELECT c.relacl AS acl
                         UNION ALL SELECT attacl FROM pg_attribute WHERE attrelid = c.oid) AS acls,
                        aclexplode(acl) AS a
                  WHERE a.grantee = 0 OR pg_has_role(role.oid, a.grantee, 'USAGE'))
      FROM relation c, role
     WHERE CASE WHEN c.relkind = 'S'
                THEN has_sequence_privilege(role.oid, c.oid, 'USAGE, SELECT, UPDATE')
                ELSE has_table_privilege(role.oid, c.oid,
                         'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                  OR has_any_column_privilege(role.oid, c.oid, 'INSERT, UPDATE, REFERENCES')
                  OR NOT c.meant AND has_any_column_privilege(role.oid, c.oid, 'SELECT') END
    UNION ALL
    SELECT 'SCHEMA', format('%%I', n.nspname), ARRAY['PUBLIC']
      FROM pg_namespace n, role WHERE has_schema_privilege(role.oid, n.oid, 'CREATE')
    UNION ALL
    SELECT 'DATABASE', format('%%I', current_database()), ARRAY['PUBLIC']
      FROM role WHERE has_database_privilege(role.oid, current_database(), 'CREATE')
     ORDER BY 1, 2
"""


def _check_relations(connection: Connection, lease: LeaseRole) -> None:
    rows = connection.execute(EXCESS, {"role": lease.role, "scope": lease.scope}).fetchall()
    if not rows:
        return
    mends = [
        f"REVOKE {'CREATE' if kind in _PLACES else 'ALL'} ON {kind} {name} FROM {who};"
        for kind, name, grantees in rows
        for who in grantees
    ]
    names = [name for _, name, _ in rows]
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    raise ScopeExceeded(
        f"the role would reach more than its scope: {', '.join(names[:_NAMED])}{more}; "
        f"the DBA can mend it with: {' '.join(mends[:_NAMED])}",
        relations=names,
        sql=" ".join(mends),
    )
