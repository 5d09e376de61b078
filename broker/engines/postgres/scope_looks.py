"""A look at a scope after it was made, from a new session: it gives what the plan says, no less
and no more.

What a login of the scope can do is asked of the server's own rules, so that grants to PUBLIC,
inherited roles and default privileges count. Where tenants share the database, whatever would lead
around the views is a refusal too: a function with its owner's rights, another server, a large
object. The look before each login (`leases`) asks again for relations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from broker.engines import Target
from broker.engines.postgres.looks import Connection, session
from broker.engines.postgres.scopes import Scope
from broker.errors import Conflict

# Relations of the scope's schema that the scope's role can read: the columns, whether the view is
# the owner's, and whether it is a barrier.
_VIEWS: Final = """
    SELECT c.relname, c.relkind = 'v' AND c.relowner = to_regrole(%(owner)s)
             AND coalesce('security_barrier=true' = ANY (c.reloptions), false),
           ARRAY(SELECT a.attname::text FROM pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                    AND has_column_privilege(to_regrole(%(role)s)::oid, c.oid, a.attnum, 'SELECT')
                  ORDER BY a.attnum)
      FROM pg_class c
     WHERE c.relnamespace = to_regnamespace(%(role)s)
       AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
       AND has_any_column_privilege(to_regrole(%(role)s)::oid, c.oid, 'SELECT')
"""

# Schemas, and what in them or beside them leads around a view. Names stay on the server: they may
# be another tenant's.
_WAYS_AROUND: Final = """
    SELECT 'functions that run with their owner''s rights', count(*)
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE p.oid >= 16384 AND p.prosecdef
       AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
       AND has_schema_privilege(to_regrole(%(role)s)::oid, n.oid, 'USAGE')
       AND has_function_privilege(to_regrole(%(role)s)::oid, p.oid, 'EXECUTE')
    UNION ALL
    SELECT 'functions of dblink or the like', count(*)
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
           JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                           AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
           JOIN pg_extension e ON e.oid = d.refobjid
     WHERE e.extname = ANY (ARRAY['dblink', 'http', 'pg_net', 'plproxy', 'aws_s3', 'pg_cron'])
       AND has_schema_privilege(to_regrole(%(role)s)::oid, n.oid, 'USAGE')
       AND has_function_privilege(to_regrole(%(role)s)::oid, p.oid, 'EXECUTE')
    UNION ALL
    SELECT 'foreign servers', count(*) FROM pg_foreign_server s
     WHERE has_server_privilege(to_regrole(%(role)s)::oid, s.oid, 'USAGE')
    UNION ALL
    SELECT 'large objects', count(*) FROM pg_largeobject_metadata l
     WHERE EXISTS (SELECT FROM aclexplode(l.lomacl) a
                    WHERE a.grantee IN (0, to_regrole(%(role)s)::oid))
    UNION ALL
    SELECT 'roles of the server', count(*)
      FROM unnest(ARRAY['pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files',
                        'pg_write_server_files', 'pg_execute_server_program', 'pg_monitor',
                        'pg_read_all_stats', 'sab_reader']) AS r(name)
     WHERE pg_has_role(to_regrole(%(role)s)::oid, to_regrole(r.name)::oid, 'MEMBER')
"""


class ScopeNotAsPlanned(Conflict):
    """What the scope gives is not what the plan says; no login is made on it."""

    type = "scope-not-as-planned"


def check_scope(target: Target, scope: Scope, *, shared: bool) -> None:
    """Raises ScopeNotAsPlanned. `shared`: others than this tenant have rows in the database."""
    with session(target) as connection:
        problems = [*_compare_views(connection, scope)]
        problems += _find_ways_around(connection, scope) if shared else []
    if problems:
        raise ScopeNotAsPlanned(
            f"the scope {scope.name} is not what the plan says: {'; '.join(problems)}; "
            "let an operator look at the database's preflight, then ask again"
        )


def _compare_views(connection: Connection, scope: Scope) -> Sequence[str]:
    rows = connection.execute(_VIEWS, {"role": scope.name, "owner": scope.owner}).fetchall()
    found = {name: (is_ours, tuple(columns)) for name, is_ours, columns in rows}
    planned = {view.name: (True, view.columns) for view in scope.views}
    odd = sorted(
        name for name in found.keys() | planned.keys() if found.get(name) != planned.get(name)
    )
    return [f"it differs in {', '.join(odd[:10])}"] if odd else []


def _find_ways_around(connection: Connection, scope: Scope) -> Sequence[str]:
    rows = connection.execute(_WAYS_AROUND, {"role": scope.name}).fetchall()
    return [f"it may use {count} {what} that lead around it" for what, count in rows if count]
