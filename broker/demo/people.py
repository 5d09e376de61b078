"""The people of the demo, who act through the same HTTP API and command line as anybody."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from broker.demo.processes import broker_command
from broker.errors import BrokerError
from broker.secret import Secret


class Unexpected(BrokerError):
    """Something in the story was not as it must be."""

    type = "unexpected"


@dataclass
class Who:
    """A person with a home of its own, where the command line keeps its token and pinned keys."""

    name: str
    email: str
    home: Path
    url: str
    password: Secret[str] = field(default_factory=lambda: Secret(secrets.token_urlsafe(18)))
    id: str = ""

    def sign_in(self) -> None:
        arguments = ["login", "--email", self.email, "--password-stdin"]
        self.run(*arguments, stdin=self.password.reveal() + "\n")

    def run(
        self, *arguments: str, stdin: str | None = None, expect: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line; raises Unexpected when it exits with anything but `expect`."""
        done = subprocess.run(
            broker_command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            env=self.env,
            timeout=300,
            check=False,
        )
        if done.returncode != expect:
            raise Unexpected(
                f"`broker {' '.join(arguments)}` of {self.name} exited with {done.returncode}, not "
                f"{expect}: {done.stderr.strip()[-600:] or done.stdout.strip()[-600:]}"
            )
        return done

    def read(self, *arguments: str, stdin: str | None = None) -> Any:
        """Run the command line and read its JSON."""
        return json.loads(self.run(*arguments, "-o", "json", stdin=stdin).stdout)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command line and leave it running, e.g. with an open session."""
        return subprocess.Popen(
            broker_command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env,
            start_new_session=True,
        )

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            # Made-up people's tokens are none of the keyring's of who tries this.
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.home),
            "BROKER_HOME": str(self.home),
            "BROKER_URL": self.url,
            "NO_COLOR": "1",
        }

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        expect: Sequence[int] = (200, 201, 202, 204),
    ) -> Any:
        """A call of the API with this person's token."""
        tokens = json.loads((self.home / "tokens.json").read_text())
        answer = httpx.request(
            method,
            f"{self.url}/api/v1{path}",
            json=body,
            headers={"Authorization": f"Bearer {_first_token(tokens)}"},
            timeout=30,
        )
        if answer.status_code not in expect:
            raise Unexpected(f"{method} {path} answered {answer.status_code}: {answer.text[:400]}")
        return answer.json() if answer.content else None


def _first_token(tokens: Any) -> str:
    """The command line's own file: by profile, a token or an object with one."""
    first = next(iter(tokens.values()))
    return first["token"] if isinstance(first, dict) else str(first)
