"""Whether what was promised is done in time: for a person, and for a monitoring system."""

from __future__ import annotations

import click

from broker.cli.command import ApiCommand
from broker.cli.output import print_list
from broker.cli.session import Session, pass_session

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
