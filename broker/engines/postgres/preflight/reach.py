"""Ways past the tables' privileges: functions with other rights, servers elsewhere, row security.

Nothing of the tenant's is called, and no definition leaves the server: only names do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, LiteralString

from broker.engines.postgres.preflight.findings import Finding, Place, listed, revokes, script

# Extensions whose functions read files, reach other servers, or run something later.
_REACHING: Final[LiteralString] = (
    "ARRAY['adminpack', 'aws_lambda', 'aws_s3', 'azure_storage', 'dblink', 'file_fdw', 'http',"
    " 'mysql_fdw', 'oracle_fdw', 'pageinspect', 'pg_background', 'pg_cron', 'pg_net',"
    " 'pg_walinspect', 'plproxy', 'postgres_fdw', 'tds_fdw']::name[]"
)

# A routine that PUBLIC may execute and whose schema it may use. Trigger functions can't be called.
_CALLABLE: Final[LiteralString] = """
    SELECT 'ROUTINE', p.oid::regprocedure::text, 'EXECUTE',
           nullif(a.grantor, p.proowner)::regrole::text
      FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
           JOIN pg_namespace n ON n.oid = p.pronamespace,
           aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
     WHERE p.oid >= 16384 AND a.grantee = 0 AND a.privilege_type = 'EXECUTE'
       AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype,
                                'fdw_handler'::regtype, 'language_handler'::regtype)
       AND EXISTS (SELECT FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) u
                    WHERE u.grantee = 0 AND u.privilege_type = 'USAGE')
"""
_IN_REACHING: Final[LiteralString] = (
    """ EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                 WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                   AND d.refclassid = 'pg_extension'::regclass
                   AND e.extname = ANY ("""
    + _REACHING
    + """)
                   AND NOT EXISTS (SELECT FROM pg_foreign_data_wrapper w
                                    WHERE w.fdwvalidator = p.oid)) """
)

_FOREIGN: Final = """
    SELECT 'FOREIGN DATA WRAPPER', quote_ident(w.fdwname), 'USAGE',
           nullif(a.grantor, w.fdwowner)::regrole::text
      FROM pg_foreign_data_wrapper w, aclexplode(w.fdwacl) a WHERE a.grantee = 0
    UNION ALL
    SELECT 'FOREIGN SERVER', quote_ident(s.srvname), 'USAGE',
           nullif(a.grantor, s.srvowner)::regrole::text
      FROM pg_foreign_server s, aclexplode(s.srvacl) a WHERE a.grantee = 0
     ORDER BY 1, 2
"""

# The stored tree names functions by oid, so nothing is taken apart or printed. A policy that calls
# a function which reads the setting counts too. A restrictive policy that reads none closes it.
_SETTING_POLICIES: Final = r"""
    WITH reading AS (
        SELECT p.oid, p.polrelid, p.polname, p.polpermissive, p.polroles,
               concat(p.polqual, p.polwithcheck) ~ (
                   ':funcid (' || 'current_setting(text)'::regprocedure::oid
                   || '|' || 'current_setting(text,boolean)'::regprocedure::oid || ')\M')
               OR EXISTS (
                   SELECT FROM pg_depend d JOIN pg_proc f ON f.oid = d.refobjid
                    WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid
                      AND d.refclassid = 'pg_proc'::regclass
                      AND concat(f.prosrc, f.prosqlbody) ~* (
                          'current_setting|:funcid ('
                          || 'current_setting(text)'::regprocedure::oid || '|'
                          || 'current_setting(text,boolean)'::regprocedure::oid || ')\M'))
               AS by_setting
          FROM pg_policy p)
    SELECT format('%%I on %%I.%%I', r.polname, n.nspname, c.relname)
      FROM reading r JOIN pg_class c ON c.oid = r.polrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE r.by_setting AND c.relrowsecurity AND n.nspname = ANY (%(schemas)s)
       AND NOT EXISTS (
           SELECT FROM reading k
            WHERE k.polrelid = r.polrelid AND NOT k.polpermissive AND NOT k.by_setting
              AND (0 = ANY (k.polroles) OR to_regrole(%(reader)s)::oid = ANY (k.polroles)))
     ORDER BY 1
