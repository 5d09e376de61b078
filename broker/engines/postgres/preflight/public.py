"""What PUBLIC may do: every login of the server has it, so every lease has it too.

A lease inherits one scope, and a scope is views alone; whatever else it can do comes from here.
Each question gives rows of (kind, quoted name, privileges, grantor unless it is the owner).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from broker.engines.postgres.preflight.findings import Finding, Place, listed, revokes, script

_DATABASE: Final = """
    SELECT 'DATABASE', quote_ident(d.datname),
           string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type),
           nullif(a.grantor, d.datdba)::regrole::text
      FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
     WHERE d.datname = current_database() AND a.grantee = 0
     GROUP BY d.datname, d.datdba, a.grantor ORDER BY 4 NULLS FIRST
"""

_OTHER_DATABASES: Final = """
    SELECT 'DATABASE', quote_ident(d.datname), 'CONNECT, TEMPORARY',
           nullif(a.grantor, d.datdba)::regrole::text
      FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
     WHERE d.datname <> current_database() AND d.datallowconn
       AND a.grantee = 0 AND a.privilege_type = 'CONNECT'
     ORDER BY 2, 4 NULLS FIRST
"""

_SCHEMAS: Final = """
    SELECT 'SCHEMA', quote_ident(n.nspname), 'CREATE', nullif(a.grantor, n.nspowner)::regrole::text
      FROM pg_namespace n, aclexplode(n.nspacl) a
     WHERE a.grantee = 0 AND a.privilege_type = 'CREATE'
     ORDER BY 2, 4 NULLS FIRST
"""

# As the look before each login asks it (leases.py): also what belongs to an extension.
_RELATIONS: Final = """
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
           format('%%I.%%I', n.nspname, c.relname), 'ALL',
           nullif(given.grantor, c.relowner)::regrole::text
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
           LATERAL (SELECT DISTINCT a.grantor
                      FROM (SELECT c.relacl AS acl UNION ALL
                            SELECT attacl FROM pg_attribute WHERE attrelid = c.oid) acls,
                           aclexplode(acls.acl) a
                     WHERE a.grantee = 0) given
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
       AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
       AND n.nspname !~ '^pg_(toast_)?temp_[0-9]+$'
     ORDER BY 2, 4 NULLS FIRST
"""

# What PostgreSQL was born with stands in pg_init_privs; where it has no line, nothing was granted
# on a relation, and EXECUTE to PUBLIC on a function. The information schema has none: it shows to
# each who asks what is theirs.
_SYSTEM: Final = """
    WITH held AS (
        SELECT 'pg_class'::regclass AS class, oid, 0 AS part, relowner AS owner, relacl AS acl,
               'TABLE' AS kind, 'pg_catalog.' || quote_ident(relname) AS name, '' AS suffix
          FROM pg_class WHERE oid < 16384 AND relnamespace = 'pg_catalog'::regnamespace
        UNION ALL
        SELECT 'pg_class'::regclass, c.oid, t.attnum, c.relowner, t.attacl,
               'TABLE', 'pg_catalog.' || quote_ident(c.relname), format(' (%%I)', t.attname)
          FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid
         WHERE c.oid < 16384 AND c.relnamespace = 'pg_catalog'::regnamespace
        UNION ALL
        SELECT 'pg_proc'::regclass, p.oid, 0, p.proowner, p.proacl,
               'FUNCTION', 'pg_catalog.' || p.oid::regprocedure, ''
          FROM pg_proc p
         WHERE p.oid < 16384 AND p.pronamespace = 'pg_catalog'::regnamespace
           AND EXISTS (SELECT FROM pg_init_privs i
                        WHERE i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid))
    SELECT h.kind, h.name, string_agg(a.privilege_type || h.suffix, ', '),
           nullif(a.grantor, h.owner)::regrole::text
      FROM held h, aclexplode(h.acl) a
     WHERE a.grantee = 0
       AND NOT EXISTS (SELECT FROM pg_init_privs i, aclexplode(i.initprivs) b
                        WHERE i.classoid = h.class AND i.objoid = h.oid AND i.objsubid = h.part
                          AND b.grantee = 0 AND b.privilege_type = a.privilege_type)
     GROUP BY h.kind, h.name, h.owner, a.grantor ORDER BY 2, 4 NULLS FIRST
"""

_LARGE_OBJECTS: Final = """
    SELECT 'LARGE OBJECT', l.oid::text, 'ALL', nullif(a.grantor, l.lomowner)::regrole::text
      FROM pg_largeobject_metadata l, aclexplode(l.lomacl) a WHERE a.grantee = 0
     GROUP BY l.oid, l.lomowner, a.grantor ORDER BY l.oid, 4 NULLS FIRST
"""

_PARAMETERS: Final = """
    SELECT 'PARAMETER', quote_ident(p.parname),
           string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type), NULL
      FROM pg_parameter_acl p, aclexplode(p.paracl) a WHERE a.grantee = 0
     GROUP BY p.parname ORDER BY 2
"""

_KINDS = {"r": "TABLES", "S": "SEQUENCES", "n": "SCHEMAS", "f": "FUNCTIONS", "L": "LARGE OBJECTS"}
# Without a schema, PUBLIC's EXECUTE is PostgreSQL's own default and only stands there again.
_DEFAULTS: Final = """
    SELECT DISTINCT d.defaclobjtype::text, quote_ident(pg_get_userbyid(d.defaclrole)),
           coalesce(quote_ident(n.nspname), '')
      FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace,
           aclexplode(d.defaclacl) a
     WHERE a.grantee = 0
       AND (d.defaclobjtype IN ('r', 'S', 'n', 'L')
            OR d.defaclobjtype = 'f' AND d.defaclnamespace <> 0)
     ORDER BY 2, 3, 1
