"""What is open of a lease where nobody looks at first: its last slots, a role set at sign-in, other
databases, and behind a pooler (cases 26, 29, 33, 38).
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from broker.embedded import EmbeddedServer
from broker.engines.postgres.looks import look
from broker.engines.postgres.revoking import revoke
from tests.conftest import admin, new_database
from tests.engines.registered import Lease, Registered, wait_for
from tests.engines.test_revoking import (  # noqa: F401  # fixtures
    NOTHING,
    hidden_sessions,
    is_dead,
    lease,
    live,
    scope,
)


def test_sessions_up_to_its_limit_leave_the_revoker_a_connection(
    live: Registered,  # noqa: F811
    lease: Lease,  # noqa: F811
) -> None:
    limit = lease.role.connection_limit
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(contextlib.closing(live.connect(lease))) for _ in range(limit)]
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            live.connect(lease)
        revoke(live.target, lease.role.role)
        assert all(map(is_dead, held))
    assert look(live.target, lease.role.role) == NOTHING


def test_a_hidden_session_that_takes_its_scopes_role_at_sign_in_reads_nothing(
    live: Registered,  # noqa: F811
    lease: Lease,  # noqa: F811
) -> None:
    """PostgreSQL 16 and newer refuse it that; on 15 it is hidden like any other, and ended."""
    ends: list[str] = []

    def connect() -> None:
        options = f"-c post_auth_delay=600 -c role={lease.role.scope}"
        try:
            with live.connect(lease, options=options) as connection:
                connection.execute("SELECT email FROM customer")
            ends.append("read")
        except psycopg.Error as error:
            ends.append(str(error))

    before = hidden_sessions(live)
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    wait_for(lambda: ends or hidden_sessions(live) > before, "it is refused, or past its login")
    revoke(live.target, lease.role.role)
    thread.join(20)
    assert len(ends) == 1
    assert ends != ["read"]


def test_what_it_owns_in_three_databases_goes_and_nobody_gets_it(
    live: Registered,  # noqa: F811
    live_server: EmbeddedServer,
    lease: Lease,  # noqa: F811
) -> None:
    """Tables, large objects and default privileges; PUBLIC may connect to the two others."""
    places = [live.target.dbname, new_database(live_server), new_database(live_server)]
    for dbname in places:
        with admin(live_server, dbname) as connection:
            connection.execute(f"CREATE SCHEMA theirs AUTHORIZATION {lease.role.role}")
            connection.execute(f"SET ROLE {lease.role.role}")
            connection.execute("CREATE TABLE theirs.t (n int)")
            connection.execute("SELECT lo_create(424242)")
            connection.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    revoke(live.target, lease.role.role)
    for dbname in places:
        with admin(live_server, dbname) as connection:
            left = connection.execute(
                "SELECT to_regnamespace('theirs'), (SELECT count(*) FROM pg_default_acl"
                " WHERE defaclrole NOT IN (SELECT oid FROM pg_roles)),"
                " (SELECT count(*) FROM pg_largeobject_metadata WHERE oid = 424242)"
            ).fetchone()
        assert left == (None, 0, 0)


class Pooler:
    """Forwards a client's bytes, and keeps the server's side open when the client has gone."""

    def __init__(self, folder: Path, server: EmbeddedServer) -> None:
        self.host = str(folder)
        self._server = f"{server.host}/.s.PGSQL.{server.port}"
        self.kept: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / f".s.PGSQL.{server.port}"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                upstream = socket.socket(socket.AF_UNIX)
                upstream.connect(self._server)
                self.kept.append(upstream)
                args = (client, upstream)
                threading.Thread(target=self._forward, args=args, daemon=True).start()

    @staticmethod
    def _forward(client: socket.socket, upstream: socket.socket) -> None:
        other = {client: upstream, upstream: client}
        with client, contextlib.suppress(OSError):
            while True:
                for ready in select.select(list(other), [], [])[0]:
                    block = ready.recv(65536)
                    if not block or (ready is client and block[:1] == b"X"):  # Terminate: kept back
                        return
                    other[ready].sendall(block)

    def close(self) -> None:
        for one in (self._listener, *self.kept):
            one.close()


@pytest.fixture
def pooler(
    live_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pooler]:
    made = Pooler(tmp_path_factory.mktemp("pool"), live_server)
    yield made
    made.close()


def test_a_session_that_a_pooler_keeps_ends_and_its_next_client_is_refused(
    live: Registered,  # noqa: F811
    lease: Lease,  # noqa: F811
    pooler: Pooler,
) -> None:
    through = {
        "host": pooler.host,
        "dbname": live.target.dbname,
        "user": lease.role.role,
        "password": lease.password.reveal(),
    }
    with psycopg.connect(**through) as client:
        client.execute("SELECT email FROM customer")
    assert look(live.target, lease.role.role).sessions == 1  # the client has gone
    revoke(live.target, lease.role.role)
    assert look(live.target, lease.role.role) == NOTHING
    (kept,) = pooler.kept
    kept.settimeout(20)
    while kept.recv(65536):
        pass  # the server's last words, and then its end
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(**through)
