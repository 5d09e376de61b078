"""The story through the command line, against the API on a real HTTP server."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.cli.conftest import Desk, Terminal
from tests.world import REASON


def connect(terminal: Terminal, *args: str) -> subprocess.CompletedProcess[str]:
    """`broker connect` as a process of its own: it gives the terminal to another program."""
    env = {k: v for k, v in terminal.env.items() if v is not None}
    return subprocess.run(
        [sys.executable, "-m", "broker.cli", "connect", *args],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_story_is_told_by_commands_alone(desk: Desk, tmp_path: Path) -> None:
    world = desk.world
    engineer = desk.terminal("engineer", world.engineer)
    admin = desk.terminal("admin", world.admin)
    ticket = world.ticket()
    with desk.worker():
        asked = engineer.json(
            *("grants", "request", "--ticket", ticket, "--database", world.database_id),
            *("--reason", REASON, "--live", "1h", "--copy", "1d", "--wait", "30s"),
        )
        grant = asked["id"]
        assert asked["asked_live_s"] == 3600

        refused = engineer.try_("grants", "approve", grant, "--plan", asked["asked_digest"])
        assert refused.exit_code == 4

        plan = admin.run("grants", "plan", grant)
        assert "crm.contacts" in plan
        assert "masked: " in plan
        approved = admin.json(
            *("grants", "approve", grant, "--plan", asked["asked_digest"]),
            *("--without", "crm.notes", "--live", "30m", "--note", "as long as needed"),
        )
        assert (approved["state"], approved["given_live_s"]) == ("approved", 1800)
        again = admin.try_("grants", "approve", grant, "--plan", asked["asked_digest"])
        assert again.exit_code == 6
        assert "approved" in again.stderr

        seen = connect(engineer, grant, "--", "-Atc", "SELECT email FROM contacts LIMIT 1")
        assert seen.returncode == 0, seen.stderr
        assert "@" in seen.stdout

        snapshot = engineer.run("snapshots", "order", grant, "--wait", "60s", "-o", "id").strip()
        assert engineer.json("snapshots", "show", snapshot)["state"] == "ready"
        on_copy = connect(engineer, snapshot, "--", "-Atc", "SELECT count(*) FROM crm.contacts")
        assert on_copy.stdout.strip().isdigit(), on_copy.stderr

        check_env(engineer, snapshot, tmp_path)

        destroyed = admin.json("snapshots", "destroy", snapshot, "--wait", "60s")
        assert destroyed["state"] == "destroyed"
        certificate = destroyed["certificate"]
        assert certificate in admin.run("certificates", "list")

        done = engineer.json("snapshots", "done", snapshot, "--took", "nothing")
        assert (done["state"], done["attested"]) == ("destroyed", "nothing")

        admin.run("grants", "end", grant)
        assert admin.json("grants", "show", grant)["state"] == "ended"
    check_proofs(desk, admin, certificate, tmp_path)


def check_env(engineer: Terminal, snapshot: str, folder: Path) -> None:
    """An application's variables work as a shell reads them, and as one URL."""
    file = folder / "env"
    engineer.run("snapshots", "env", snapshot, "--file", str(file))
    assert file.stat().st_mode & 0o077 == 0
    shown = subprocess.run(
        ["/bin/sh", "-c", f'. {file}; printf "%s\\n" "$DATABASE_URL" "$PGPASSWORD" "$PGUSER"'],
        capture_output=True,
        text=True,
        check=True,
        env={},
    ).stdout.splitlines()
    with psycopg.connect(shown[0]) as connection:
        row = connection.execute("SELECT current_user, current_database()").fetchone()
        assert connection.info.password == shown[1]
    assert row == (shown[2], f"sab_{snapshot[4:]}")
    assert engineer.try_("snapshots", "env", "grt_" + "a" * 26).exit_code == 2


def check_proofs(desk: Desk, admin: Terminal, certificate: str, folder: Path) -> None:
    """What the admin can check without us: unpinned it proves nothing, pinned it holds."""
    tenant, envelope = desk.world.tenant, folder / "certificate.json"
    bundle = folder / "log.json"
    admin.run("certificates", "get", certificate, "-f", str(envelope))
    admin.run("log", "export", tenant, "-f", str(bundle))
    assert bundle.stat().st_mode & 0o077 == 0

    unpinned = admin.try_("log", "verify", str(bundle))
    assert unpinned.exit_code == 9
    assert "Self-consistent, not authenticated" in unpinned.stdout

    admin.run("tenants", "pin", tenant, stdin="y\n")
    assert "verifies." in admin.run("log", "verify", str(bundle))
    assert certificate in admin.run("certificates", "verify", str(envelope))
    bundle.write_bytes(bundle.read_bytes().replace(b'"v":1', b'"v":2'))
    assert admin.try_("log", "verify", str(bundle)).exit_code == 9


