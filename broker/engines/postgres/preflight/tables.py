"""What sab_reader lacks of the registered schemas: what can't be read can't be shown or copied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from broker.engines.postgres.account import READER
from broker.engines.postgres.preflight.findings import Finding, Place, listed, script

_SCHEMAS: Final = """
    SELECT s.name, quote_ident(s.name), n.oid IS NOT NULL,
           coalesce(has_schema_privilege(to_regrole(%(reader)s)::oid, n.oid, 'USAGE'), false)
      FROM unnest(%(schemas)s::text[]) AS s(name)
           LEFT JOIN pg_namespace n ON n.nspname = s.name
     ORDER BY 1
"""

_RELATIONS: Final = """
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
           format('%%I.%%I', n.nspname, c.relname)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p', 'S')
       AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
                          AND e.objid = c.oid AND e.deptype = 'e')
       AND NOT CASE WHEN c.relkind = 'S'
                    THEN has_sequence_privilege(to_regrole(%(reader)s)::oid, c.oid, 'SELECT')
                    ELSE has_table_privilege(to_regrole(%(reader)s)::oid, c.oid, 'SELECT') END
     ORDER BY 1, 2
"""

# Who owns tables there will make the next one. Default privileges are each maker's own.
_MAKERS: Final = """
    SELECT DISTINCT quote_ident(r.rolname), quote_ident(n.nspname), k.kind
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_roles r ON r.oid = c.relowner,
           (VALUES ('r'::"char", 'TABLES'), ('S'::"char", 'SEQUENCES')) AS k(type, kind)
     WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p')
       AND to_regrole(%(reader)s) IS NOT NULL
       AND NOT EXISTS (SELECT FROM pg_default_acl d, aclexplode(d.defaclacl) a
                        WHERE d.defaclrole = c.relowner AND d.defaclobjtype = k.type
                          AND d.defaclnamespace IN (0, n.oid)
                          AND a.grantee = to_regrole(%(reader)s)::oid
                          AND a.privilege_type = 'SELECT')
     ORDER BY 1, 2, 3
"""


def check_schema_usage(place: Place) -> Iterator[Finding]:
    rows = place.rows(_SCHEMAS)
    absent = [name for _, name, exists, _ in rows if not exists]
    if absent:
        yield Finding(
            "schema-missing",
            "fatal",
            f"registered schemas are not there: {listed(absent)}",
            "No plan can be made. Register the database with the schemas that it has.",
        )
    closed = [name for _, name, exists, usable in rows if exists and not usable]
    if closed:
        yield Finding(
            "missing-usage",
            "fatal",
            f"{READER} may not use: {listed(closed)}",
            "Nothing in these schemas can be shown or copied.",
            script(f"GRANT USAGE ON SCHEMA {name} TO {READER}" for name in closed),
        )


def check_select(place: Place) -> Iterator[Finding]:
    rows = place.rows(_RELATIONS)
    if rows:
        yield Finding(
            "missing-select",
            "warning",
            f"{READER} may not read: {listed(name for _, name in rows)}",
            "Scopes and copies that name one of these fail; the others work.",
            script(f"GRANT SELECT ON {kind} {name} TO {READER}" for kind, name in rows),
        )


def check_later_tables(place: Place) -> Iterator[Finding]:
    rows = place.rows(_MAKERS)
    if rows:
        yield Finding(
            "missing-default-select",
            "note",
            f"{READER} will not read what these make later: "
            + listed(dict.fromkeys(f"{role} in {schema}" for role, schema, _ in rows)),
            "A new table is then missing from scopes and copies until it is granted.",
            script(
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {role} IN SCHEMA {schema}"
                f" GRANT SELECT ON {kind} TO {READER}"
                for role, schema, kind in rows
            ),
        )
