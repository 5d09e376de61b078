"""What the server is, and what stands before and behind it: poolers, replicas, its own door."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final, LiteralString

from psycopg import sql

from broker.engines.postgres.dead_man import FUNCTION, SCHEMA
from broker.engines.postgres.preflight.findings import Finding, Place, listed, quoted, script

NEWEST_MAJOR = 18

_HBA_OPEN: Final = """
    SELECT has_table_privilege('pg_hba_file_rules', 'SELECT')
       AND has_function_privilege('pg_hba_file_rules()', 'EXECUTE')
"""
# The file's name is shown from PostgreSQL 16 on.
_HBA_TRUST: Final = """
    SELECT 'line ' || line_number || coalesce(' of ' || (to_jsonb(h) ->> 'file_name'), '')
      FROM pg_hba_file_rules h WHERE auth_method = 'trust' ORDER BY line_number
"""

_REPLICAS: Final = """
    SELECT coalesce(quote_ident(nullif(application_name, '')), 'process ' || pid)
      FROM pg_stat_replication
    UNION ALL
    SELECT 'the slot ' || quote_ident(slot_name) FROM pg_replication_slots WHERE NOT active
     ORDER BY 1
"""

# The label's MAC can't be checked from here, but the end that it states can be read: its fourth
# word, which sorts as text (labels.py). Five minutes are left to the sweep.
_PAST_END: Final[LiteralString] = """
    label ~ '^sab1 [a-z-]+ [a-z0-9_]+ [0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z [0-9a-f]{64}$'
    AND split_part(label, ' ', 4) COLLATE "C" < to_char(
        now() AT TIME ZONE 'UTC' - interval '5 minutes', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
"""
_LEFT_ROLES: Final[LiteralString] = (
    """
    SELECT r.rolname::text FROM pg_roles r, shobj_description(r.oid, 'pg_authid') AS label
     WHERE EXISTS (SELECT FROM pg_auth_members m
                    WHERE m.member = r.oid AND m.roleid = to_regrole(%(mark)s))
       AND """
    + _PAST_END
    + " ORDER BY 1"
)
_LEFT_DATABASES: Final[LiteralString] = (
    """
    SELECT d.datname::text FROM pg_database d, shobj_description(d.oid, 'pg_database') AS label
     WHERE """
    + _PAST_END
    + " ORDER BY 1"
)


def judge_version(server_version: int) -> Iterator[Finding]:
    """Versions after the newest that we know. Older ones are refused before a session begins."""
    major = server_version // 10000
    if major > NEWEST_MAJOR:
        yield Finding(
            "server-too-new",
            "fatal",
            f"PostgreSQL {major} is newer than what the broker was tested with",
            f"Rules of roles change between versions; {NEWEST_MAJOR} is the newest that is known.",
        )


def check_newest(place: Place) -> Iterator[Finding]:
    yield from judge_version(place.version)


def check_standby(place: Place) -> Iterator[Finding]:
    if place.rows("SELECT pg_is_in_recovery()")[0][0]:
        yield Finding(
            "standby",
            "fatal",
            "this server is a standby",
            "No role can be made or ended here. Register the primary.",
        )


def check_replicas(place: Place) -> Iterator[Finding]:
    names = place.names(_REPLICAS)
    if len(names) > place.standbys:
        yield Finding(
            "replicas",
            "warning" if place.standbys else "note",
            f"changes of this server are sent on: {listed(names)}; {place.standbys} standbys are "
            "registered",
            "A lease's role is on every standby too. Sessions there are not seen from here, and a "
            "standby that lags still lets a revoked login in. Name each, that ends are confirmed "
            "there too (broker databases standbys), or let no lease reach its port.",
        )


def check_test_replicas(place: Place) -> Iterator[Finding]:
    names = place.names(_REPLICAS)
    if names:
        yield Finding(
            "sandboxes-replicated",
            "fatal",
            f"changes of this server are sent on, or kept to be sent on: {listed(names)}",
            "Every copy would be on another server too, where nobody destroys it. End those "
            "streams, and drop slots with pg_drop_replication_slot().",
        )


def check_pooler(place: Place) -> Iterator[Finding]:
    question = "SELECT pg_backend_pid(), current_setting('application_name')"
    looks = [place.rows(question)[0] for _ in range(3)]  # each its own transaction
    info = place.connection.info
    given = info.get_parameters()["application_name"]
    if is_pooled(info.backend_pid, [pid for pid, _ in looks], {given, *(n for _, n in looks)}):
        yield Finding(
            "pooler",
            "warning",
            "our connection passes through a pooler",
            "A pooler keeps sessions of a role that was ended, may let it in by a stale list, and "
            "does not know a lease's login. Register the server's own address.",
        )


def is_pooled(greeted: int, pids: Collection[int], names: Collection[str]) -> bool:
    """Whether somebody stands between: the process that greeted us is not the one that answers, the
    answering one changes, or the name that we gave is not the one that the server knows.
    """
    return set(pids) != {greeted} or len(set(names)) > 1


def check_hba(place: Place) -> Iterator[Finding]:
    if not place.rows(_HBA_OPEN)[0][0]:
        yield Finding(
            "hba-unseen",
            "note",
            "the rules of pg_hba.conf can't be read by our login",
            "So nobody looks for lines with `trust`, which let a login in without its password and "
            "past its end. Look yourself, or grant the right to look.",
            script(
                [
                    f"GRANT SELECT ON pg_catalog.pg_hba_file_rules TO {place.login}",
                    f"GRANT EXECUTE ON FUNCTION pg_catalog.pg_hba_file_rules() TO {place.login}",
                ]
            ),
        )
        return
    lines = place.names(_HBA_TRUST)
    if lines:
        yield Finding(
            "hba-trust",
            "warning",
            f"pg_hba.conf lets logins in without a password: {listed(lines)}",
            "VALID UNTIL is checked with the password only, and whoever reaches that line may be "
            "anybody. Change `trust` to `scram-sha-256` and reload.",
        )


def check_dead_man(place: Place) -> Iterator[Finding]:
    """Whether anybody schedules it can't be seen from here."""
    there = place.connection.execute(
        "SELECT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = %s AND p.proname = 'lock_overdue')",
        [SCHEMA],
    ).fetchall()[0][0]
    if not there:
        yield Finding(
            "dead-man-missing",
            "note",
            f"the function {FUNCTION} is not in this database",
            "While the broker is down a login past its end is refused by its VALID UNTIL, but a "
            "session that is open goes on, unless a `broker reap` stands beside this server or the "
            "DBA schedules that function. Its SQL: broker databases dead-man-sql",
        )


def check_left_roles(place: Place) -> Iterator[Finding]:
    names = place.names(_LEFT_ROLES)
    if not names:
        return
    roles = ", ".join(map(quoted, names))
    texts = ", ".join(sql.Literal(name).as_string() for name in names)
    statements = [f"ALTER ROLE {quoted(name)} NOLOGIN" for name in names]
    statements += [
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ({texts})",
        f"DROP OWNED BY {roles}",
        f"DROP ROLE {roles}",
    ]
    yield Finding(
        "left-roles",
        "warning",
        f"roles with our mark are past their end: {listed(map(quoted, names))}",
        "The broker ends them as soon as it reaches this server. If it is gone, you can; DROP "
        "OWNED in each database where one owns or was granted something.",
        script(statements),
    )


def check_left_databases(place: Place) -> Iterator[Finding]:
    names = place.names(_LEFT_DATABASES)
    if names:
        yield Finding(
            "left-sandboxes",
            "warning",
            f"sandboxes are past their end: {listed(map(quoted, names))}",
            "The broker destroys them as soon as it reaches this server. If it is gone, you can.",
            script(f"DROP DATABASE {quoted(name)} WITH (FORCE)" for name in names),
        )


def check_unseen(_place: Place) -> Iterator[Finding]:
    yield Finding(
        "unseen",
        "note",
        "core dumps, swap, disk images and backups of the machine can't be seen from here",
        "Each may hold rows of a copy after its end. Turn them off or encrypt them, and keep the "
        "server on an encrypted volume of its own.",
    )
