"""What a failure looks like: one sentence on standard error for people, an exit code for scripts.

0 ok · 1 unexpected, or late (`broker health`) · 2 usage or invalid · 3 not signed in · 4 denied ·
5 not found · 6 conflict · 7 the wait timed out · 8 server or network · 9 verification failed
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path

import click

from broker.cli.plain import plain
from broker.errors import (
    BrokerError,
    Conflict,
    Denied,
    Invalid,
    NotAuthenticated,
    NotFound,
    SettingsError,
    TooMany,
    Unavailable,
    VerificationFailed,
)


class WaitTimedOut(BrokerError):
    """What was waited for has not happened yet; it goes on without us."""

    type = "wait-timed-out"


_CODES: tuple[tuple[type[BrokerError], int], ...] = (
    (Invalid, 2),
    (SettingsError, 2),
    (NotAuthenticated, 3),
    (Denied, 4),
    (NotFound, 5),
    (Conflict, 6),
    (WaitTimedOut, 7),
    (TooMany, 8),
    (Unavailable, 8),
    (VerificationFailed, 9),
)
# The contract, as it is told in the manual page and in `docs/cli.md`.
EXIT_STATUS: Mapping[int, str] = {
    0: "ok",
    1: "unexpected, or declined; health: something is late; doctor: something is bad",
    2: "usage, or what was sent can't be meant",
    3: "not signed in",
    4: "denied",
    5: "no such thing, or not yours to see",
    6: "conflict: somebody was first, or the state does not allow it",
    7: "the wait timed out; the work goes on",
    8: "server or network",
    9: "a signature, proof or digest does not hold, or nothing from outside vouches for it",
}
_NEXT: dict[type[BrokerError], str] = {NotAuthenticated: "broker login"}


def exit_code(error: BrokerError) -> int:
    return next((code for family, code in _CODES if isinstance(error, family)), 1)


def show_failure(error: BrokerError) -> int:
    """Print the sentence, each bad field, and the next command to try; return the exit code."""
    click.echo(f"Error: {plain(error.message)}", err=True)
    fields = error.facts.get("fields")
    if isinstance(fields, dict):
        for name, text in fields.items():
            click.echo(f"  {plain(name)}: {plain(text)}", err=True)
    named = (command for family, command in _NEXT.items() if isinstance(error, family))
    suggestion = error.facts.get("try") or next(named, None)
    if suggestion:
        click.echo(f"Try: {plain(suggestion)}", err=True)
    return exit_code(error)


def show_defect(error: Exception) -> int:
    """Print its type and place, and not its message: that could hold a value (G11)."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    click.echo(f"Error: unexpected {type(error).__name__} at {place}; please report this", err=True)
    return 1
