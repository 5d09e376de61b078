"""The demo's world: three PostgreSQL servers, a store, a keyring, a ticket system, a mail catcher,
and the broker's own processes, all on this machine and all gone when the block ends.

Every run begins with fresh folders and fresh secrets; what a killed run left is cleared away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
from psycopg import sql

from broker import bootstrap
from broker.demo.canaries import Marks, new_marks
from broker.demo.crm import build_crm
from broker.demo.mail_catcher import MailCatcher
from broker.demo.processes import Child, broker_command, free_port, start, wait_until
from broker.embedded import TEST_SERVER_SETTINGS, EmbeddedServer, world_folder
from broker.engines import Target
from broker.errors import Conflict
from broker.keys.keyring import Keyring
from broker.secret import Secret
from broker.settings import load_settings
from broker.stores.folder import FolderStore

CRM = "crm"
APP_ROLE, OWNER_ROLE = "broker_app", "broker_owner"
HOST = "127.0.0.1"
SPEEDS = {"sweep_s": 2, "poll_tickets_s": 5, "missing_ticket_s": 5}  # the demo's people don't wait


@dataclass
class DemoWorld:
    """Where everything is. `folder` holds what people look at; `servers` the servers' own files."""

    folder: Path
    servers: Path
    config: Path  # the repository's config/
    control: EmbeddedServer
    live: EmbeddedServer
    test: EmbeddedServer
    mails: MailCatcher
    marks: Marks = field(default_factory=new_marks)
    ticket_token: Secret[str] = field(default_factory=lambda: Secret(secrets.token_urlsafe(24)))
    children: list[Child] = field(default_factory=list)
    web_port: int = field(default_factory=free_port)
    ticket_port: int = 0

    @property
    def url(self) -> str:
        return f"http://localhost:{self.web_port}"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def check_alive(self) -> None:
        for child in self.children:
            child.check_alive()

    def live_target(self) -> Target:
        return Target(self.live.host, self.live.port, CRM, "postgres", self.live.password)


def as_superuser(server: EmbeddedServer, dbname: str = "postgres") -> psycopg.Connection:
    """What a DBA does on its own server; the broker never connects like this."""
    return psycopg.connect(
        host=server.host,
        port=server.port,
        user="postgres",
        password=server.password.reveal(),
        dbname=dbname,
        autocommit=True,
    )


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One run at a time in a clone; the lock dies with its process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another run holds {folder}; end it first") from None
        yield


@contextlib.contextmanager
def built_world(clone: Path, name: str, *, scale: float) -> Iterator[DemoWorld]:
    """Build the world under `var/<name>`, and take it down whatever happens."""
    folder, servers = clone / "var" / name, world_folder(clone) / f"{name}-servers"
    with contextlib.ExitStack() as stack:
        stack.enter_context(alone(clone / "var" / f"{name}.lock"))
        world = _fresh_world(clone, folder, servers)
        for server in (world.control, world.live, world.test):
            stack.callback(server.stop)
            server.start()
        stack.enter_context(world.mails)
        stack.callback(_stop_children, world)
        _fill_live_server(world, scale)
        _prepare_control(world)
        _start_processes(world)
        yield world


def _fresh_world(clone: Path, folder: Path, servers: Path) -> DemoWorld:
    for name in ("control", "live", "test"):
        EmbeddedServer(servers / name).clear()
    for old in (folder, servers):
        shutil.rmtree(old, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    return DemoWorld(
        folder=folder,
        servers=servers,
        config=clone / "config",
        control=EmbeddedServer(servers / "control"),
        live=EmbeddedServer(servers / "live"),
        test=EmbeddedServer(servers / "test", settings=TEST_SERVER_SETTINGS),
        mails=MailCatcher(folder / "mails"),
    )


def _stop_children(world: DemoWorld) -> None:
    for child in reversed(world.children):
        child.stop()


def _fill_live_server(world: DemoWorld, scale: float) -> None:
    with as_superuser(world.live) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(CRM)))
    build_crm(world.live_target(), marks=world.marks, scale=scale)


