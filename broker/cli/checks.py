"""`check`: order a look at a server, wait for it, and print what was found with its SQL.

What must stay true: names of others' are made harmless before they reach the terminal; a command
that says "nothing fatal" has seen a look that was made after it asked.
"""

from __future__ import annotations

import click

from broker.cli.api import Item
from broker.cli.durations import Duration
from broker.cli.failures import WaitTimedOut
from broker.cli.output import print_list, print_whole
from broker.cli.plain import plain
from broker.cli.session import Session
from broker.errors import Conflict, Unavailable

_COLUMNS = ("severity", "code", "what", "why", "sql")
_WAIT_S = 60

check_wait = click.option(
    "--wait",
    "wait_s",
    type=Duration(),
    default="60s",
    show_default=True,
    help="Wait for the look this long.",
)


def run_check(session: Session, noun: str, target: str, wait_s: int) -> None:
    """Raises Conflict when something is fatal, Unavailable when no look could be made."""
    api = session.api()
    api.post(noun, target, "check")
    try:
        found = api.wait(noun, target, "preflight", until=_is_over, timeout_s=wait_s)
    except WaitTimedOut:
        raise WaitTimedOut(f"{target} is not looked at yet; a worker does it") from None
    if found["pending"]:
        raise Unavailable(f"{target} could not be looked at: {found['stuck_reason']}")
    show_preflight(found, session.output)
    if found["fatal"]:
        raise Conflict(f"nothing is issued on {target} until what is fatal is mended")


def _is_over(item: Item) -> bool:
    return not item["pending"] or item["stuck_reason"] is not None


def show_preflight(found: Item, form: str) -> None:
    match form:
        case "json" | "yaml":
            print_whole(found, form)
        case "csv":
            print_list(found["findings"], _COLUMNS, form)
        case "id":
            click.echo(plain(found["target"]))
        case _:
            from broker.engines.postgres.preflight import Finding, format_findings

            names = ("code", "severity", "what", "why", "sql")
            findings = [Finding(*(item[name] for name in names)) for item in found["findings"]]
            click.echo(format_findings(findings), nl=False)
            if found["unexplained"]:
                logins = ", ".join(plain(login) for login in found["unexplained"])
                click.echo(f"Logins that nobody registered: {logins}")
