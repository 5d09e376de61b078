"""Our own login on the server: what it lacks to do its work, and what it has beyond it.

The setup's SQL (account.py) gives all of it at once; a finding's SQL gives what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, LiteralString

from broker.engines.postgres.account import MARK, READER, membership
from broker.engines.postgres.preflight.findings import Finding, Place, Severity, listed, script


@dataclass(frozen=True, slots=True)
class _Power:
    """`held` is an SQL expression; `mend` may name {login} and {database}, both quoted."""

    code: str
    what: str
    held: LiteralString
    mend: str
    why: str
    severity: Severity = "fatal"


_CREATEROLE = _Power(
    "missing-createrole",
    "our login may not make roles",
    "(SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user)",
    "ALTER ROLE {login} CREATEROLE",
    "Each lease is a role of its own, so that it can be ended alone.",
)
_SIGNAL = _Power(
    "missing-signal-backend",
    "our login may not end sessions",
    "pg_has_role('pg_signal_backend', 'USAGE')",
    "GRANT pg_signal_backend TO {login}",
    "A lease that ends must lose its sessions too.",
)
_LIVE_POWERS: Final = (
    _CREATEROLE,
    _SIGNAL,
    _Power(
        "missing-read-all-stats",
        "our login does not see what kind of sessions others have",
        "pg_has_role('pg_read_all_stats', 'USAGE')",
        "GRANT pg_read_all_stats TO {login}",
        "Without it a look for sessions of a lease can't be trusted.",
    ),
    _Power(
        "missing-connect",
        "our login may not let scopes connect to this database",
        "has_database_privilege(current_database(), 'CONNECT WITH GRANT OPTION')",
        "GRANT CONNECT ON DATABASE {database} TO {login} WITH GRANT OPTION",
        "Each scope is given CONNECT when it is made, and loses it when it is dropped.",
    ),
    _Power(
        "missing-create",
        "our login may not make schemas in this database",
        "has_database_privilege(current_database(), 'CREATE')",
        "GRANT CREATE ON DATABASE {database} TO {login}",
        "A scope is a schema of views.",
    ),
)
_TEST_POWERS: Final = (
    _CREATEROLE,
    _SIGNAL,
    _Power(
        "missing-read-all-stats",
        "our login does not see what sessions on copies do",
        "pg_has_role('pg_read_all_stats', 'USAGE')",
        "GRANT pg_read_all_stats TO {login}",
        "Without it the tenant's admin sees that a copy is in use, and not since when or for what.",
        "warning",
    ),
    _Power(
        "missing-createdb",
        "our login may not make databases",
        "(SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user)",
        "ALTER ROLE {login} CREATEDB",
        "Each sandbox is a database of its own.",
    ),
    _Power(
        "missing-checkpoint",
        "our login may not ask for a checkpoint",
        "pg_has_role('pg_checkpoint', 'USAGE')",
        "GRANT pg_checkpoint TO {login}",
        "Files of a dropped sandbox wait for the server's next checkpoint before they are removed.",
        "warning",
    ),
)

_ATTRIBUTES: Final = """
    SELECT rolsuper, rolreplication, rolbypassrls, rolcreatedb FROM pg_roles
     WHERE rolname = current_user
"""
_ATTRIBUTE_FINDINGS: Final[tuple[tuple[str, Severity, str], ...]] = (
    ("SUPERUSER", "fatal", "It may do anything, and a theft of it is a theft of the whole server."),
    ("REPLICATION", "fatal", "It could copy the whole server, all databases, without a grant."),
    ("BYPASSRLS", "warning", "It needs this only to copy tables with row security."),
    ("CREATEDB", "warning", "It makes no database here."),
)

# Roles that it made itself are its own to give (PostgreSQL 16 makes it their admin).
_MEMBERSHIPS: Final = """
    SELECT g.rolname, quote_ident(g.rolname), m.grantor::regrole::text
      FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
     WHERE m.member = (SELECT oid FROM pg_roles WHERE rolname = current_user)
       AND g.rolname NOT IN (%(mark)s, %(reader)s, 'sab_backup', 'pg_signal_backend',
                             'pg_read_all_stats', 'pg_read_all_settings', 'pg_checkpoint',
                             'pg_use_reserved_connections')
       AND NOT EXISTS (SELECT FROM pg_auth_members k
                        WHERE k.member = g.oid AND k.roleid = to_regrole(%(mark)s))
     ORDER BY 1, 3
"""

_READERS: Final = """
    SELECT quote_ident(g.rolname), m.grantor::regrole::text
      FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.member
     WHERE m.roleid = to_regrole(%(reader)s) AND g.rolname <> current_user
       AND NOT EXISTS (SELECT FROM pg_auth_members k
                        WHERE k.member = g.oid AND k.roleid = to_regrole(%(mark)s))
     ORDER BY 1, 2
"""

# Ours alone, and empty: what such a role may do, every lease or scope's owner may do as well.
_MARK_RIGHTS: Final = """
    SELECT EXISTS (SELECT FROM pg_shdepend s
                    WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype IN ('a', 'o')
                      AND s.refobjid = to_regrole(%(mark)s)::oid
                      AND s.dbid IN (0, (SELECT oid FROM pg_database
                                          WHERE datname = current_database()))),
           ARRAY(SELECT m.roleid::regrole::text FROM pg_auth_members m
                  WHERE m.member = to_regrole(%(mark)s) ORDER BY 1)
