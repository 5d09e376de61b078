"""`broker doctor` on a set-up that is whole, and on the same with one thing broken at a time."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from werkzeug.serving import make_server

from broker import alarms, janitor, lifecycle, sweeps, tenants
from broker.cli import cli
from broker.demo.mail_catcher import MailCatcher
from broker.demo.ticket_source import Announcer, make_app
from broker.doctor import Line, examine, tools
from broker.doctor.control import judge_clock
from broker.grants import preflights
from broker.keys.keyring import Keyring
from broker.scheduler import Lead
from broker.secret import Secret
from broker.settings import Control, Keys, Mail, Settings, Store, Tickets
from broker.tx import system
from tests.stories import control_superuser, unmounted
from tests.world import World, connect

FLOORS = tools.load_floors(Path("config/tools.toml"))
TOOLS = {"pg_dump", "pg_restore", "psql"}


@dataclass
class Host:
    """A world whose processes are at work, with a mail server and a ticket system beside it."""

    world: World
    settings: Settings

    def examine(self, **changed: Any) -> dict[str, Line]:
        lines = examine(self.settings.model_copy(update=changed))
        return {line.what: line for line in lines}

    def find_bad(self, **changed: Any) -> set[str]:
        return {line.what for line in self.examine(**changed).values() if line.verdict == "bad"}


@pytest.fixture
def tickets() -> Iterator[Tickets]:
    token = secrets.token_urlsafe(16)
    server = make_server(
        "127.0.0.1", 0, make_app(Secret(token), Announcer(None, None)), threaded=True
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    hook = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    yield Tickets(
        url=f"http://127.0.0.1:{server.server_port}",
        token=Secret(token),
        webhook_secrets=[Secret(hook)],
    )
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def host(world: World, tickets: Tickets, tmp_path: Path) -> Iterator[Host]:
    sweep_all(world)
    with MailCatcher(tmp_path / "mails") as mails:
        mail = Mail(host="127.0.0.1", port=mails.port)
        changed = {"mail": mail, "tickets": tickets}
        yield Host(world, world.broker.settings.model_copy(update=changed))


def sweep_all(world: World) -> None:
    """What a scheduler and a worker do in their first minute."""
    lead = Lead(world.broker)
    lead.renew()
    assert lead.fence is not None
    database, queue = world.broker.database, world.broker.queue
    for sweep in (sweeps.sweep_ends, sweeps.sweep_retries, sweeps.sweep_checks):
        sweep(database, queue, lead.fence)
    janitor.sweep_orphans(world.ports, lead.fence)
    alarms.sweep_alarms(database, lead.fence)


def test_a_whole_set_up_has_nothing_bad(host: Host) -> None:
    found = host.examine()
    assert {what for what, line in found.items() if line.verdict == "bad"} == set()
    assert {what for what, line in found.items() if line.verdict == "warn"} <= TOOLS
    assert set(found) >= TOOLS | {
        *("control database", "its role", "migrations", "clock", "published keys", "scheduler"),
        *("sweeps", "late promises", "preflights", "configuration", "keyring", "store"),
        *("ticket system", "mail server"),
    }
    assert all(line.todo for line in found.values() if line.verdict != "ok")


def test_the_owner_of_the_control_database_is_no_role_for_the_application(host: Host) -> None:
    owner = host.settings.control.owner_dsn
    assert owner is not None
    line = host.examine(control=Control(dsn=owner))["its role"]
    assert line.verdict == "bad"
    assert "owns" in line.says
    assert "may change the entries of logs" in line.says


def test_a_database_that_refuses_us_is_told_without_the_password(host: Host) -> None:
    dsn = host.settings.control.dsn.reveal()
    password = dsn.split(":")[2].partition("@")[0]
    wrong = dsn.replace(password, "hunter2hunter2")
    found = host.examine(control=Control(dsn=Secret(wrong)))
    assert found["control database"].verdict == "bad"
    assert "sweeps" not in found  # nothing is known of what stands in it
    assert found["keyring"].verdict == "ok"
    assert "hunter2" not in str(found)
    malformed = host.examine(control=Control(dsn=Secret("hunter2 is no dsn")))
    assert malformed["control database"].verdict == "bad"
    assert "hunter2" not in str(malformed)


def test_a_form_that_is_not_this_programs_is_told(host: Host) -> None:
    with control_superuser(host.world) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    line = host.examine()["migrations"]
    assert (line.verdict, line.todo) == ("bad", "broker migrate")


def test_a_keyring_that_others_can_read_or_that_is_another_is_told(
    host: Host, tmp_path: Path
) -> None:
    folder = host.settings.keys.keyring
    assert folder is not None
    folder.chmod(0o750)
    line = host.examine()["keyring"]
    folder.chmod(0o700)
    assert line.verdict == "bad"
    assert f"chmod go= {folder}" in line.says
    Keyring.create_folder(tmp_path / "other")
    assert host.find_bad(keys=Keys(keyring=tmp_path / "other")) == {"published keys"}
    assert host.examine(keys=Keys())["keyring"].verdict == "warn"


def test_a_store_whose_volume_is_away_is_told(host: Host) -> None:
    folder = host.settings.store.folder
    assert folder is not None
    with unmounted(folder):
        assert host.find_bad() == {"store"}
    assert host.examine(store=Store())["store"].verdict == "warn"


def test_a_ticket_system_or_mail_server_that_does_not_answer_is_told(host: Host) -> None:
    nobody = Mail(host="127.0.0.1", port=1)
    assert host.find_bad(mail=nobody) == {"mail server"}
    blind = host.settings.tickets.model_copy(update={"token": Secret("another")})
    assert host.find_bad(tickets=blind) == {"ticket system"}
    lost = host.settings.tickets.model_copy(update={"probe": "T-none"})
    assert host.find_bad(tickets=lost) == {"ticket system"}
    assert host.examine(tickets=Tickets())["ticket system"].verdict == "warn"
    assert host.examine()["ticket webhooks"].verdict == "ok"
    deaf = host.settings.tickets.model_copy(update={"webhook_secrets": []})
    assert host.examine(tickets=deaf)["ticket webhooks"].verdict == "warn"


def test_a_scheduler_that_lost_its_lead_and_sweeps_that_stopped_are_told(host: Host) -> None:
    with host.world.as_(system("tests")) as tx:
        tx.session.execute(sa.text("UPDATE scheduler_lead SET until = now() - interval '1 s'"))
        tx.session.execute(
            sa.text("UPDATE sweep_run SET at = at - interval '1 h' WHERE kind = 'ends'")
        )
    assert host.find_bad() == {"scheduler", "sweeps"}
    assert "ends ran last" in host.examine()["sweeps"].says


def test_a_promise_that_is_late_and_a_server_with_something_fatal_are_told(host: Host) -> None:
    world = host.world
    lease_id, _ = world.lease(world.approved())
    with world.as_(world.admin) as tx:
        lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)
    with control_superuser(world) as connection:
        # A first try failed, an hour ago, and the job of the next is lost.
        connection.execute("UPDATE lease SET state_at = state_at - interval '1 hour', attempts = 1")
    grant = f"ON DATABASE {world.crm} {{}} PUBLIC"
    with connect(world.live) as connection:
        connection.execute("GRANT TEMPORARY " + grant.format("TO"))
        with world.as_(system("tests")) as tx:
            preflights.ask(tx, world.database_id, world.broker.queue)
        world.work()
        connection.execute("REVOKE TEMPORARY " + grant.format("FROM"))
    found = host.examine()
    assert lease_id in found["late promises"].says
    assert found["preflights"].todo == f"broker databases check {world.database_id}"
    assert {found[what].verdict for what in ("late promises", "preflights")} == {"bad"}


def test_a_login_that_holds_more_or_less_than_it_needs_is_told_now(host: Host) -> None:
    """Not by the last preflight: what a DBA gave or took a moment ago."""
    world = host.world
    assert "nothing else" in host.examine()["our logins"].says
    with world.as_(system("tests")) as tx:
        login = tenants.get_database(tx, world.database_id).login
    what = f"our logins: {world.database_id}"
    for change, back, verdict, said in (
        ("BYPASSRLS", "NOBYPASSRLS", "warn", "BYPASSRLS"),
        ("NOCREATEROLE", "CREATEROLE", "bad", "may not make roles"),
        ("NOLOGIN", "LOGIN", "warn", "not permitted to log in"),
    ):
        with connect(world.live) as connection:
            connection.execute(f"ALTER ROLE {login} {change}")
            line = host.examine()[what]
            connection.execute(f"ALTER ROLE {login} {back}")
        assert said in line.says
        assert world.database_id in line.todo
        assert (change, line.verdict) == (change, verdict)


@pytest.mark.parametrize(
    ("apart_s", "verdict"), [(0.0, "ok"), (2.0, "ok"), (3.0, "warn"), (61.0, "bad")]
)
def test_clocks_that_differ_are_told(apart_s: float, verdict: str) -> None:
    assert judge_clock(apart_s).verdict == verdict


def test_a_configuration_that_is_not_there_is_told(host: Host, tmp_path: Path) -> None:
    elsewhere = host.settings.tools.model_copy(update={"config": tmp_path})
    assert host.find_bad(tools=elsewhere) == {"configuration"} | TOOLS


@pytest.mark.parametrize(
    ("said", "is_wheel", "verdict"),
    [
        ("pg_dump (PostgreSQL) 17.12 (Debian 17.12-1)\n", False, "ok"),
        ("pg_dump (PostgreSQL) 17.11\n", False, "bad"),
        ("pg_dump (PostgreSQL) 17.11\n", True, "warn"),
        ("pg_dump (PostgreSQL) 15.18\n", False, "bad"),
        ("pg_dump (PostgreSQL) 15.20\n", False, "ok"),
        ("pg_dump (PostgreSQL) 14.25\n", True, "bad"),
        ("pg_dump (PostgreSQL) 19beta1\n", False, "bad"),
        ("", False, "bad"),
    ],
)
def test_a_tool_below_its_majors_floor_is_bad_and_the_wheels_a_warning(
    said: str, verdict: str, *, is_wheel: bool
) -> None:
    line = tools.judge("pg_dump", said, FLOORS, is_wheel=is_wheel)
    assert line.verdict == verdict
    assert ("CVE-2026-116314" in line.says) == ("known holes" in line.says)


def write_settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.tickets.token is not None
    values = {
        "CONTROL__DSN": settings.control.dsn.reveal(),
        "KEYS__KEYRING": str(settings.keys.keyring),
        "STORE__FOLDER": str(settings.store.folder),
        "MAIL__HOST": settings.mail.host,
        "MAIL__PORT": str(settings.mail.port),
        "TICKETS__URL": settings.tickets.url or "",
        "TICKETS__TOKEN": settings.tickets.token.reveal(),
        "TICKETS__WEBHOOK_SECRETS": settings.tickets.webhook_secrets[0].reveal(),
    }
    for name, value in values.items():
        monkeypatch.setenv(f"BROKER_{name}", value)


def test_the_command_ends_with_0_or_1_and_prints_no_secret(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(host.settings, monkeypatch)
    well = CliRunner().invoke(cli, ["doctor", "-o", "json"])
    assert well.exit_code == 0, well.output
    assert json.loads(well.stdout)["ok"] is True
    monkeypatch.setenv("BROKER_MAIL__PORT", "1")
    ill = CliRunner().invoke(cli, ["doctor"])
    assert ill.exit_code == 1
    assert "bad  mail server: " in ill.stdout
    assert "→" in ill.stdout
    for text in (well.output, ill.output):
        assert "whsec_" not in text
        assert host.settings.control.dsn.reveal() not in text


def test_a_setting_that_is_none_is_one_bad_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_CONTROL__DNS", "postgresql://u:hunter2@h/d")
    result = CliRunner().invoke(cli, ["doctor", "-o", "json"])
    assert result.exit_code == 1
    [line] = json.loads(result.stdout)["lines"]
    assert (line["what"], line["verdict"]) == ("settings", "bad")
    assert "hunter2" not in result.output
