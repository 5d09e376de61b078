"""A real standby of one of the tests' servers: a base backup that streams from its primary."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.embedded import EmbeddedServer, running
from broker.engines.postgres.connect import find_tool
from tests.conftest import admin
from tests.engines.registered import wait_for

# What a query of the standby still needs stays on the primary: replay waits for no query, and none
# is cancelled for it.
_SETTINGS = {"hot_standby_feedback": "on", "wal_receiver_status_interval": "1s"}


@contextmanager
def standby_of(primary: EmbeddedServer, folder: Path) -> Iterator[EmbeddedServer]:
    standby = EmbeddedServer(folder, install=primary.install, settings=_SETTINGS)
    folder.mkdir()
    (folder / "superuser.password").write_text(primary.password.reveal())
    way = {
        "PGHOST": primary.host,
        "PGPORT": str(primary.port),
        "PGUSER": "postgres",
        "PGPASSWORD": primary.password.reveal(),
    }
    bin_folder = str(primary.install / "bin") if primary.install else None
    tool = find_tool("pg_basebackup", bin_folder)
    command = [tool, "-D", str(standby.data), "-R", "-c", "fast", "--no-sync"]
    subprocess.run(command, env=way, check=True, capture_output=True)
    owner = primary.data.stat()
    for path in [standby.data, *standby.data.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
    with running(standby):
        wait_for(lambda: _is_streaming(primary), "the standby streams")
        yield standby


def _is_streaming(primary: EmbeddedServer) -> bool:
    with admin(primary) as connection:
        query = "SELECT FROM pg_stat_replication WHERE state = 'streaming'"
        return connection.execute(query).fetchone() is not None


def replayed(primary: EmbeddedServer, standby: EmbeddedServer) -> bool:
    """Whether the standby has all that is committed now; to be waited for."""
    with admin(primary) as there, admin(standby) as here:
        position = there.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        query = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        return here.execute(query, position).fetchone() == (True,)


@contextmanager
def lagging(standby: EmbeddedServer) -> Iterator[None]:
    """The standby replays nothing meanwhile."""
    with admin(standby) as connection:
        connection.execute("SELECT pg_wal_replay_pause()")
        query = "SELECT pg_get_wal_replay_pause_state()"
        wait_for(lambda: connection.execute(query).fetchone() == ("paused",), "it is paused")
        try:
            yield
        finally:
            connection.execute("SELECT pg_wal_replay_resume()")
