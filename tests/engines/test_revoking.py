"""The end of a lease, attacked on a real server (G3)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from broker.embedded import EmbeddedServer, running
from broker.engines.postgres.leases import issue
from broker.engines.postgres.looks import Look, NotOurs, StillThere, look
from broker.engines.postgres.revoking import revoke
from broker.engines.postgres.scopes import Scope, make_scope
from tests.conftest import admin, new_database
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

NOTHING = Look(role_exists=False, sessions=0, prepared=0)


@pytest.fixture(scope="module")
def live(live_server: EmbeddedServer) -> Registered:
    return register(live_server)


@pytest.fixture(scope="module")
def scope(live: Registered) -> Scope:
    scope = masked_scope(new_scope_name())
    make_scope(live.target, scope, label_text(scope.name, "scope"), keyed=True)
    return scope


@pytest.fixture
def lease(live: Registered, scope: Scope) -> Lease:
    lease = new_lease(scope.name)
    issue(live.target, lease.role)
    return lease


@pytest.fixture
def victim(live: Registered, lease: Lease) -> Iterator[psycopg.Connection]:
    """The lease's own session; the server ends it."""
    with contextlib.closing(live.connect(lease)) as connection:
        yield connection


def is_dead(connection: psycopg.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    except psycopg.Error:
        return False
    return False


def can_log_in(live: Registered, lease: Lease) -> bool:
    try:
        live.connect(lease).close()
    except psycopg.OperationalError:
        return False
    return True


def test_revoking_a_quiet_lease_reports_three_instants_in_order(
    live: Registered, lease: Lease
) -> None:
    before = datetime.now(UTC)
    ended = revoke(live.target, lease.role.role)
    assert before <= ended.login_refused_at <= ended.last_session_dead_at <= ended.role_gone_at
    assert not ended.found_absent
    assert not can_log_in(live, lease)
    assert look(live.target, lease.role.role) == NOTHING


def test_revoking_what_is_absent_succeeds_and_says_so(live: Registered, lease: Lease) -> None:
    revoke(live.target, lease.role.role)
    assert revoke(live.target, lease.role.role).found_absent


def test_revoking_twice_at_the_same_moment_succeeds_twice(live: Registered, lease: Lease) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: revoke(live.target, lease.role.role), range(2)))
    assert look(live.target, lease.role.role) == NOTHING


@pytest.fixture
def public_connect(live: Registered) -> Iterator[None]:
    """The DBA gave CONNECT back to PUBLIC: taking the scope alone then keeps nobody out."""
    database = sql.Identifier(live.target.dbname)
    with live.admin() as connection:
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(database))
        yield
        connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(database))