"""


def check_definers(place: Place) -> Iterator[Finding]:
    rows = place.rows(
        _CALLABLE
        + " AND (p.prosecdef OR NOT l.lanpltrusted AND l.lanname NOT IN ('c', 'internal'))"
        + " AND NOT "
        + _IN_REACHING
        + " ORDER BY 2, 4 NULLS FIRST"
    )
    if rows:
        yield Finding(
            "definer-function-public",
            "fatal",
            "PUBLIC may call functions that run with their owner's rights, or with the operating "
            f"system's: {listed(row[1] for row in rows)}",
            "Through one a lease may read or change what its scope does not give. Grant EXECUTE by "
            "name to the roles that need it.",
            revokes(rows),
        )


def check_extensions(place: Place) -> Iterator[Finding]:
    rows = place.rows(_CALLABLE + " AND " + _IN_REACHING + " ORDER BY 2, 4 NULLS FIRST")
    if rows:
        yield Finding(
            "extension-reaches-out",
            "fatal",
            "PUBLIC may call functions that reach other servers, files or later times: "
            + listed(row[1] for row in rows),
            "A lease could carry rows out, or in through a trusted connection from this server to "
            "itself. Grant EXECUTE by name to the roles that need it.",
            revokes(rows),
        )
        return
    installed = place.names(
        "SELECT quote_ident(extname) FROM pg_extension WHERE extname = ANY ("
        + _REACHING
        + ") ORDER BY 1"
    )
    if installed:
        yield Finding(
            "extension-installed",
            "note",
            f"extensions that can reach out are installed: {listed(installed)}",
            "PUBLIC can call none of their functions, so a lease can't.",
        )


def check_available_extensions(place: Place) -> Iterator[Finding]:
    names = place.names(
        "SELECT quote_ident(name) FROM pg_available_extensions WHERE name = ANY ("
        + _REACHING
        + ") ORDER BY 1"
    )
    if names:
        yield Finding(
            "extension-available",
            "note",
            f"extensions that can reach out stand ready on this server: {listed(names)}",
            "Only a superuser can create them, and no copy does; a test server without their "
            "packages is safer still.",
        )


def check_languages(place: Place) -> Iterator[Finding]:
    rows = place.rows(
        "SELECT quote_ident(l.lanname), coalesce('EXTENSION ' || quote_ident(e.extname),"
        " 'LANGUAGE ' || quote_ident(l.lanname)) FROM pg_language l"
        " LEFT JOIN pg_depend d ON d.classid = 'pg_language'::regclass AND d.objid = l.oid"
        " AND d.deptype = 'e' LEFT JOIN pg_extension e ON e.oid = d.refobjid"
        " WHERE NOT l.lanpltrusted AND l.lanname NOT IN ('c', 'internal') ORDER BY 1"
    )
    if rows:
        yield Finding(
            "untrusted-language",
            "warning",
            f"languages without a fence are installed: {listed(row[0] for row in rows)}",
            "A function in one runs with the rights of the server's own account on its machine; "
            "a mistake in one that the application calls is a way out. Drop what nobody uses.",
            script(f"DROP {what}" for _, what in rows),
        )


def check_foreign(place: Place) -> Iterator[Finding]:
    rows = place.rows(_FOREIGN)
    if rows:
        yield Finding(
            "foreign-server-public",
            "fatal",
            f"PUBLIC may use foreign servers or wrappers: {listed(row[1] for row in rows)}",
            "A lease could ask those servers through this one.",
            revokes(rows),
        )
    mapped = place.names(
        "SELECT quote_ident(srvname) FROM pg_user_mappings WHERE umuser = 0 ORDER BY 1"
    )
    if mapped:
        yield Finding(
            "user-mapping-public",
            "fatal",
            f"everybody is known to these foreign servers, leases too: {listed(mapped)}",
            "The mapping lends the same login there to whoever asks.",
            script(f"DROP USER MAPPING FOR PUBLIC SERVER {name}" for name in mapped),
        )


def check_setting_policies(place: Place) -> Iterator[Finding]:
    names = place.names(_SETTING_POLICIES)
    if names:
        yield Finding(
            "policy-by-setting",
            "warning",
            f"row security follows a setting that any user may set: {listed(names)}",
            "Whoever has SQL sets it to another tenant. Scopes put the tenant into their views as "
            "a literal; for a second wall add a policy AS RESTRICTIVE FOR SELECT TO sab_reader "
            "that names the tenant and reads no setting.",
        )


def check_row_security(place: Place) -> Iterator[Finding]:
    names = place.names(
        "SELECT format('%%I.%%I', n.nspname, c.relname)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relrowsecurity AND n.nspname = ANY (%(schemas)s) ORDER BY 1"
    )
    if names:
        yield Finding(
            "row-security",
            "note",
            f"tables with row security: {listed(names)}",
            "A scope shows of them what their policies give to sab_reader. A copy of them is "
            "refused unless the broker's login has BYPASSRLS.",
        )


def check_event_triggers(place: Place) -> Iterator[Finding]:
    names = place.names(
        "SELECT quote_ident(evtname) FROM pg_event_trigger"
        " WHERE evtenabled IN ('O', 'A') ORDER BY 1"
    )
    if names:
        yield Finding(
            "event-trigger",
            "warning",
            f"event triggers are enabled: {listed(names)}",
            "Their functions run inside our statements, with the rights of the broker or of a "
            "scope's owner, and those on login in every session of a lease.",
            script(f"ALTER EVENT TRIGGER {name} DISABLE" for name in names),
        )
