"""Setting servers up, the way of `broker connect`, and the commands that are processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from broker import lifecycle
from broker.cli.connect import environment, find_program, kind_of, run_program
from broker.cli.tunnel import Way, ssh_command, straight, tunnelled
from broker.errors import Invalid, Unavailable
from broker.ids import new_id
from broker.secret import Secret
from tests.cli.conftest import Desk, Terminal
from tests.world import World

DATABASE_SETUP = (
    *("databases", "setup-sql", "--dbname", "crm", "--login", "sab_broker"),
    *("--schema", "crm", "--app-role", "crm_app"),
)


def test_the_dba_gets_a_verifier_and_no_password(terminal: Terminal, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    statements = terminal.run(*DATABASE_SETUP, "--password-file", str(secret))
    password = secret.read_text().strip()
    assert len(password) == 32
    assert secret.stat().st_mode & 0o077 == 0
    assert password not in statements
    assert "SCRAM-SHA-256$" in statements
    assert statements.endswith("COMMIT;\n")


def test_a_new_password_goes_nowhere_unasked(terminal: Terminal, tmp_path: Path) -> None:
    assert terminal.try_(*DATABASE_SETUP).exit_code == 2
    assert terminal.try_(*DATABASE_SETUP, "--show-password").exit_code == 2
    statements = tmp_path / "setup.sql"
    shown = terminal.run(*DATABASE_SETUP, "--show-password", "--sql-file", str(statements))
    assert len(shown.strip()) == 32
    assert shown.strip() not in statements.read_text()


# connect


LEASE = {"id": "lse_x", "dbname": "crm", "role": "sab_l_x"}


def test_a_program_gets_its_server_by_its_environment_and_nothing_else_of_ours() -> None:
    base = {"PATH": "/bin", "PGSERVICE": "other", "PGOPTIONS": "-c x=y", "BROKER_TOKEN": "brk_x"}
    env = environment(LEASE, Secret("pw"), straight("/run/pg", 5432), None, base)
    assert env == {
        "PATH": "/bin",
        "PGHOST": "/run/pg",
        "PGPORT": "5432",
        "PGDATABASE": "crm",
        "PGUSER": "sab_l_x",
        "PGPASSWORD": "pw",
        "PGAPPNAME": "broker lse_x",
        "PGREQUIREAUTH": "scram-sha-256",
        "PGGSSENCMODE": "disable",
    }


def test_a_server_on_a_network_is_reached_by_verified_tls_alone() -> None:
    env = environment(LEASE, Secret("pw"), straight("db.example", 5432), None, {})
    assert (env["PGSSLMODE"], env["PGSSLROOTCERT"]) == ("verify-full", "system")
    env = environment(LEASE, Secret("pw"), straight("db.example", 5432), Path("ca.pem"), {})
    assert (env["PGSSLMODE"], env["PGSSLROOTCERT"]) == ("verify-full", "ca.pem")


def test_through_ssh_the_server_keeps_its_name_and_its_certificate_is_checked() -> None:
    way = tunnelled("db.example", 6000)
    env = environment(LEASE, Secret("pw"), way, None, {})
    assert (env["PGHOST"], env["PGHOSTADDR"], env["PGPORT"]) == ("db.example", "127.0.0.1", "6000")
    assert env["PGSSLMODE"] == "verify-full"
    assert tunnelled("/run/pg", 6000) == Way("localhost", 6000, "127.0.0.1")


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("db.example", "db.example:5432"),
        ("::1", "[::1]:5432"),
        ("/run/pg", "/run/pg/.s.PGSQL.5432"),
    ],
)
def test_ssh_forwards_one_port_and_does_nothing_else(host: str, target: str) -> None:
    assert ssh_command("bastion", 6000, host, 5432) == [
        *("ssh", "-N", "-T", "-o", "ExitOnForwardFailure=yes"),
        *("-L", f"127.0.0.1:6000:{target}", "--", "bastion"),
    ]


@pytest.mark.parametrize("via", ["-oProxyCommand=x", "a b", "a\nb"])
def test_a_host_that_is_an_option_or_two_words_is_refused(via: str) -> None:
    with pytest.raises(Invalid):
        ssh_command(via, 6000, "db.example", 5432)


def test_the_command_is_split_without_a_shell() -> None:
    assert find_program("pg_dump -t 'a b' ; rm") == ["pg_dump", "-t", "a b", ";", "rm"]
    assert Path(find_program(None)[0]).name == "psql"
    with pytest.raises(Invalid):
        find_program(" ")


def test_a_target_is_a_grant_or_a_snapshot() -> None:
    assert (kind_of(new_id("grt")), kind_of(new_id("snp"))) == ("grant", "snapshot")
    for other in (new_id("lse"), "grt_x", ""):
        with pytest.raises(Invalid):
            kind_of(other)


def test_the_status_of_the_program_is_handed_on() -> None:
    assert run_program(["sh", "-c", "exit 3"], os.environ) == 3
    assert run_program(["sh", "-c", "kill -TERM $$"], os.environ) == 128 + signal.SIGTERM
    with pytest.raises(Unavailable):
        run_program(["/nonexistent/program"], os.environ)


# Processes


def settings_of(world: World) -> dict[str, str]:
    """The environment of a process of this world's broker."""
    settings = world.broker.settings
    assert settings.control.owner_dsn
    assert settings.web.secret_key
    clean = {k: v for k, v in os.environ.items() if not k.startswith("BROKER_")}
    return {
        **clean,
        "BROKER_CONTROL__DSN": settings.control.dsn.reveal(),
        "BROKER_CONTROL__OWNER_DSN": settings.control.owner_dsn.reveal(),
        "BROKER_KEYS__KEYRING": str(settings.keys.keyring),
        "BROKER_STORE__FOLDER": str(settings.store.folder),
        "BROKER_WEB__SECRET_KEY": settings.web.secret_key.reveal(),
    }