def _prepare_control(world: DemoWorld) -> None:
    """Two roles, one database; settings for workers, and for the web process without any key."""
    passwords = {role: secrets.token_hex(24) for role in (APP_ROLE, OWNER_ROLE)}
    with as_superuser(world.control) as connection:
        for role, password in passwords.items():
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(role), sql.Literal(password)
                )
            )
        connection.execute(
            sql.SQL("CREATE DATABASE broker OWNER {}").format(sql.Identifier(OWNER_ROLE))
        )
    Keyring.create_folder(world.folder / "keyring")
    FolderStore.create_folder(world.folder / "store")
    webhook_secret = "whsec_" + _base64(secrets.token_bytes(24))
    _start_ticket_source(world, webhook_secret)
    host = world.control.host
    dsn = {
        role: f"host={host} user={role} password={passwords[role]} dbname=broker"
        for role in passwords
    }
    common: dict[str, Mapping[str, object]] = {
        "vendor": {"name": "Example Vendor", "host": "broker.example"},
        "mail": {"host": HOST, "port": world.mails.port},
        "tickets": {
            "url": f"http://{HOST}:{world.ticket_port}",
            "token": world.ticket_token.reveal(),
            "webhook_secrets": [webhook_secret],
        },
        "times": SPEEDS,
        "tools": {"config": str(world.config)},
    }
    web = {"secret_key": secrets.token_hex(32), "public_url": world.url}
    _write_toml(
        world.folder / "web.toml", {**common, "control": {"dsn": dsn[APP_ROLE]}, "web": web}
    )
    keyed: dict[str, Mapping[str, object]] = {
        "keys": {"keyring": str(world.folder / "keyring")},
        "store": {"folder": str(world.folder / "store")},
    }
    _write_toml(
        world.folder / "worker.toml", {**common, **keyed, "control": {"dsn": dsn[APP_ROLE]}}
    )
    both = {"dsn": dsn[APP_ROLE], "owner_dsn": dsn[OWNER_ROLE]}
    _write_toml(world.folder / "owner.toml", {**common, "control": both})
    bootstrap.migrate(load_settings(world.folder / "owner.toml", environ={}))


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def _write_toml(path: Path, values: Mapping[str, Mapping[str, object]]) -> None:
    """Settings with their secrets, readable by this user alone."""
    import json

    path.touch(mode=0o600)
    lines: list[str] = []
    for section, keys in values.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    path.write_text("\n".join(lines) + "\n")


def _start_ticket_source(world: DemoWorld, webhook_secret: str) -> None:
    port_file = world.folder / "ticket_source.port"
    child = start(
        "ticket source",
        [
            sys.executable,
            "-m",
            "broker.demo.ticket_source",
            "--port",
            "0",
            "--port-file",
            str(port_file),
        ],
        {
            "TICKET_SOURCE_TOKEN": world.ticket_token.reveal(),
            "TICKET_SOURCE_WEBHOOK_SECRET": webhook_secret,
            "TICKET_SOURCE_WEBHOOK_URL": f"http://{HOST}:{world.web_port}/hooks/tickets/generic",
        },
        world.logs / "ticket_source.log",
    )
    world.children.append(child)

    def answers() -> bool:
        child.check_alive()
        return port_file.is_file() and port_file.read_text().strip() != ""

    wait_until(answers, "the start of the ticket source")
    world.ticket_port = int(port_file.read_text())


def _start_processes(world: DemoWorld) -> None:
    for name, arguments, config in (
        ("web", ["web", "--bind", f"{HOST}:{world.web_port}"], "web.toml"),
        ("worker", ["worker"], "worker.toml"),
        ("scheduler", ["scheduler"], "web.toml"),
    ):
        env = {"BROKER_CONFIG": str(world.folder / config), "HOME": os.environ.get("HOME", "/")}
        log = world.logs / f"{name}.log"
        world.children.append(start(name, broker_command(*arguments), env, log))

    def answers() -> bool:
        world.check_alive()
        try:
            return (
                httpx.get(f"http://{HOST}:{world.web_port}/healthz", timeout=2).status_code == 200
            )
        except httpx.HTTPError:
            return False

    wait_until(answers, "the start of the web process")