def test_nobody_who_reconnects_in_a_loop_reads_after_login_was_refused(
    live: Registered, lease: Lease, public_connect: None
) -> None:
    """A session that began to read before may end reading; none that began later reads."""
    stop = threading.Event()
    reads: list[tuple[datetime, datetime]] = []  # when the session began, when it read
    open_sessions: list[psycopg.Connection] = []

    def attack() -> None:
        while not stop.is_set():
            with contextlib.suppress(psycopg.Error):
                connection = live.connect(lease)
                open_sessions.append(connection)
                while True:
                    row = connection.execute(
                        "SELECT backend_start, clock_timestamp() FROM pg_stat_activity"
                        " WHERE pid = pg_backend_pid() AND EXISTS (SELECT FROM customer)"
                    ).fetchone()
                    assert row is not None
                    reads.append(row)

    threads = [threading.Thread(target=attack, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: len(reads) > 20, "the attackers read")
        ended = revoke(live.target, lease.role.role)
        done = len(open_sessions)
        wait_for(lambda: all(map(is_dead, open_sessions)), "every session is dead")
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert len(open_sessions) == done
    assert max(began for began, _ in reads) <= ended.login_refused_at
    assert max(read for _, read in reads) <= ended.last_session_dead_at
    assert not can_log_in(live, lease)


def lock_own_row(victim: psycopg.Connection) -> None:
    victim.execute("BEGIN")
    victim.execute("ALTER ROLE CURRENT_USER PASSWORD 'mine'")


def read_through_a_cursor(victim: psycopg.Connection) -> None:
    victim.execute("BEGIN")
    victim.execute("PREPARE p AS SELECT email FROM customer")
    victim.execute("EXECUTE p")
    victim.execute("DECLARE c CURSOR FOR SELECT email FROM customer")
    victim.execute("FETCH 1 FROM c")


def own_a_large_object(victim: psycopg.Connection) -> None:
    victim.execute("SELECT lo_from_bytea(0, '\\x00')")


def hold_a_large_object_uncommitted(victim: psycopg.Connection) -> None:
    victim.execute("BEGIN")
    victim.execute("SELECT lo_from_bytea(0, '\\x00')")


def own_default_privileges(victim: psycopg.Connection) -> None:
    victim.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")


def hold_advisory_locks(victim: psycopg.Connection) -> None:
    victim.execute("SELECT pg_advisory_lock(n) FROM generate_series(1, 100) AS n")


def stall_in_a_copy(victim: psycopg.Connection) -> None:
    """The server waits in a write to a client that does not read."""
    victim.pgconn.send_query(
        b"COPY (SELECT repeat('x', 1000) FROM generate_series(1, 100000)) TO STDOUT"
    )


@pytest.mark.parametrize(
    "attack",
    [
        stall_in_a_copy,
        lock_own_row,
        read_through_a_cursor,
        own_a_large_object,
        hold_a_large_object_uncommitted,
        own_default_privileges,
        hold_advisory_locks,
    ],
)
def test_an_attack_from_a_session_does_not_delay_the_end(
    live: Registered,
    lease: Lease,
    victim: psycopg.Connection,
    attack: Callable[[psycopg.Connection], None],
) -> None:
    attack(victim)
    revoke(live.target, lease.role.role)
    assert is_dead(victim)
    assert look(live.target, lease.role.role) == NOTHING


def test_temporary_objects_end_with_the_role(live: Registered, lease: Lease) -> None:
    """PUBLIC has TEMPORARY where the DBA left it."""
    database = sql.Identifier(live.target.dbname)
    with live.admin() as connection:
        connection.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO PUBLIC").format(database))
        try:
            with contextlib.closing(live.connect(lease)) as victim:
                victim.execute("CREATE TEMPORARY TABLE t AS SELECT * FROM customer")
                victim.execute("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
                revoke(live.target, lease.role.role)
                assert is_dead(victim)
        finally:
            connection.execute(
                sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(database)
            )
    assert look(live.target, lease.role.role) == NOTHING


def test_what_it_owns_in_another_database_goes_too(
    live: Registered, live_server: EmbeddedServer, lease: Lease
) -> None:
    elsewhere = new_database(live_server)  # PUBLIC may connect there
    with admin(live_server, elsewhere) as connection:
        connection.execute(f"CREATE SCHEMA theirs AUTHORIZATION {lease.role.role}")
        revoke(live.target, lease.role.role)
        left = connection.execute("SELECT to_regnamespace('theirs')").fetchone()
    assert left == (None,)


def test_what_it_owns_where_we_may_not_connect_is_still_there_with_the_sql_that_helps(
    live: Registered, live_server: EmbeddedServer, lease: Lease
) -> None:
    elsewhere = new_database(live_server)
    with admin(live_server, elsewhere) as connection:
        connection.execute(f"CREATE SCHEMA theirs AUTHORIZATION {lease.role.role}")
        connection.execute(f"REVOKE CONNECT ON DATABASE {elsewhere} FROM PUBLIC")
        with pytest.raises(StillThere, match=elsewhere) as refusal:
            revoke(live.target, lease.role.role)
        assert refusal.value.facts["databases"] == [elsewhere]
        assert not can_log_in(live, lease)
        connection.execute(refusal.value.facts["sql"])
    assert revoke(live.target, lease.role.role).found_absent


def hidden_sessions(live: Registered) -> int:
    with live.admin() as connection:
        row = connection.execute(
            "SELECT count(DISTINCT pid) FROM pg_locks l WHERE pid IS NOT NULL AND NOT EXISTS"
            " (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid AND a.usesysid IS NOT NULL)"
            " AND database IS NULL AND locktype = 'virtualxid'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def sleeper(live: Registered, lease: Lease, ends: list[str]) -> threading.Thread:
    """Connect with a delay after the login's check: in no view, and not ended by a usual sweep."""

    def connect() -> None:
        try:
            with live.connect(lease, options="-c post_auth_delay=600") as connection:
                connection.execute("SELECT email FROM customer")
            ends.append("read")
        except psycopg.Error as error:
            ends.append(str(error))

    before = hidden_sessions(live)
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    wait_for(lambda: hidden_sessions(live) > before, "the sleeper is past its login")
    return thread


def test_a_session_hidden_by_post_auth_delay_is_ended_and_another_ones_is_not(
    live: Registered, scope: Scope, lease: Lease
) -> None:
    """It would wake 10 minutes later. A tenant's own starting session looks just the same."""
    other = new_lease(scope.name)
    issue(live.target, other.role)
    ends: list[str] = []
    other_ends: list[str] = []
    other_thread = sleeper(live, other, other_ends)
    thread = sleeper(live, lease, ends)
    revoke(live.target, lease.role.role)
    thread.join(20)
    assert len(ends) == 1
    assert ends != ["read"]
    assert look(live.target, lease.role.role) == NOTHING
    assert other_ends == []
    revoke(live.target, other.role.role)
    other_thread.join(20)
    assert len(other_ends) == 1
    assert other_ends != ["read"]


@pytest.mark.parametrize("kind", ["no mark", "no label", "neither"])
def test_a_role_of_the_dba_that_looks_like_a_lease_is_never_touched(
    live: Registered, scope: Scope, kind: str
) -> None:
    lease = new_lease(scope.name)
    name = lease.role.role
    with live.admin() as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE {scope.name}")
        if kind != "no mark":
            connection.execute(f"GRANT sab_managed TO {name}") if kind == "no label" else None
        else:
            connection.execute(f"COMMENT ON ROLE {name} IS '{lease.role.label_text}'")
        state = "SELECT r::text FROM pg_authid r WHERE rolname = %s"
        before = connection.execute(state, [name]).fetchone()
        with pytest.raises(NotOurs):
            revoke(live.target, name)
        with pytest.raises(NotOurs):
            issue(live.target, lease.role)
        assert connection.execute(state, [name]).fetchone() == before
        connection.execute(f"DROP ROLE {name}")


def test_a_session_that_outlived_its_role_is_found_and_not_called_gone(
    live: Registered, lease: Lease, victim: psycopg.Connection
) -> None:
    """A DBA who drops the role by hand ends no session."""
    with live.admin() as connection:
        connection.execute(f"DROP ROLE {lease.role.role}")
    assert look(live.target, lease.role.role) == Look(role_exists=False, sessions=1, prepared=0)
    with pytest.raises(StillThere):
        revoke(live.target, lease.role.role)
    victim.close()
    wait_for(lambda: look(live.target, lease.role.role) == NOTHING, "the session is over")
    assert revoke(live.target, lease.role.role).found_absent


def test_a_prepared_transaction_is_still_there_until_a_superuser_ends_it(
    two_phase_server: EmbeddedServer,
) -> None:
    """It holds the role's row without a session: only the scope can be taken, and is."""
    live = register(two_phase_server)
    scope = masked_scope(new_scope_name())
    make_scope(live.target, scope, label_text(scope.name, "scope"), keyed=True)
    lease = new_lease(scope.name)
    issue(live.target, lease.role)
    with live.connect(lease) as victim:
        lock_own_row(victim)
        victim.execute("PREPARE TRANSACTION 'held'")
    with pytest.raises(StillThere, match="ROLLBACK PREPARED 'held'"):
        revoke(live.target, lease.role.role, deadline_s=1)
    with pytest.raises(psycopg.OperationalError, match="does not have CONNECT"):
        live.connect(lease)  # its password still holds, but the scope gave it the right to connect
    with live.admin() as connection:
        connection.execute("ROLLBACK PREPARED 'held'")
    revoke(live.target, lease.role.role)
    with live.connect(issue_another(live, scope)) as victim:
        victim.execute("BEGIN")
        victim.execute("SELECT lo_from_bytea(0, '\\x00')")
        victim.execute("PREPARE TRANSACTION 'data'")
        role = victim.info.user
    with pytest.raises(StillThere, match="prepared transactions"):
        revoke(live.target, role)
    with live.admin() as connection:
        connection.execute("ROLLBACK PREPARED 'data'")
    revoke(live.target, role)


def issue_another(live: Registered, scope: Scope) -> Lease:
    lease = new_lease(scope.name)
    issue(live.target, lease.role)
    return lease


@pytest.fixture
def two_phase_server(servers_folder: Path, live_server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """Of the same version as the server of the other tests."""
    server = EmbeddedServer(
        servers_folder / f"prepared-{live_server.folder.name}",
        settings={"max_prepared_transactions": "5"},
        install=live_server.install,
    )
    with running(server):
        yield server
