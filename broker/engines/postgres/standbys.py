"""The end of a lease on the standbys of its server.

A role is on every standby too, and a primary neither sees nor ends what is open there; one that
lags still lets a refused login in, and a session there outlives the replayed DROP ROLE. So on each
registered standby, in this order: it has replayed the refusal, the role's sessions are ended until
none is found twice, and after the role was dropped and that was replayed a new connection finds
nothing. What must stay true: a standby that can't be reached, lags, or is none any more leaves the
end Unconfirmed, and that is never counted as done.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from broker.engines import ServerUnavailable, Target
from broker.engines.postgres.connect import check_cluster, read_identity
from broker.engines.postgres.looks import (
    AccountTooWeak,
    Connection,
    MarkedRole,
    StillThere,
    end_hidden_sessions,
    end_seen_sessions,
    list_hidden_sessions,
    look_through,
    session,
)

REPLAY_S = 10.0  # how long one standby is waited for; the next try waits again
_PAUSE_S = 0.05


class Unconfirmed(StillThere):
    """What is over on the primary is not known to be over on a standby.

    `facts['standbys']` are their addresses, `facts['sql']` what a superuser could run there.
    """

    type = "unconfirmed"


def end_there(primary: Connection, target: Target, role: MarkedRole) -> None:
    """End the role's sessions on every standby; its refusal is committed on the primary, and our
    login holds the role's rights, to end its hidden sessions as the role. Raises Unconfirmed.
    """
    lsn = _position(primary)

    def end(there: Connection) -> None:
        _wait_for_replay(there, lsn)
        _end_sessions(there, role)

    _on_each(primary, target, role.name, end, f"usesysid = {role.oid}")


def check_gone_there(primary: Connection, target: Target, role: str, oid: int | None) -> None:
    """Look on every standby, through a new connection, once it has replayed the role's end.

    `oid` as in `look_through`. Raises Unconfirmed.
    """
    lsn = _position(primary)

    def check(there: Connection) -> None:
        _wait_for_replay(there, lsn)
        seen = look_through(there, role, oid=oid)
        if not seen.found_nothing:
            raise StillThere(f"a look found: role {seen.role_exists}, sessions {seen.sessions}")

    orphans = "usesysid <> 0 AND usesysid NOT IN (SELECT oid FROM pg_roles)"
    _on_each(primary, target, role, check, orphans)


def end_open_sessions(there: Target, role: MarkedRole) -> int:
    """End what is open on one standby under a role that the primary has, or had; how many.

    Without the primary, so what is hidden stays: our login can't be given the role's rights here.
    """
    with session(replace(there, cluster=None, timeline=None, standbys=())) as connection:
        _check_standby(connection)
        return end_seen_sessions(connection, role)


def find_fault(primary: Connection, target: Target, host: str, port: int) -> str | None:
    """Why ends of leases can't be confirmed on a standby now, or None."""
    cluster, _ = read_identity(primary)
    try:
        with _session_there(target, host, port, cluster) as there:
            _check_standby(there)
    except (ServerUnavailable, AccountTooWeak, StillThere) as error:
        return error.message
    return None


def _on_each(
    primary: Connection,
    target: Target,
    role: str,
    step: Callable[[Connection], None],
    whose: str,
) -> None:
    """On all, also when it fails on one: what can be ended is ended now."""
    cluster, _ = read_identity(primary)
    faults: dict[str, str] = {}
    for host, port in target.standbys:
        try:
            with _session_there(target, host, port, cluster) as there:
                step(there)
        except (ServerUnavailable, AccountTooWeak, StillThere) as error:
            faults[f"{host}:{port}"] = error.message
    if faults:
        mend = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {whose};"
        told = "; ".join(f"{address}: {why}" for address, why in faults.items())
        raise Unconfirmed(
            f"the end of {role} is unconfirmed on {len(faults)} of {len(target.standbys)} standbys "
            f"({told}). A session there may still read. It is tried again; a superuser can end its "
            f"sessions there with: {mend} A standby that is gone for good is taken off the list "
            "by an operator",
            standbys=sorted(faults),
            sql=mend,
        )


@contextlib.contextmanager
def _session_there(target: Target, host: str, port: int, cluster: str) -> Iterator[Connection]:
    """Of the same cluster: a standby has its primary's system identifier, login and password."""
    there = replace(target, host=host, port=port, cluster=None, timeline=None, standbys=())
    with session(there) as connection:
        check_cluster(read_identity(connection)[0], replace(there, cluster=cluster))
        yield connection


def _position(primary: Connection) -> str:
    """Where the primary's log ends, behind everything that we committed.

    What was flushed, for what was only inserted may be sent much later; a commit that is not
    flushed (`synchronous_commit = off`) is so within a second.
    """
    row = primary.execute(
        "SELECT CASE current_setting('synchronous_commit') WHEN 'off'"
        " THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END::text"
    ).fetchone()
    assert row is not None  # noqa: S101  # a function gives one row
    lsn: str = row[0]
    return lsn


def _check_standby(there: Connection) -> None:
    row = there.execute("SELECT pg_is_in_recovery()").fetchone()
    if row != (True,):
        raise StillThere("it is no standby any more: it was promoted, and has roles of its own")


def _wait_for_replay(there: Connection, lsn: str) -> None:
    """Raises StillThere with both positions when it lags too far behind."""
    until = time.monotonic() + REPLAY_S
    while True:
        _check_standby(there)
        row = there.execute(
            "SELECT pg_last_wal_replay_lsn() >= %(lsn)s::pg_lsn, pg_last_wal_replay_lsn()::text",
            {"lsn": lsn},
        ).fetchone()
        assert row is not None  # noqa: S101  # for the type checker: it has no FROM
        if row[0]:
            return
        if time.monotonic() > until:
            raise StillThere(f"it lags: it has replayed up to {row[1]}, and the end is at {lsn}")
        time.sleep(_PAUSE_S)


def _end_sessions(there: Connection, role: MarkedRole) -> None:
    """As on the primary: two looks in a row find none, seen or hidden. See `revoking`."""
    until = time.monotonic() + REPLAY_S
    clean = 0
    while clean < 2:
        found = end_seen_sessions(there, role)
        found += end_hidden_sessions(there, role, list_hidden_sessions(there))
        clean = 0 if found else clean + 1
        if found and time.monotonic() > until:
            raise StillThere(f"{found} sessions do not end there")
        if found:
            time.sleep(_PAUSE_S)
