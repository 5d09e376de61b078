"""`broker doctor`: whether this host and its settings can keep what the broker promises.

Each check asks one thing of the real part and says what to do. What must stay true: the doctor
changes nothing; one part that does not answer keeps no other from being looked at; no line shows a
secret. A host that runs only web or scheduler holds no keyring and no store: that is told, and is
nothing bad.
"""

from __future__ import annotations

import smtplib
import subprocess
from collections.abc import Callable, Iterator

import psycopg
import sqlalchemy as sa

from broker.db import Database
from broker.doctor import control, dedicated, logins, places, tools
from broker.doctor.line import Line, bad
from broker.errors import BrokerError
from broker.logs import redact
from broker.settings import Settings

__all__ = ["Line", "examine"]

Check = Callable[[], Iterator[Line]]
_FAILURES = (
    *(BrokerError, OSError, smtplib.SMTPException, subprocess.SubprocessError),
    *(sa.exc.DBAPIError, psycopg.Error),
)


def examine(settings: Settings) -> list[Line]:
    """All checks, in the order in which one rests on another."""
    database = Database(settings.control.dsn)
    try:
        lines = list(_tried("control database", lambda: control.check_role(database)))
        if not any(line.what == "control database" and line.verdict == "bad" for line in lines):
            lines += _all(control.checks(database, settings))
            lines += _all(logins.checks(database, settings))
        lines += _all(places.checks(settings)) + _all(dedicated.checks(settings))
        return lines + _all(tools.checks(settings))
    finally:
        database.close()


def _all(checks: dict[str, Check]) -> list[Line]:
    return [line for what, check in checks.items() for line in _tried(what, check)]


def _tried(what: str, check: Check) -> Iterator[Line]:
    try:
        yield from check()
    except _FAILURES as error:
        yield bad(what, _describe(error), "see that it is there and that this host reaches it")


def _describe(error: Exception) -> str:
    """A driver's words only where they are about a connection: others may quote what was sent."""
    if isinstance(error, BrokerError):
        return error.message
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, psycopg.OperationalError):
        return redact(str(cause).strip().splitlines()[-1])
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return f"it answered with {type(cause).__name__}"
