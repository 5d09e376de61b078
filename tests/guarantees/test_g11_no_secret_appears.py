"""G11. No secret (password, key, DSN, token) appears in a log, a job's arguments, an audit entry,
an error, a process list or a URL.

Every 32 random bytes that the broker draws during the story count as a secret, so its data keys and
masking keys are among them.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker import signin
from broker.engines.postgres.masks import session_options
from broker.logs import setup_logs
from broker.secret import Secret
from broker.snapshots import loading
from tests.stories import (
    control_superuser,
    live_database,
    ready_copy,
    sandbox_server,
    shut_out,
    sweep,
)
from tests.world import World, connect


def forms(secret: bytes) -> set[bytes]:
    """As it is, in hex, in base64, and for a masking key as the pads that a session gets."""
    found = {secret, secret.hex().encode(), base64.b64encode(secret).rstrip(b"=")}
    found.add(base64.urlsafe_b64encode(secret).rstrip(b"="))
    if len(secret) == 32:
        found |= {pad.reveal().encode() for pad in session_options(Secret(secret)).values()}
    return found


@contextmanager
def watched_processes() -> Iterator[list[str]]:
    """Arguments and environment of every process that is started while the block runs, and what the
    process list shows meanwhile.
    """
    found: list[str] = []
    ended = threading.Event()

    def note(event: str, details: tuple[object, ...]) -> None:
        if event == "subprocess.Popen" and not ended.is_set():
            found.append(repr(details))

    def watch() -> None:
        while not ended.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    found.append(path.read_bytes().decode(errors="replace"))
            ended.wait(0.05)

    sys.addaudithook(note)  # there is no way to take one away: `ended` silences it
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """All that is drawn from the system's generator as 32 bytes, from here on."""
    found: list[bytes] = []
    true = secrets.token_bytes

    def token_bytes(count: int | None = None) -> bytes:
        made = true(count)
        if count == 32:
            found.append(made)
        return made

    monkeypatch.setattr(secrets, "token_bytes", token_bytes)
    return found


def test_no_secret_of_a_whole_story_is_seen_anywhere(
    world: World,
    drawn: list[bytes],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup_logs(json=True, level="DEBUG")
    monkeypatch.setattr(loading, "SMALL_BYTES", 0)  # every table by way of a process
    with connect(world.live) as connection:  # a tenant that logs everything
        connection.execute(f"ALTER DATABASE {world.crm} SET log_statement = 'all'")
        connection.execute(f"ALTER DATABASE {world.crm} SET log_min_error_statement = 'error'")
    start = world.live.log.stat().st_size
    with world.as_(world.engineer) as tx:
        _, token = signin.create_token(tx, "laptop", 1)
    errors: list[str] = []
    with watched_processes() as processes:
        grant_id, snapshot_id = ready_copy(world)
        lease_id, password = world.lease(grant_id)
        world.work()
        assert world.find_lease(lease_id).state == "issued"
        verifier = world.find_lease(lease_id).verifier or ""
        with shut_out(world, "live"), shut_out(world, "test"):
            world.close_ticket(world.grant(grant_id).ticket_id)
            world.work()
            errors += [str(world.find_lease(lease_id).stuck_reason)]
            errors += [str(world.snapshot(snapshot_id).stuck_reason)]
        sweep(world)
    for tool in ("psql", "pg_dump", "pg_restore"):  # the watch saw the copy's own
        assert any(f"/{tool}'" in seen for seen in processes), tool
    assert "None" not in errors

    with control_superuser(world) as connection:
        jobs = connection.execute(
            "SELECT args::text FROM procrastinate_jobs UNION ALL"
            " SELECT e::text FROM procrastinate_events e"
        ).fetchall()
        entries = connection.execute("SELECT entry FROM audit_entry").fetchall()
        notes = connection.execute(
            "SELECT concat_ws(' ', stuck_reason, end_reason) FROM access_grant UNION ALL"
            " SELECT concat_ws(' ', text, subject) FROM mail"
        ).fetchall()
    out, err = capfd.readouterr()
    with world.live.log.open("rb") as log:
        log.seek(start)
        tenants_log = log.read()
    assert b"PASSWORD" in tenants_log  # it did log how the lease was made
    places = {
        "log": (out + err).encode(),
        "tenant's log": tenants_log,
        "jobs": repr(jobs).encode(),
        "entries": b"".join(entry for (entry,) in entries),
        "errors": "\n".join(errors).encode(),
        "notes and mails": repr(notes).encode(),
        "processes": "\n".join(processes).encode(),
    }
    settings = world.broker.settings
    known = {
        "lease's password": password.reveal(),
        "token": token.reveal(),
        "live login": live_database(world).password.reveal(),
        "sandbox login": sandbox_server(world).password.reveal(),
        "control login": settings.control.dsn.reveal().split(":")[2].partition("@")[0],
    }
    needles = {name: {value.encode()} for name, value in known.items()}
    needles["lease's verifier"] = {verifier.encode(), verifier.rpartition(":")[2].encode()}
    assert len(drawn) > 5
    needles |= {f"drawn {number}": forms(value) for number, value in enumerate(drawn)}
    needles["label key"] = forms(world.ports.keys.label_key().reveal())
    found = {
        (place, name)
        for place, content in places.items()
        for name, variants in needles.items()
        if any(variant in content for variant in variants)
    }
    # A verifier is what CREATE ROLE takes: only the tenant's own log may show it, to the tenant.
    assert found <= {("tenant's log", "lease's verifier")}


def test_a_secret_in_a_log_or_an_error_is_hidden_a_second_time(
    capfd: pytest.CaptureFixture[str],
) -> None:
    from broker.logs import get_log

    setup_logs(json=True)
    hidden = "hunter2hunter2hunter2hunter2"
    get_log("test").error(
        "failed",
        password=hidden,
        url=f"postgresql://u:{hidden}@h/d",
        why=f"brk_{hidden}",
        secret=Secret(hidden),
        text=f"password='{hidden}'",
    )
    err = capfd.readouterr().err
    assert "failed" in err
    assert hidden not in err