@pytest.mark.parametrize("command", ["web", "worker", "scheduler", "migrate", "serve"])
def test_a_bad_setting_stops_a_process_with_one_sentence(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("BROKER_CONTROL__DNS", "postgresql://u:hunter2@h/d")
    result = terminal.try_(command)
    assert result.exit_code == 2
    assert "control" in result.stderr
    assert "hunter2" not in result.output
    assert len(result.stderr.splitlines()) == 1


def test_the_folders_are_made_once_and_are_private(
    terminal: Terminal, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    places = {"KEYS__KEYRING": tmp_path / "k", "STORE__FOLDER": tmp_path / "s"}
    env = settings_of(world) | {f"BROKER_{name}": str(path) for name, path in places.items()}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    terminal.run("keyring", "create")
    terminal.run("store", "create")
    assert (tmp_path / "k").stat().st_mode & 0o077 == 0
    assert terminal.try_("keyring", "create").exit_code == 6


def test_the_first_operator_is_made_once_and_a_filled_database_migrates_again(
    terminal: Terminal, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings_of(world).items():
        monkeypatch.setenv(name, value)
    terminal.run("migrate")
    args = ("people", "bootstrap", "--email", "o@v.test", "--name", "O", "--password-stdin")
    result = terminal.try_(*args, stdin="a long password\n")
    assert result.exit_code == 6, result.output  # the world has an operator


def test_a_worker_refuses_a_queue_that_is_none(terminal: Terminal) -> None:
    result = terminal.try_("worker", "--queues", "copies,typo")
    assert result.exit_code == 2
    assert "typo" in result.stderr


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310  # loopback, by http
            return bool(answer.read() == b"ok")
    except OSError:
        return False


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    """A zombie that nobody has waited for runs no longer."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], deadline_s: float = 60) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    "end",
    [
        "told",
        pytest.param("killed", marks=pytest.mark.long),
        pytest.param("one part dies", marks=pytest.mark.long),
    ],
)
def test_the_parts_of_serve_end_together(world: World, end: str, tmp_path: Path) -> None:
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        serve = subprocess.Popen(
            [sys.executable, "-m", "broker.cli", "serve", "--bind", f"127.0.0.1:{port}"],
            env=settings_of(world),
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        parts = children_of(serve.pid)
        assert len(parts) == 3
        match end:
            case "told":
                serve.terminate()
            case "killed":
                serve.kill()
            case _:
                os.kill(parts[1], signal.SIGKILL)
        expected = {"told": 0, "killed": -signal.SIGKILL}.get(end, 8)
        assert serve.wait(60) == expected, (tmp_path / "log").read_text()
        wait_until(lambda: not any(is_running(part) for part in parts))
    finally:
        serve.kill()
        serve.wait()


def test_health_is_exit_1_when_a_promise_is_late(desk: Desk) -> None:
    operator = desk.terminal("operator", desk.world.operator)
    assert "Nothing is late." in operator.run("health")
    lease, _ = desk.world.lease(desk.world.approved())
    with desk.world.as_(desk.world.admin) as tx:
        lifecycle.end_lease_by_click(tx, lease, desk.world.broker.queue)
    owner = desk.world.broker.settings.control.owner_dsn
    assert owner is not None
    with psycopg.connect(owner.reveal(), autocommit=True) as connection:
        connection.execute("UPDATE lease SET state_at = state_at - interval '1 hour'")
    late = operator.try_("health")
    assert late.exit_code == 1
    assert lease in late.stdout
