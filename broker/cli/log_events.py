"""Entries of a log for other systems: fetched as a file, or sent on to a webhook or syslog.

What must stay true: the position of a stream moves only after the other side took what was sent,
so an entry is delivered at least once; it carries log and position, by which a doubled one is told.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from broker.cli.api import Api
from broker.cli.files import read_text, replace_file
from broker.cli.session import is_loopback
from broker.errors import Invalid, Unavailable

_PAGE = 1000
_TIMEOUT_S = 30
_SYSLOG = "<110>1 {at} {host} support-access-broker - {kind} - {line}"  # log audit, informational


def fetch_all(api: Api, tenant: str, form: str, wanted: Mapping[str, str | None]) -> bytes:
    """Every entry that is wanted, as one file."""
    parts: list[bytes] = []
    after = 0
    while True:
        page, position = _fetch(api, tenant, form, after, wanted)
        if parts and form == "csv":
            page = page.partition(b"\r\n")[2]  # one header is enough
        parts.append(page)
        if position <= after:
            return b"".join(parts)
        after = position


def _fetch(
    api: Api, tenant: str, form: str, after: int, wanted: Mapping[str, str | None]
) -> tuple[bytes, int]:
    query = {name: value for name, value in wanted.items() if value is not None}
    return api.get_positioned(
        "tenants", tenant, "log", "events", format=form, after=after, limit=_PAGE, **query
    )


class Stream:
    """One log to one place. `target` is https://…, or syslog://HOST:PORT (RFC 5424 and 5425)."""

    def __init__(self, api: Api, tenant: str, form: str, target: str, home: Path) -> None:
        self._api, self._tenant, self._form, self._target = api, tenant, form, target
        parts = urlsplit(target)
        if parts.scheme not in {"https", "http", "syslog"} or not parts.hostname:
            raise Invalid("a stream goes to https://… or to syslog://HOST:PORT")
        self._plain = is_loopback(parts.hostname)
        if parts.scheme == "http" and not self._plain:
            raise Invalid("a log leaves this machine over TLS alone: https://…")
        self._host, self._port = parts.hostname, parts.port or 6514
        self._send = self._to_syslog if parts.scheme == "syslog" else self._to_webhook
        name = hashlib.sha256(f"{tenant} {form} {target}".encode()).hexdigest()[:32]
        self._file = home / "streams" / name

    def run(self, every_s: int | None) -> int:
        """Send what is new; with `every_s`, for ever. How many entries were taken."""
        taken = self.send_new()
        while every_s is not None:
            time.sleep(every_s)
            taken += self.send_new()
        return taken

    def send_new(self) -> int:
        """Raises Unavailable when the other side did not take it; it is sent again next time."""
        taken, after = 0, self._position()
        while True:
            page, position = _fetch(self._api, self._tenant, self._form, after, {})
            lines = page.decode().splitlines()
            if lines:
                self._send(lines)
            if position <= after:
                return taken
            replace_file(self._file, str(position).encode())
            taken, after = taken + len(lines), position

    def _position(self) -> int:
        if not self._file.exists():
            return 0
        text = read_text(self._file)
        if not (text.isascii() and text.isdigit()):
            raise Invalid(f"{self._file} holds no position; remove it to send all again")
        return int(text)

    def _to_webhook(self, lines: list[str]) -> None:
        import httpx

        body = "".join(f"{line}\n" for line in lines)
        headers = {"Content-Type": "application/x-ndjson"}
        try:
            with httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False) as client:
                answer = client.post(self._target, content=body.encode(), headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._host} did not take it: {type(error).__name__}") from None
        if not answer.is_success:
            raise Unavailable(f"{self._host} did not take it: {answer.status_code}")

    def _to_syslog(self, lines: list[str]) -> None:
        """Octet-counted frames (RFC 6587, 3.4.1). Syslog has no answer: taken is what the other
        side's TCP took.
        """
        try:
            with socket.create_connection((self._host, self._port), _TIMEOUT_S) as plain:
                if self._plain:
                    self._write(plain, lines)
                    plain.shutdown(socket.SHUT_WR)
                    while plain.recv(4096):
                        pass
                else:
                    context = ssl.create_default_context()
                    with context.wrap_socket(plain, server_hostname=self._host) as sealed:
                        self._write(sealed, lines)
                        with contextlib.suppress(OSError):  # not everybody says goodbye
                            sealed.unwrap()
        except OSError as error:
            raise Unavailable(f"{self._host} did not take it: {type(error).__name__}") from None

    def _write(self, connection: socket.socket, lines: list[str]) -> None:
        for line in lines:
            told = json.loads(line)
            at, kind = told.get("at"), told.get("kind") or told.get("activity_name")
            if at is None:
                at = "-"
            text = _SYSLOG.format(at=at, host=socket.gethostname(), kind=kind, line=line).encode()
            connection.sendall(b"%d %b" % (len(text), text))
