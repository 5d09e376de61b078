"""Preflight: what keeps a registered server from working, and what lets support do more than the
scope says, each with the SQL that mends it.

A check is one function with its own SELECT, listed in `LIVE` or `TEST_SERVER`; adding one is that.
What must stay true: a preflight changes nothing (its session is read-only), calls no function of
the tenant's, reads no row of theirs, and never runs the SQL that it shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from broker.engines import Target
from broker.engines.postgres.account import ServerTooOld
from broker.engines.postgres.looks import Connection, session
from broker.engines.postgres.preflight import login, public, reach, server, settings, tables
from broker.engines.postgres.preflight.findings import Check, Finding, Place, Severity
from broker.engines.postgres.preflight.logins import (
    KnownLogin,
    LoginSeen,
    Unexplained,
    check_logins,
    find_unexplained,
    list_logins,
)
from broker.engines.postgres.standbys import find_fault

__all__ = [
    "Finding",
    "KnownLogin",
    "LoginSeen",
    "Severity",
    "Unexplained",
    "check_live",
    "check_login",
    "check_test_server",
    "find_unexplained",
    "format_findings",
    "list_logins",
]

_OPTIONS = {"default_transaction_read_only": "on", "statement_timeout": "60s"}
_ORDER: Final[dict[Severity, int]] = {"fatal": 0, "warning": 1, "note": 2}

LIVE: Final[tuple[Check, ...]] = (
    server.check_newest,
    server.check_standby,
    login.check_live_attributes,
    login.check_live_powers,
    login.check_memberships,
    login.check_own_roles,
    login.check_mark,
    login.check_readers,
    tables.check_schema_usage,
    tables.check_select,
    tables.check_later_tables,
    public.check_database,
    public.check_schemas,
    public.check_relations,
    public.check_system,
    public.check_large_objects,
    public.check_parameters,
    public.check_default_privileges,
    public.check_other_databases,
    reach.check_definers,
    reach.check_extensions,
    reach.check_languages,
    reach.check_foreign,
    reach.check_setting_policies,
    reach.check_row_security,
    reach.check_event_triggers,
    settings.check_live_settings,
    server.check_hba,
    server.check_pooler,
    server.check_replicas,
    server.check_dead_man,
    server.check_left_roles,
    check_logins,
)

TEST_SERVER: Final[tuple[Check, ...]] = (
    server.check_newest,
    server.check_standby,
    login.check_test_attributes,
    login.check_test_powers,
    login.check_memberships,
    login.check_own_roles,
    login.check_mark,
    public.check_test_server_databases,
    public.check_system,
    public.check_parameters,
    settings.check_test_settings,
    settings.check_full_pages,
    reach.check_available_extensions,
    server.check_hba,
    server.check_pooler,
    server.check_test_replicas,
    server.check_left_roles,
    server.check_left_databases,
    server.check_unseen,
)


LIVE_LOGIN: Final[tuple[Check, ...]] = (
    login.check_live_attributes,
    login.check_live_powers,
    login.check_memberships,
    login.check_own_roles,
    login.check_mark,
)
TEST_LOGIN: Final[tuple[Check, ...]] = (
    login.check_test_attributes,
    login.check_test_powers,
    login.check_memberships,
    login.check_own_roles,
    login.check_mark,
)


def check_login(target: Target, *, live: bool) -> list[Finding]:
    """Whether our own login there holds what it needs and nothing else, the worst first; alone, as
    part of the whole look. Raises ServerUnavailable, also where our login is refused.
    """
    return _check(replace(target, standbys=()), LIVE_LOGIN if live else TEST_LOGIN, (), ())


def check_live(
    target: Target, schemas: Sequence[str], known_logins: Sequence[str] = ()
) -> list[Finding]:
    """Look at a tenant's database, the worst first. `known_logins` are the names of logins that are
    registered there (application, backup, DBA); without any, logins are not compared.

    Raises ServerUnavailable, also where our login is refused.
    """
    return _check(target, LIVE, tuple(schemas), tuple(known_logins))


def _check_standbys(connection: Connection, target: Target) -> Iterator[Finding]:
    """Each registered one, from a session of its own there."""
    for host, port in target.standbys:
        fault = find_fault(connection, target, host, port)
        if fault is not None:
            yield Finding(
                "standby-unconfirmed",
                "warning",
                f"no end of a login could be confirmed on the standby {host}:{port}: {fault}",
                "A login that ends stays revoking until a look there finds nothing. Mend the way "
                "to it; if it is gone for good, take it off with: broker databases standbys",
            )


def check_test_server(target: Target) -> list[Finding]:
    """Look at an internal server for sandboxes, the worst first. Raises ServerUnavailable."""
    return _check(target, TEST_SERVER, (), ())


def _check(
    target: Target, checks: Sequence[Check], schemas: tuple[str, ...], known: tuple[str, ...]
) -> list[Finding]:
    try:
        with session(target, options=_OPTIONS) as connection:
            place = Place(connection, schemas, known, len(target.standbys))
            findings = [finding for check in checks for finding in check(place)]
            findings += _check_standbys(connection, target)
    except ServerTooOld as error:
        why = "Older ones lack what leases rest on. Update the server before it is registered."
        return [Finding("server-too-old", "fatal", error.message, why)]
    return sorted(findings, key=lambda finding: _ORDER[finding.severity])


def format_findings(findings: Sequence[Finding]) -> str:
    """For a terminal: a paragraph for each, its SQL below it.

    Names are others' text: what would move the cursor or hide shows as an escape. SQL with such a
    name must be taken from the JSON form.
    """
    if not findings:
        return "Nothing was found.\n"
    paragraphs = []
    for finding in findings:
        head = f"{finding.severity.upper():8}{_plain(finding.what)}  [{finding.code}]"
        lines = [head, f"{'':8}{_plain(finding.why)}"]
        lines += [f"{'':12}{_plain(line)}" for line in (finding.sql or "").split("\n") if line]
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs) + "\n"


def _plain(text: str) -> str:
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )
