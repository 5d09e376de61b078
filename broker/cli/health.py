"""Whether what was promised is done in time: for a person, and for a monitoring system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from broker.cli.command import ApiCommand
from broker.cli.output import WHOLE, print_list, print_whole
from broker.cli.session import Session, pass_session

_FIGURES = ("figure", "of", "value")
_COLUMNS = ("what", "id", "since_s", "reason")


@click.command(cls=ApiCommand)
@pass_session
@click.pass_context
def health(ctx: click.Context, session: Session) -> None:
    """List destructions and revocations that are late; exit 1 when there are any."""
    late = list(session.api().pages("health", "late"))
    if late or session.output != "table":
        print_list(late, _COLUMNS, session.output)
    else:
        click.echo("Nothing is late.")
    ctx.exit(1 if late else 0)


@click.command(cls=ApiCommand)
@pass_session
def figures(session: Session) -> None:
    """How many copies and logins there are, how long ends take, when sweeps ran last."""
    found = session.api().get("health", "figures")
    if session.output in WHOLE:
        print_whole(found, session.output)
    else:
        print_list(_flatten(found), _FIGURES, session.output)


def _flatten(found: Mapping[str, Any]) -> list[dict[str, object]]:
    """One row for each number: what it counts, of which state or kind."""
    rows: list[dict[str, object]] = []
    for figure, value in found.items():
        for item in value if isinstance(value, list) else [{figure: value}]:
            of = " ".join(text for text in item.values() if isinstance(text, str))
            numbers = {name: v for name, v in item.items() if not isinstance(v, str)}
            rows += [
                {"figure": figure if name == figure else f"{figure} {name}", "of": of, "value": v}
                for name, v in numbers.items()
            ]
    return rows
