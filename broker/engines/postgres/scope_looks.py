"""A scope tried out after it was made, by a throw-away login of the same scope: it gives what the
plan says, no less and no more.

The broker does not know any lease's password, so it makes a login of its own on the new scope,
signs in as an engineer would, and ends it before the first lease is issued. What that session can
reach is asked of the server's own rules, so that grants to PUBLIC, inherited roles and default
privileges count; each view is really read, of no row; the keys really are refused. Whatever would
lead around the views is a refusal too: a function with its owner's rights, another server, a large
object. The look before each login (`leases`) asks again for relations.

What must stay true: the throw-away login is ended by the same recipe as any lease, also when the
look fails; what a crash leaves of it is an orphan by its label, and ends itself within minutes.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Final

import psycopg
from psycopg import sql

from broker.engines import Target
from broker.engines.postgres import leases
from broker.engines.postgres.leases import LeaseRole
from broker.engines.postgres.looks import Connection, find_ours, session
from broker.engines.postgres.revoking import revoke
from broker.engines.postgres.scopes import OWN_NAMES, Scope
from broker.engines.postgres.scram import make_verifier, new_password
from broker.errors import Conflict
from broker.faults import crash_point
from broker.labels import Label
from broker.secret import Secret

_NAMED = 10  # objects in a sentence; all are in the facts
# As an engineer's session has it: a view over tables with row security is read under its policies.
_OPTIONS: Final = {"row_security": "on", "default_transaction_read_only": "on"}

_SOON: Final = "SELECT clock_timestamp() + interval '2 minutes'"

# All that this session's login can read outside the system's own schemas: the columns, and whether
# it is a view of the scope's owner, and a barrier.
_READABLE: Final = """
    SELECT n.nspname, c.relname, c.relkind = 'v' AND c.relowner = to_regrole(%(owner)s)
             AND coalesce('security_barrier=true' = ANY (c.reloptions), false),
           ARRAY(SELECT a.attname::text FROM pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                    AND has_column_privilege(c.oid, a.attnum, 'SELECT')
                  ORDER BY a.attnum)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
       AND n.nspname NOT IN ('pg_catalog', 'information_schema')
       AND has_schema_privilege(n.oid, 'USAGE')
       AND has_any_column_privilege(c.oid, 'SELECT')