def test_a_login_lives_as_long_as_its_program_and_its_password_is_nowhere_else(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """G11: what the program got is in no request, no argument and no log."""
    world = desk.world
    engineer = desk.terminal("engineer", world.engineer)
    told = tmp_path / "told"
    script = tmp_path / "program.py"
    script.write_text(
        "import os, sys, pathlib\n"
        "parent = pathlib.Path(f'/proc/{os.getppid()}/cmdline').read_text()\n"
        "own = pathlib.Path('/proc/self/cmdline').read_text()\n"
        "lines = [os.environ['PGPASSWORD'], os.environ['PGUSER'], parent + own,\n"
        "         str('BROKER_TOKEN' in os.environ)]\n"
        f"pathlib.Path({str(told)!r}).write_text('\\n'.join(lines))\n"
        "sys.exit(7)\n"
    )
    grant = world.approved()
    with desk.worker():
        ended = connect(engineer, grant, "--exec", f"{sys.executable} {script}")
        assert ended.returncode == 7, ended.stderr
        password, role, arguments, token_there = told.read_text().split("\n")
        lease = engineer.json("leases", "list", "--grant", grant)[0]
    assert len(password) == 32
    assert (lease["role"], lease["state"] in {"revoking", "revoked"}) == (role, True)
    assert token_there == "False"
    heard = "\n".join(desk.wire.lines) + b"\n".join(desk.wire.bodies).decode()
    for place in (heard, arguments, ended.stdout, ended.stderr, caplog.text):
        assert password not in place
    world.work()  # what the worker began may not be over yet
    assert role not in {
        row[0] for row in world.find_on_server(world.live, "SELECT rolname FROM pg_roles")
    }


def test_a_login_is_kept_when_that_is_asked(desk: Desk) -> None:
    engineer = desk.terminal("engineer", desk.world.engineer)
    grant = desk.world.approved()
    with desk.worker():
        assert connect(engineer, grant, "--keep", "--exec", "true").returncode == 0
        assert engineer.json("leases", "list", "--grant", grant)[0]["state"] == "issued"
        lease = engineer.run("leases", "list", "--grant", grant, "-o", "id").strip()
        engineer.run("leases", "end", lease)


def test_a_login_that_never_came_is_ended_and_the_wait_says_so(desk: Desk) -> None:
    """No worker runs: nothing must be left that is issued later, unwatched."""
    engineer = desk.terminal("engineer", desk.world.engineer)
    grant = desk.world.approved()
    waited = connect(engineer, grant, "--timeout", "1s", "--exec", "true")
    assert waited.returncode == 7
    assert engineer.json("leases", "list", "--grant", grant)[0]["state"] == "revoking"


def test_the_admin_reads_the_plan_before_it_is_asked_to_approve_it(desk: Desk) -> None:
    world = desk.world
    admin = desk.terminal("admin", world.admin)
    grant = world.request()
    world.work()
    declined = admin.try_("grants", "approve", grant, stdin="n\n")
    assert declined.exit_code == 1
    assert REASON in declined.stdout
    assert "crm.contacts" in declined.stdout
    assert world.grant(grant).state == "requested"
    args = ("grants", "approve", grant, "--without", "crm.notes")
    accepted = admin.run(*args, stdin="y\n")
    assert "you leave it out" in accepted
    assert f"{grant} is approved." in accepted


def test_a_refusal_carries_its_reason(desk: Desk) -> None:
    admin = desk.terminal("admin", desk.world.admin)
    grant = desk.world.request()
    assert admin.try_("grants", "refuse", grant).exit_code == 2
    admin.run("grants", "refuse", grant, "--note", "not in the closing week")
    assert admin.json("grants", "show", grant)["decision_note"] == "not in the closing week"


def test_a_server_is_set_up_and_registered_without_its_password_in_clear(
    desk: Desk, tmp_path: Path
) -> None:
    world = desk.world
    operator = desk.terminal("operator", world.operator)
    secret, statements = tmp_path / "password", tmp_path / "setup.sql"
    login = "sab_host_cli"
    operator.run(
        *("servers", "setup-sql", "--login", login),
        *("--password-file", str(secret), "--sql-file", str(statements)),
    )
    password = secret.read_text().strip()
    assert secret.stat().st_mode & 0o077 == 0
    assert password not in statements.read_text()
    with psycopg.connect(
        host=world.test.host,
        user="postgres",
        password=world.test.password.reveal(),
        dbname="postgres",
        autocommit=True,
    ) as connection:
        connection.execute(statements.read_text().encode())
    made = operator.json(
        *("servers", "create", "--name", "second", "--host", world.test.host),
        *("--login", login, "--password-file", str(secret)),
    )
    assert made["id"] in operator.run("servers", "list", "-o", "id")
    assert password.encode() not in b"".join(desk.wire.bodies)
    with world.as_(world.operator) as tx:
        from broker import tenants
        from broker.keys.intake import login_context

        row = tenants.get_server(tx, made["id"])
        context = login_context("server", row.host, row.port, row.login)
        assert world.ports.keys.open_intake(row.sealed_password, context).reveal() == password
    sealed = operator.run(
        *("servers", "seal", "--host", world.test.host),
        *("--login", login, "--password-file", str(secret)),
    )
    opened = world.ports.keys.open_intake(base64.b64decode(sealed.strip()), context)
    assert opened.reveal() == password


def test_a_tenant_is_enrolled_and_its_admin_is_invited(desk: Desk) -> None:
    operator = desk.terminal("operator", desk.world.operator)
    made = operator.json(
        *("tenants", "create", "--name", "Second", "--ticket-customer", "cust-2"),
        *("--legal-id", "FR83404833048"),
        *("--admin-email", "ada@second.test", "--admin-name", "Ada"),
    )
    assert made["id"] in operator.run("tenants", "list", "-o", "id").split()
    members = operator.json("people", "list")
    assert {member["role"] for member in members} == {"operator", "engineer"}
