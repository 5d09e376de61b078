"""Unexplained access: who can log in to a server, or is in, beside those that are registered.

What it can't see: a login that was made and dropped between two looks, a superuser who alters the
catalogue, a shared password, and whoever reads the server's files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from broker.engines import Target
from broker.engines.postgres.looks import session
from broker.engines.postgres.preflight.findings import Finding, Place, listed, quoted, script

ATTRIBUTES = ("superuser", "createrole", "replication", "bypassrls")

# A role without LOGIN may still have sessions, and so may a role that is gone.
_LOGINS: Final = """
    WITH alive AS (
        SELECT usesysid AS oid, count(*)::int AS sessions FROM pg_stat_activity
         WHERE usesysid <> 0 AND pid <> pg_backend_pid()
           AND coalesce(backend_type, 'client backend') IN ('client backend', 'walsender')
         GROUP BY usesysid)
    SELECT coalesce(r.rolname::text, 'dropped role ' || a.oid), coalesce(r.rolsuper, false),
           coalesce(r.rolcreaterole, false), coalesce(r.rolreplication, false),
           coalesce(r.rolbypassrls, false),
           CASE WHEN r.rolvaliduntil < '9999-12-31 00:00+00'  -- what Python can hold
                THEN greatest(r.rolvaliduntil, '0001-01-02 00:00+00') END,
           coalesce(a.sessions, 0)
      FROM pg_roles r FULL JOIN alive a ON a.oid = r.oid
     WHERE r.oid IS NULL OR r.rolcanlogin OR a.sessions > 0
     ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class LoginSeen:
    """`valid_until` is None if never set, and year 1 if access was ended. The session of this look
    is not counted.
    """

    name: str
    superuser: bool
    createrole: bool
    replication: bool
    bypassrls: bool
    valid_until: datetime | None
    sessions: int


@dataclass(frozen=True, slots=True)
class KnownLogin:
    """A login that is registered: the application's, a backup's, the broker's, a lease's.

    `attributes` are those of ATTRIBUTES that it may have.
    """

    name: str
    attributes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Unexplained:
    """`is_known`: its name is registered; `excess` are attributes that are not."""

    login: LoginSeen
    is_known: bool
    excess: tuple[str, ...]


def list_logins(target: Target) -> list[LoginSeen]:
    """Every role that may log in or has a session, by name; dropped ones with live sessions too."""
    with session(target) as connection:
        return [LoginSeen(*row) for row in connection.execute(_LOGINS)]


def find_unexplained(seen: Sequence[LoginSeen], known: Sequence[KnownLogin]) -> list[Unexplained]:
    """What is not registered, or has become stronger than it was registered. Pure."""
    registered = {login.name: login.attributes for login in known}
    found = []
    for login in seen:
        allowed = registered.get(login.name, frozenset())
        excess = tuple(a for a in ATTRIBUTES if getattr(login, a) and a not in allowed)
        if login.name not in registered or excess:
            found.append(Unexplained(login, login.name in registered, excess))
    return found


def check_logins(place: Place) -> Iterator[Finding]:
    """Names alone are compared here, and only where some are registered. Ours are left out: our
    login, and the labelled roles, which the broker's own sweep looks after.
    """
    if not place.known_logins:
        return
    ours = place.names(
        "SELECT r.rolname::text FROM pg_roles r WHERE r.rolname = current_user"
        " OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid"
        "             AND m.roleid = to_regrole(%(mark)s))"
        "    AND shobj_description(r.oid, 'pg_authid') LIKE 'sab1 %%'"
    )
    seen = [LoginSeen(*row) for row in place.rows(_LOGINS)]
    known = [KnownLogin(name) for name in (*place.known_logins, *ours)]
    strangers = [u.login for u in find_unexplained(seen, known) if not u.is_known]
    if not strangers:
        return
    roles = set(place.names("SELECT rolname::text FROM pg_roles WHERE rolcanlogin"))
    yield Finding(
        "unexplained-login",
        "warning",
        "nobody registered these logins: " + listed(_describe(login) for login in strangers),
        "Register each that you know. One that nobody knows can be shut out; end its sessions too.",
        script(
            f"ALTER ROLE {quoted(login.name)} NOLOGIN" for login in strangers if login.name in roles
        )
        or None,
    )


def _describe(login: LoginSeen) -> str:
    facts = [attribute for attribute in ATTRIBUTES if getattr(login, attribute)]
    facts += [f"{login.sessions} sessions"] if login.sessions else []
    return quoted(login.name) + (f" ({', '.join(facts)})" if facts else "")