"""


def check_database(place: Place) -> Iterator[Finding]:
    rows = place.rows(_DATABASE)
    if not rows:
        return
    # Whoever comes in through PUBLIC alone would be shut out with it.
    keepers = place.names(
        "SELECT quote_ident(rolname) FROM pg_roles WHERE rolname = ANY (%(known)s)"
        " AND rolcanlogin AND NOT rolsuper AND rolname <> current_user ORDER BY 1"
    )
    keep = script(
        f"GRANT CONNECT, TEMPORARY ON DATABASE {place.database} TO {role}" for role in keepers
    )
    yield Finding(
        "database-public",
        "fatal",
        f"PUBLIC holds {', '.join(row[2] for row in rows)} on this database",
        "Every login of the server may enter or make objects here, the leases of other databases "
        "too. Before you revoke it, grant CONNECT by name to each role that needs it: the "
        "statements name those that are registered.",
        f"{keep}\n{revokes(rows)}".strip(),
    )


def check_other_databases(place: Place) -> Iterator[Finding]:
    rows = place.rows(_OTHER_DATABASES)
    if rows:
        yield Finding(
            "other-databases-public",
            "warning",
            f"PUBLIC may connect to other databases of this server: {_names(rows)}",
            "A lease could log in there and use what PUBLIC may do there; none of it is checked "
            "from here. Before you revoke it, grant CONNECT by name to the roles that need it.",
            revokes(rows),
        )


def check_test_server_databases(place: Place) -> Iterator[Finding]:
    """Sandboxes are left out: each closes itself in the moment after it was made."""
    labelled = place.names(
        "SELECT quote_ident(datname) FROM pg_database"
        " WHERE shobj_description(oid, 'pg_database') LIKE 'sab1 %%' OR datname ~ '^sab_'"
    )
    rows = [
        ("DATABASE", row[1], "CONNECT, TEMPORARY", row[3])
        for row in place.rows(_DATABASE) + place.rows(_OTHER_DATABASES)
        if row[1] not in labelled
    ]
    if rows:
        yield Finding(
            "server-databases-public",
            "fatal",
            f"PUBLIC may connect to: {_names(rows)}",
            "A sandbox's logins reach their own database only; in a shared one two tenants' code "
            "could meet.",
            revokes(rows),
        )


def check_schemas(place: Place) -> Iterator[Finding]:
    rows = place.rows(_SCHEMAS)
    if rows:
        yield Finding(
            "schema-create-public",
            "fatal",
            f"PUBLIC may create objects in: {_names(rows)}",
            "A lease could keep rows in tables of its own, or put a function where the "
            "application's next call finds it. Issuing is refused.",
            revokes(rows),
        )


def check_relations(place: Place) -> Iterator[Finding]:
    rows = place.rows(_RELATIONS)
    if rows:
        yield Finding(
            "relation-public",
            "fatal",
            f"PUBLIC has privileges on: {_names(rows)}",
            "Every lease would have them too, unmasked and without regard to its scope. Issuing "
            "is refused. Roles of the application that rely on PUBLIC need the grant by name.",
            revokes(rows),
        )


def check_system(place: Place) -> Iterator[Finding]:
    rows = place.rows(_SYSTEM)
    if rows:
        yield Finding(
            "system-public",
            "fatal",
            f"PUBLIC may use what PostgreSQL keeps closed: {_names(rows)}",
            "Among these are password verifiers (pg_authid), values of your tables (pg_statistic) "
            "and the server's files (pg_read_file).",
            revokes(rows),
        )


def check_large_objects(place: Place) -> Iterator[Finding]:
    rows = place.rows(_LARGE_OBJECTS)
    if rows:
        yield Finding(
            "large-object-public",
            "fatal",
            f"PUBLIC has privileges on large objects: {_names(rows)}",
            "No scope names large objects and no mask covers them.",
            revokes(rows),
        )


def check_parameters(place: Place) -> Iterator[Finding]:
    rows = place.rows(_PARAMETERS)
    if rows:
        yield Finding(
            "parameter-public",
            "warning",
            f"PUBLIC may set parameters that are a superuser's: {_names(rows)}",
            "A lease could turn off logging of what it does, or load a library.",
            revokes(rows),
        )


def check_default_privileges(place: Place) -> Iterator[Finding]:
    rows = place.rows(_DEFAULTS)
    if rows:
        yield Finding(
            "default-privileges-public",
            "warning",
            "PUBLIC will have privileges on what is made later: "
            + listed(
                f"{_KINDS[kind].lower()} of {role}" + (f" in {schema}" if schema else "")
                for kind, role, schema in rows
            ),
            "The next such object makes every issue fail, or is open to every lease.",
            script(
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {role}"
                + (f" IN SCHEMA {schema}" if schema else "")
                + f" REVOKE ALL ON {_KINDS[kind]} FROM PUBLIC"
                for kind, role, schema in rows
            ),
        )


def _names(rows: list[tuple[str, str, str, str | None]]) -> str:
    return listed(dict.fromkeys(row[1] for row in rows))
