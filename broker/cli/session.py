"""Which broker, as whom: the profile in BROKER_HOME, and what the environment puts in its place.

    BROKER_HOME (~/.config/broker)
      tokens.json        0600   profile -> {url, token, token_id}, or {url, kept_in, token_id}
      trust/             <origin, percent-encoded>.keys    keys that were pinned (see `trust`)

The token itself is in the system's keyring where there is one (`broker.cli.kept`).

What must stay true: a token is sent only to the broker that gave it, and over a network only by
TLS.
"""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from broker.cli import kept
from broker.cli.files import read_text, replace_file
from broker.errors import Invalid, NotAuthenticated
from broker.secret import Secret

if TYPE_CHECKING:
    from broker.cli.api import Api

_PRIVATE = 0o077


@dataclass(frozen=True, slots=True)
class Login:
    """A token, the broker that gave it, and the token's id for ending it."""

    url: str
    token: Secret[str]
    token_id: str | None


@dataclass(frozen=True, slots=True)
class Session:
    """What every command that talks to the API knows. `url` is None unless it was given."""

    home: Path
    profile: str
    url: str | None
    output: str
    ca_bundle: Path | None

    def api(self) -> Api:
        """The API as the one who is signed in. Raises NotAuthenticated, Invalid."""
        from broker.cli.api import Api

        stored = self.find_login()
        url = self.base_url(stored)
        token = os.environ.get("BROKER_TOKEN")
        if token:
            return Api(url, Secret(token), self.ca_bundle)
        if stored is None:
            raise NotAuthenticated(f"nobody is signed in (profile {self.profile})")
        if stored.url != url:
            raise NotAuthenticated(
                f"profile {self.profile} is signed in to {stored.url}, not to {url}; "
                "its token goes nowhere else"
            )
        return Api(url, stored.token, self.ca_bundle)

    def anonymous_api(self) -> Api:
        """The API for signing in. Raises Invalid."""
        from broker.cli.api import Api

        return Api(self.base_url(self.find_login()), None, self.ca_bundle)

    def base_url(self, stored: Login | None) -> str:
        if self.url is not None:
            return check_url(self.url)
        if stored is not None:
            return check_url(stored.url)
        raise Invalid("no broker is named; set BROKER_URL to its address")

    def find_login(self) -> Login | None:
        entry = self._read_tokens().get(self.profile)
        if entry is None:
            return None
        if "token" in entry:
            return Login(entry["url"], Secret(entry["token"]), entry.get("token_id"))
        token = kept.find(self._name_of(entry["url"]))
        if token is None:
            raise NotAuthenticated(f"the keyring has no token of profile {self.profile} any more")
        return Login(entry["url"], token, entry.get("token_id"))

    def keep_login(self, login: Login) -> None:
        entry = {"url": login.url}
        if kept.keep(self._name_of(login.url), login.token):
            entry["kept_in"] = "keyring"
        else:
            entry["token"] = login.token.reveal()
        if login.token_id is not None:
            entry["token_id"] = login.token_id
        self._write_tokens({**self._read_tokens(), self.profile: entry})

    def _name_of(self, url: str) -> str:
        """In the keyring, which all homes and brokers of a user share."""
        return f"{self.profile} at {url} in {self.home}"

    def forget_login(self) -> None:
        entry = self._read_tokens().get(self.profile, {})
        if "kept_in" in entry:
            kept.forget(self._name_of(entry["url"]))
        rest = {name: entry for name, entry in self._read_tokens().items() if name != self.profile}
        self._write_tokens(rest)

    def _read_tokens(self) -> dict[str, dict[str, str]]:
        file = self.home / "tokens.json"
        if not file.exists():
            return {}
        if file.stat().st_mode & _PRIVATE:
            raise Invalid(f"{file} can be read by others; end its tokens, and: chmod 600 {file}")
        try:
            tokens: dict[str, dict[str, str]] = json.loads(read_text(file))
        except json.JSONDecodeError:
            raise Invalid(f"{file} is damaged; remove it and sign in again") from None
        return tokens

    def _write_tokens(self, tokens: dict[str, dict[str, str]]) -> None:
        replace_file(self.home / "tokens.json", json.dumps(tokens, indent=1).encode() + b"\n")


def home_folder() -> Path:
    return Path(os.environ.get("BROKER_HOME") or Path.home() / ".config" / "broker")


def check_url(url: str) -> str:
    """The address without a slash at its end. Raises Invalid for what would show a token."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Invalid(f"{url!r} is no address of a broker; it begins with https://")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise Invalid("the broker's address has a host and a path, and nothing else")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise Invalid(f"{parts.hostname} is not this machine: a token goes there by https only")
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


pass_session = click.make_pass_decorator(Session)
