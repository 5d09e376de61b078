"""What was found on each registered server when it was last looked at."""

from __future__ import annotations

import click

from broker.cli.checks import show_preflight
from broker.cli.command import Noun
from broker.cli.output import print_list
from broker.cli.session import Session, pass_session

_COLUMNS = ("target", "name", "tenant_name", "checked_at", "fatal", "warnings", "stuck_reason")


@click.group(cls=Noun)
def preflights() -> None:
    """What the last look at each database and test server found."""


@preflights.command("list")
@pass_session
def list_preflights(session: Session) -> None:
    """Every database and test server that you may look at."""
    found = session.api().get("preflights")["items"]
    shown = [{**item, "id": item["target"]} if session.output == "id" else item for item in found]
    print_list(shown, _COLUMNS, session.output)


@preflights.command()
@click.argument("target", metavar="DATABASE_OR_SERVER")
@pass_session
def show(session: Session, target: str) -> None:
    """What the last look found, with the SQL that mends it. To look afresh: check."""
    noun = "servers" if target.startswith("srv_") else "databases"
    show_preflight(session.api().get(noun, target, "preflight"), session.output)
