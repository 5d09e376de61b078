"""Legal holds: a copy's sealed form is kept for a while, readable to nobody."""

from __future__ import annotations

import click

from broker.cli.command import Noun
from broker.cli.output import print_item, print_list
from broker.cli.session import Session, pass_session

_COLUMNS = ("id", "state", "snapshot", "basis", "begun_at", "ends_at")


@click.group(cls=Noun)
def holds() -> None:
    """Legal holds of copies."""


@holds.command("list")
@click.argument("snapshot")
@pass_session
def list_holds(session: Session, snapshot: str) -> None:
    """Holds of a copy, oldest first."""
    print_list(session.api().get("snapshots", snapshot, "holds")["items"], _COLUMNS, session.output)


@holds.command()
@click.argument("snapshot")
@click.option("--reason", required=True, help="Why it must be kept; the customer reads it.")
@click.option("--days", type=int, required=True, help="1 to 90; going on is a new hold.")
@click.option("--order", help="The authority that ordered it, and its reference.")
@pass_session
def ask(session: Session, snapshot: str, reason: str, days: int, order: str | None) -> None:
    """Ask to keep a copy: the customer decides, unless an authority ordered it."""
    body = {"reason": reason, "days": days}
    body |= {"authority_order": order} if order is not None else {}
    print_item(session.api().post("snapshots", snapshot, "holds", body=body), session.output)


@holds.command()
@click.argument("hold")
@pass_session
def agree(session: Session, hold: str) -> None:
    """Agree, as an admin of the customer."""
    print_item(session.api().post("holds", hold, "agree"), session.output)


@holds.command()
@click.argument("hold")
@pass_session
def refuse(session: Session, hold: str) -> None:
    """Refuse, as an admin of the customer: the copy is destroyed as ever."""
    print_item(session.api().post("holds", hold, "refuse"), session.output)


@holds.command()
@click.argument("hold")
@pass_session
def lift(session: Session, hold: str) -> None:
    """End a hold; a condemned copy is destroyed now."""
    print_item(session.api().post("holds", hold, "lift"), session.output)
