"""`broker login`: a code is shown here, typed into the console, and asked about until then."""

from __future__ import annotations

import contextlib
import sys
import time
import webbrowser
from typing import TYPE_CHECKING

import click

from broker.cli.failures import WaitTimedOut
from broker.cli.plain import plain
from broker.errors import Denied, Unavailable
from broker.secret import Secret

if TYPE_CHECKING:
    from broker.cli.api import Api

_SLOWER_S = 5  # RFC 8628, section 3.5


def sign_in(api: Api, *, open_browser: bool) -> tuple[Secret[str], str | None]:
    """The token and its id. Raises Denied, WaitTimedOut."""
    asked = api.ask_device()
    address, code = plain(asked.get("verification_uri")), plain(asked.get("user_code"))
    click.echo(f"Open  {address}\nType  {code}", err=True)
    click.echo("It is yours alone: send it to nobody, whoever asks for it.", err=True)
    if open_browser and sys.stderr.isatty() and address.startswith(f"{api.url}/"):
        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(address)
    return _wait(api, str(asked["device_code"]), int(asked["interval"]), int(asked["expires_in"]))


def _wait(
    api: Api, device_code: str, interval_s: int, lives_s: int
) -> tuple[Secret[str], str | None]:
    end = time.monotonic() + lives_s
    while time.monotonic() < end:
        answer = api.take_device(device_code)
        if isinstance(answer.get("access_token"), str):
            return Secret(answer["access_token"]), answer.get("token_id")
        match answer.get("error"):
            case "authorization_pending":
                pass
            case "slow_down":
                interval_s += _SLOWER_S
            case "access_denied":
                raise Denied("the sign-in was refused in the console")
            case "expired_token":
                break
            case _:
                raise Unavailable(f"{api.url} answered something that is no sign-in")
        time.sleep(interval_s)
    raise WaitTimedOut("nobody typed the code in time", **{"try": "broker login"})
