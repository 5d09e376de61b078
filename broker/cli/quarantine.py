"""The broker's quarantine: after a restore of its database, or a jump of its clock."""

from __future__ import annotations

import click

from broker.cli.command import Noun
from broker.cli.output import WHOLE, print_item, print_list
from broker.cli.plain import plain
from broker.cli.session import Session, pass_session

_HELD = ("kind", "name", "subject", "tenant", "reason")


@click.group(cls=Noun)
def quarantine() -> None:
    """Whether the broker holds still until a person looked, and what it holds."""


@quarantine.command()
@pass_session
@click.pass_context
def show(ctx: click.Context, session: Session) -> None:
    """Why it stands and what it holds; exit 1 when it stands."""
    answer = session.api().get("quarantine")
    found = answer["quarantine"]
    if session.output in WHOLE:
        print_item(answer, session.output)
    elif session.output != "table":
        print_list(answer["held"], _HELD, session.output)
    elif found is None:
        click.echo("There is no quarantine.")
    else:
        print_item(found, "table", ("id", "began_at", "last_seen_at"))
        for reason in found["reasons"]:
            click.echo(f"  {plain(reason)}")
        click.echo("\nHeld, without a record; ended when it is lifted:")
        print_list(answer["held"], _HELD, "table")
    ctx.exit(0 if found is None else 1)


@quarantine.command()
@click.argument("quarantine_id", metavar="QUARANTINE")
@click.option(
    "--grants",
    type=click.Choice(("keep", "end")),
    required=True,
    help="Keep what the record says is open, or end all of it: withdrawals may be missing in it.",
)
@pass_session
def lift(session: Session, quarantine_id: str, grants: str) -> None:
    """Let the broker act on its record again, as it now is."""
    body = {"grants": grants}
    print_item(session.api().post("quarantine", quarantine_id, "lift", body=body), session.output)
