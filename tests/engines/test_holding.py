"""A pause, attacked on a real server: nobody reads while it lasts, and all comes back after it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from broker.embedded import EmbeddedServer
from broker.engines.postgres.holding import hold
from broker.engines.postgres.leases import RoleTaken, ScopeExceeded, issue, resume
from broker.engines.postgres.looks import look
from broker.engines.postgres.revoking import revoke
from broker.engines.postgres.scopes import Scope, make_scope
from tests.engines.registered import (
    Lease,
    Registered,
    label_text,
    masked_scope,
    new_lease,
    new_scope_name,
    register,
    wait_for,
)
from tests.engines.test_revoking import (
    can_log_in,
    hold_a_large_object_uncommitted,
    is_dead,
    lock_own_row,
    read_through_a_cursor,
    sleeper,
    stall_in_a_copy,
)


@pytest.fixture(scope="module")
def live(live_server: EmbeddedServer) -> Registered:
    return register(live_server)


@pytest.fixture(scope="module")
def scope(live: Registered) -> Scope:
    scope = masked_scope(new_scope_name())
    make_scope(live.target, scope, label_text(scope.name, "scope"), keyed=True)
    return scope


@pytest.fixture
def lease(live: Registered, scope: Scope) -> Iterator[Lease]:
    lease = new_lease(scope.name)
    issue(live.target, lease.role)
    yield lease
    revoke(live.target, lease.role.role)


def role_row(live: Registered, lease: Lease) -> tuple[object, ...]:
    """What must come back as it was: end, limit, password, memberships; and what we hold of it."""
    with live.admin() as connection:
        row = connection.execute(
            "SELECT rolvaliduntil, rolconnlimit, rolpassword, ARRAY(SELECT roleid::regrole::text"
            " FROM pg_auth_members WHERE member = a.oid ORDER BY 1), (SELECT count(*) FROM"
            " pg_auth_members WHERE roleid = a.oid AND (inherit_option OR set_option))"
            " FROM pg_authid a WHERE rolname = %s",
            [lease.role.role],
        ).fetchone()
    assert row is not None
    return row


@pytest.mark.parametrize(
    "attack",
    [
        stall_in_a_copy,
        lock_own_row,
        read_through_a_cursor,
        hold_a_large_object_uncommitted,
    ],
)
def test_an_attack_from_a_session_does_not_delay_the_pause_and_nothing_is_lost_by_it(
    live: Registered, lease: Lease, attack: Callable[[psycopg.Connection], None]
) -> None:
    before = role_row(live, lease)
    with contextlib.closing(live.connect(lease)) as victim:
        attack(victim)
        held = hold(live.target, lease.role.role)
        assert held.login_refused_at <= held.last_session_dead_at
        assert is_dead(victim)
    assert not can_log_in(live, lease)
    assert look(live.target, lease.role.role).sessions == 0
    assert hold(live.target, lease.role.role).found_absent is False  # again, the same
    resume(live.target, lease.role)
    assert role_row(live, lease) == before
    with contextlib.closing(live.connect(lease)) as session:
        assert session.execute("SELECT count(*) FROM customer").fetchone() == (500,)


def test_a_session_hidden_by_post_auth_delay_does_not_outlast_a_pause(
    live: Registered, lease: Lease
) -> None:
    before = role_row(live, lease)
    ends: list[str] = []
    thread = sleeper(live, lease, ends)
    hold(live.target, lease.role.role)
    thread.join(20)
    assert len(ends) == 1
    assert ends != ["read"]
    resume(live.target, lease.role)
    assert role_row(live, lease) == before


def test_nobody_who_reconnects_in_a_loop_gets_in_during_a_pause(
    live: Registered, lease: Lease
) -> None:
    stop = threading.Event()
    entered: list[psycopg.Connection] = []

    def attack() -> None:
        while not stop.is_set():
            with contextlib.suppress(psycopg.Error):
                entered.append(live.connect(lease))
                entered[-1].execute("SELECT pg_sleep(0.01)")

    threads = [threading.Thread(target=attack, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: len(entered) == 3, "the attackers are in")
        hold(live.target, lease.role.role)
        done = len(entered)
        wait_for(lambda: all(map(is_dead, entered)), "every session is dead")
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert len(entered) == done


def test_what_would_reach_more_than_its_scope_stays_held(live: Registered, lease: Lease) -> None:
    hold(live.target, lease.role.role)
    with live.admin() as connection:
        connection.execute("GRANT SELECT ON app.invoice TO PUBLIC")
        try:
            with pytest.raises(ScopeExceeded, match="invoice"):
                resume(live.target, lease.role)
        finally:
            connection.execute("REVOKE SELECT ON app.invoice FROM PUBLIC")
    assert not can_log_in(live, lease)
    assert not [name for name in role_row(live, lease)[3] if name == lease.role.scope]
    resume(live.target, lease.role)
    assert can_log_in(live, lease)


def test_what_was_ended_is_not_resumed(live: Registered, lease: Lease) -> None:
    hold(live.target, lease.role.role)
    with live.admin() as connection:  # as a reaper does, first
        connection.execute(f"ALTER ROLE {lease.role.role} VALID UNTIL '-infinity'")
    with pytest.raises(RoleTaken):
        resume(live.target, lease.role)
    revoke(live.target, lease.role.role)
    with pytest.raises(RoleTaken, match="gone"):
        resume(live.target, lease.role)
    assert hold(live.target, lease.role.role).found_absent
