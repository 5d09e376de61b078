"""The dead man's end on a server itself: a small function that the DBA owns and schedules.

It locks every login with our mark past its end and ends its sessions, with the broker gone, its
database lost and its host off (G14). What must stay true: it runs with the rights of the DBA who
calls it, and nobody else may; it touches no role without our mark, no superuser, and not the
broker's own login, which holds the mark to give it; it drops nothing.

The MAC of a label can't be checked there, for the key is not: a role counts as overdue by the end
that its label states or by its VALID UNTIL, whichever comes first, and both are out of reach of the
role itself (research: a role may change its own password, and neither of these).
"""

from __future__ import annotations

from typing import Final, LiteralString

from broker.engines.postgres.account import MARK

SCHEMA: Final = "sab_dead_man"
FUNCTION: Final = f"{SCHEMA}.lock_overdue()"

# Sessions first, the lock last: a session may hold the lock on its own row. It is told to end at
# once, and the next call, a minute later, finds the row free.
_TEXT: LiteralString = """\
-- Support access: locks what is past its end, also while the vendor's broker is down. Run this
-- once as a superuser, connected to the registered database, then schedule the function every
-- minute, e.g. with pg_cron:
--   SELECT cron.schedule('support access', '* * * * *', 'SELECT sab_dead_man.lock_overdue()');
-- or from the server's own cron:
--   psql -d DATABASE -Xqc 'SELECT sab_dead_man.lock_overdue()'
BEGIN;
CREATE SCHEMA IF NOT EXISTS sab_dead_man;
REVOKE ALL ON SCHEMA sab_dead_man FROM PUBLIC;
CREATE OR REPLACE FUNCTION sab_dead_man.lock_overdue() RETURNS integer
    LANGUAGE plpgsql SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '200ms'
AS $function$
DECLARE
    overdue record;
    locked integer := 0;
BEGIN
    FOR overdue IN
        SELECT r.oid, r.rolname, r.rolcanlogin
          FROM pg_roles r, shobj_description(r.oid, 'pg_authid') AS label
         WHERE NOT r.rolsuper
           AND EXISTS (SELECT FROM pg_auth_members m
                        WHERE m.member = r.oid AND m.roleid = to_regrole('sab_managed')
                          AND NOT m.admin_option)
           AND (r.rolvaliduntil < clock_timestamp()
                OR label ~ '^sab1 lease [a-z0-9_]+ [0-9-]{10}T[0-9:]{8}Z [0-9a-f]{64}$'
                   AND split_part(label, ' ', 4) COLLATE "C" < to_char(
                       clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
    LOOP
        PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = overdue.oid;
        CONTINUE WHEN NOT overdue.rolcanlogin;
        BEGIN
            EXECUTE format('ALTER ROLE %I NOLOGIN CONNECTION LIMIT 0', overdue.rolname);
            locked := locked + 1;
        EXCEPTION WHEN lock_not_available OR undefined_object THEN
            RAISE WARNING 'the role % is locked by the next call', overdue.rolname;
        END;
    END LOOP;
    RETURN locked;
END
$function$;
REVOKE ALL ON FUNCTION sab_dead_man.lock_overdue() FROM PUBLIC;
COMMENT ON FUNCTION sab_dead_man.lock_overdue() IS
    'Locks logins of support access that are past their end. Yours: schedule it every minute.';
COMMIT;
"""
assert MARK in _TEXT  # noqa: S101  # the text is whole, to be read as it is run


def dead_man_sql() -> str:
    """What the DBA runs once; it may be run again, and dropped with its schema."""
    return _TEXT
