"""Who decides for an admin who is away."""

from __future__ import annotations

import click

from broker.cli.command import Noun
from broker.cli.output import Item, print_list
from broker.cli.session import Session, pass_session

_COLUMNS = ("id", "state", "giver_name", "delegate_name", "delegate", "starts_at", "ends_at")


@click.group(cls=Noun)
def delegates() -> None:
    """Who decides for an admin who is away."""


@delegates.command("list")
@click.argument("tenant")
@pass_session
def list_delegates(session: Session, tenant: str) -> None:
    """Who decides for whom in TENANT, newest first."""
    _print(session, list(session.api().pages("tenants", tenant, "delegates")))


@delegates.command()
@click.argument("tenant")
@click.argument("person")
@click.option("--until", "ends_at", required=True, metavar="INSTANT", help="Its end, in UTC.")
@click.option("--start", "starts_at", metavar="INSTANT", help="Not before; else at once.")
@pass_session
def name(session: Session, tenant: str, person: str, ends_at: str, starts_at: str | None) -> None:
    """PERSON, who has a role in TENANT, decides for you until then; 92 days at most."""
    body = {"delegate": person, "ends_at": ends_at, "starts_at": starts_at}
    answer = session.api().post("tenants", tenant, "delegates", body=body)
    _print(session, answer["items"][:1])


@delegates.command()
@click.argument("delegation")
@pass_session
def end(session: Session, delegation: str) -> None:
    """Take DELEGATION back at once; what the delegate approved counts no more."""
    answer = session.api().post("delegates", delegation, "end")
    _print(session, [one for one in answer["items"] if one["id"] == delegation])


def _print(session: Session, items: list[Item]) -> None:
    print_list(items, _COLUMNS, session.output)