"""


def check_live_powers(place: Place) -> Iterator[Finding]:
    yield from _missing(place, _LIVE_POWERS)
    yield from _admin(place, MARK, "Every role of ours carries this mark, and is found by it.")
    yield from _admin(
        place, READER, "The owner of a scope's views reads the tables through it, and so do copies."
    )


def check_test_powers(place: Place) -> Iterator[Finding]:
    yield from _missing(place, _TEST_POWERS)
    yield from _admin(place, MARK, "Every role of ours carries this mark, and is found by it.")


def _missing(place: Place, powers: tuple[_Power, ...]) -> Iterator[Finding]:
    for power in powers:
        if not place.rows("SELECT " + power.held)[0][0]:
            yield Finding(
                power.code,
                power.severity,
                power.what,
                power.why,
                script([power.mend.format(login=place.login, database=place.database)]),
            )


def _admin(place: Place, role: LiteralString, why: str) -> Iterator[Finding]:
    """Our login is an admin of the role; of the reader it has the rights as well."""
    reads = role == READER
    exists, admin, inherits = place.connection.execute(
        "SELECT o IS NOT NULL, coalesce(pg_has_role(o, 'USAGE WITH ADMIN OPTION'), false),"
        " coalesce(pg_has_role(o, 'USAGE'), false) FROM CAST(to_regrole(%s) AS oid) AS o",
        [role],
    ).fetchall()[0]
    if admin and (inherits or not reads):
        return
    options = membership(place.version, inherit=reads, settable=False, admin=True).as_string()
    statements = [] if exists else [f"CREATE ROLE {role} NOLOGIN"]
    if reads:
        statements.append(f"ALTER ROLE {place.login} INHERIT")  # decides before PostgreSQL 16
    yield Finding(
        f"missing-{role.replace('_', '-')}",
        "fatal",
        f"our login may not give the role {role}" if exists else f"there is no role {role}",
        why,
        script([*statements, f"GRANT {role} TO {place.login}{options}"]),
    )


def check_live_attributes(place: Place) -> Iterator[Finding]:
    yield from _attributes(place, allowed=())


def check_test_attributes(place: Place) -> Iterator[Finding]:
    yield from _attributes(place, allowed=("CREATEDB",))


def _attributes(place: Place, allowed: tuple[str, ...]) -> Iterator[Finding]:
    held = place.rows(_ATTRIBUTES)[0]
    for has, (attribute, severity, why) in zip(held, _ATTRIBUTE_FINDINGS, strict=True):
        if has and attribute not in allowed:
            yield Finding(
                f"login-{attribute.lower()}",
                severity,
                f"our login has {attribute}",
                why,
                script([f"ALTER ROLE {place.login} NO{attribute}"]),
            )


def check_memberships(place: Place) -> Iterator[Finding]:
    rows = place.rows(_MEMBERSHIPS)
    if rows:
        yield Finding(
            "login-memberships",
            "warning",
            f"our login is a member of more roles than it needs: {listed(row[1] for row in rows)}",
            "Whoever has our login has theirs.",
            script(_leave(place, name, place.login, grantor) for _, name, grantor in rows),
        )


def check_readers(place: Place) -> Iterator[Finding]:
    rows = place.rows(_READERS)
    if rows:
        yield Finding(
            "reader-shared",
            "warning",
            f"others read through {READER}: {listed(row[0] for row in rows)}",
            "The role reads every table unmasked; it is for the broker and its scopes alone.",
            script(_leave(place, READER, name, grantor) for name, grantor in rows),
        )


def check_mark(place: Place) -> Iterator[Finding]:
    has_rights, memberships = place.rows(_MARK_RIGHTS)[0]
    if not has_rights and not memberships:
        return
    statements = [f"REVOKE {role} FROM {MARK} CASCADE" for role in memberships]
    if has_rights:
        # What it owns is kept; what it was given in this database goes.
        statements += [f"REASSIGN OWNED BY {MARK} TO CURRENT_USER", f"DROP OWNED BY {MARK}"]
    yield Finding(
        "mark-has-rights",
        "fatal",
        f"the role {MARK} has rights of its own"
        + (": " + listed(memberships) if memberships else ""),
        "Every lease is a member of it, and before PostgreSQL 16 every member has its rights.",
        script(statements),
    )


def check_own_roles(place: Place) -> Iterator[Finding]:
    names = place.names(
        "SELECT rolname::text FROM pg_roles WHERE rolname IN (%(mark)s, %(reader)s)"
        " AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolreplication OR rolbypassrls)"
        " ORDER BY 1"
    )
    if names:
        yield Finding(
            "own-role-attributes",
            "fatal",
            f"roles that are only to be given have attributes: {', '.join(names)}",
            "They are a mark and a right to read; nobody is to log in as one.",
            script(
                f"ALTER ROLE {name} NOLOGIN NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS"
                for name in names
            ),
        )


def _leave(place: Place, role: str, member: str, grantor: str) -> str:
    """PostgreSQL 16 keeps one membership for each grantor."""
    by = f" GRANTED BY {grantor}" if place.version >= 160000 else ""
    return f"REVOKE {role} FROM {member}{by} CASCADE"