"""

# What leads around a view, and what closes the way. Only objects of this database have an SQL.
_WAYS_AROUND: Final = """
    SELECT 'functions that run with their owner''s rights', p.oid::regprocedure::text,
           format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC;', p.oid::regprocedure)
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE p.oid >= 16384 AND p.prosecdef
       AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
       AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
    UNION ALL
    SELECT 'functions of dblink or the like', p.oid::regprocedure::text,
           format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC;', p.oid::regprocedure)
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
           JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                           AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
           JOIN pg_extension e ON e.oid = d.refobjid
     WHERE e.extname = ANY (ARRAY['dblink', 'http', 'pg_net', 'plproxy', 'aws_s3', 'pg_cron'])
       AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
    UNION ALL
    SELECT 'foreign servers', quote_ident(s.srvname),
           format('REVOKE USAGE ON FOREIGN SERVER %I FROM PUBLIC;', s.srvname)
      FROM pg_foreign_server s WHERE has_server_privilege(s.oid, 'USAGE')
    UNION ALL
    SELECT 'large objects', l.oid::text,
           format('REVOKE ALL ON LARGE OBJECT %s FROM PUBLIC;', l.oid)
      FROM pg_largeobject_metadata l
     WHERE EXISTS (SELECT FROM aclexplode(l.lomacl) a
                    WHERE a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE'))
    UNION ALL
    SELECT 'roles of the server', quote_ident(r.rolname),
           format('REVOKE %I FROM %s;', r.rolname, m.member::regrole)
      FROM pg_roles r JOIN pg_auth_members m ON m.roleid = r.oid
     WHERE r.rolname = ANY (ARRAY['pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files',
                                  'pg_write_server_files', 'pg_execute_server_program',
                                  'pg_monitor', 'pg_read_all_stats', 'sab_reader'])
       AND pg_has_role(m.member, 'MEMBER')
     ORDER BY 1, 2
"""


class ScopeNotAsPlanned(Conflict):
    """What the scope gives is not what the plan says; no login is made on it.

    `facts['objects']` are those that lead around it, `facts['sql']` what closes those ways.
    """

    type = "scope-not-as-planned"


def try_out(
    target: Target, scope: Scope, label: Label, key: Secret[bytes], *, shared: bool
) -> None:
    """Make the login `label.place` on the scope, look through it, and end it.

    `label` is a lease's whose end is near. `shared`: others than this tenant have rows in the
    database, and no name of an object is told. Raises ScopeNotAsPlanned, ScopeExceeded, and
    whatever keeps the login from being made, let in or ended.
    """
    with session(target) as ours:
        is_left = find_ours(ours, label.place) is not None
        (soon,) = ours.execute(_SOON).fetchone() or (label.end,)
    if is_left:  # by a try that was cut short: its password is lost
        revoke(target, label.place)
    password = new_password()
    login = LeaseRole(
        role=label.place,
        scope=scope.name,
        verifier=make_verifier(password),
        valid_until=max(label.end, soon),  # by its clock, which may be ahead of ours
        label_text=label.text(key),
        connection_limit=1,
    )
    leases.issue(target, login)
    crash_point("scope-login-made")
    try:
        as_engineer = dataclasses.replace(
            target, user=login.role, password=password, next_password=None
        )
        with session(as_engineer, options=_OPTIONS) as connection:
            check_reach(connection, scope, shared=shared)
    finally:
        revoke(target, login.role)


def check_reach(connection: Connection, scope: Scope, *, shared: bool) -> None:
    """What the session's own login reaches, against the plan. Raises ScopeNotAsPlanned."""
    ways: list[tuple[str, str, str]] = connection.execute(_WAYS_AROUND).fetchall()
    problems = [*_compare_readable(connection, scope), *_read_views(connection, scope)]
    problems += _describe(ways, shared=shared)
    if problems:
        raise ScopeNotAsPlanned(
            f"the scope {scope.name} is not what the plan says: {'; '.join(problems)}; "
            "let an operator look at the database's preflight, then ask again",
            objects=[] if shared else [name for _, name, _ in ways],
            sql="" if shared else " ".join(mend for _, _, mend in ways),
        )


def _compare_readable(connection: Connection, scope: Scope) -> Iterator[str]:
    rows = connection.execute(_READABLE, {"owner": scope.owner}).fetchall()
    found = {(schema, name): (is_ours, tuple(columns)) for schema, name, is_ours, columns in rows}
    planned = {(scope.name, view.name): (True, view.columns) for view in scope.views}
    odd = sorted(key for key in found.keys() | planned.keys() if found.get(key) != planned.get(key))
    if odd:
        yield f"it differs in {_list(name for _, name in odd)}"


def _read_views(connection: Connection, scope: Scope) -> Iterator[str]:
    """Views are read, and the tables of keys are not; nothing is asked of any row."""
    for view in scope.views:
        if (why := _find_refusal(connection, scope.name, view.name)) is not None:
            yield f"{view.name} can't be read ({why})"
    for name in sorted(OWN_NAMES):
        if _find_refusal(connection, scope.name, name) is None:
            yield "it gives its own keys"


def _find_refusal(connection: Connection, schema: str, name: str) -> str | None:
    query = sql.SQL("SELECT * FROM {} LIMIT 0").format(sql.Identifier(schema, name))
    try:
        connection.execute(query)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:  # the code alone: its words may name what others have
        return f"SQLSTATE {error.sqlstate}"
    return None


def _describe(ways: Sequence[tuple[str, str, str]], *, shared: bool) -> Iterator[str]:
    for what, these in itertools.groupby(ways, key=lambda way: way[0]):
        names = [name for _, name, _ in these]
        told = "" if shared else f" ({_list(names)})"
        yield f"it may use {len(names)} {what} that lead around it{told}"


def _list(names: Sequence[str] | Iterator[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
