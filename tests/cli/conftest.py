"""The command line against a real HTTP server over the world's own broker."""

from __future__ import annotations

import contextlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keyring
import pytest
from click.testing import CliRunner, Result
from flask import Flask
from keyring.backends.fail import Keyring as NoKeyring
from werkzeug.serving import make_server

from broker import people, signin
from broker.audit.integrate import integrate_all
from broker.cli import cli
from broker.secret import Secret
from broker.sweeps import sweep_retries
from broker.ticketing import NO_FENCE
from broker.tx import Actor, system
from tests import apps
from tests.world import World

PASSWORD = "correct horse battery staple"


@dataclass
class Wire:
    """Everything that reached the server: request lines, and bodies."""

    lines: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def wrap(self, app: Callable[..., Any]) -> Callable[..., Any]:
        def call(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
            size = int(environ.get("CONTENT_LENGTH") or 0)
            body = environ["wsgi.input"].read(size)
            environ["wsgi.input"] = io.BytesIO(body)
            self.lines.append(f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}")
            self.bodies.append(body)
            return app(environ, start)

        return call


@dataclass
class Terminal:
    """One person's command line, with a folder of its own."""

    url: str
    home: Path
    email: str = ""

    @property
    def env(self) -> dict[str, str | None]:
        ours = {"BROKER_URL": self.url, "BROKER_HOME": str(self.home)}
        unset = dict.fromkeys(("BROKER_TOKEN", "BROKER_PROFILE", "BROKER_OUTPUT"))
        without = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
        return {**unset, **ours, **without}

    def try_(self, *args: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, args, env=self.env, input=stdin)

    def run(self, *args: str, stdin: str | None = None) -> str:
        result = self.try_(*args, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *args: str, stdin: str | None = None) -> Any:
        return json.loads(self.run(*args, "-o", "json", stdin=stdin))

    def login(self) -> None:
        self.run("login", "--email", self.email, "--password-stdin", stdin=PASSWORD + "\n")


@dataclass
class Desk:
    """The world, served; and the people of the story at their terminals."""

    world: World
    url: str
    wire: Wire
    folder: Path
    app: Flask

    def terminal(self, name: str, actor: Actor) -> Terminal:
        """Signed in, with a password of its own."""
        assert actor.person_id is not None
        with self.world.as_(system("tests")) as tx:
            signin.set_password(tx, actor.person_id, Secret(PASSWORD))
            email = people.get_person(tx, actor.person_id).email
        terminal = Terminal(self.url, self.folder / name, email)
        terminal.login()
        return terminal

    def stranger(self) -> Terminal:
        return Terminal(self.url, self.folder / "nobody")

    @contextlib.contextmanager
    def worker(self) -> Iterator[None]:
        """Do what worker and scheduler do, beside the command that waits for it."""
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                self.world.work()
                integrate_all(self.world.broker.database, self.world.ports.keys)
                sweep_retries(self.world.broker.database, self.world.broker.queue, NO_FENCE)
                stop.wait(0.1)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@pytest.fixture(autouse=True, scope="package")
def no_keyring() -> Iterator[None]:
    """None of the machine's own is written to."""
    before = keyring.get_keyring()
    keyring.set_keyring(NoKeyring())
    yield
    keyring.set_keyring(before)


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Iterator[Desk]:
    wire = Wire()
    with apps.lend(world.broker) as app:
        server = make_server("127.0.0.1", 0, wire.wrap(app), threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            yield Desk(world, url, wire, tmp_path / "homes", app)
        finally:
            server.shutdown()
            thread.join()
        server.server_close()


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A command line whose broker does not answer: for what needs none."""
    return Terminal("http://127.0.0.1:9", tmp_path / "home")
