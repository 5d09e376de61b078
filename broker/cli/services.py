"""Programs' accounts: they read, or ask; they decide nothing."""

from __future__ import annotations

from typing import Any

import click

from broker.cli.command import Noun
from broker.cli.output import print_item, print_list
from broker.cli.session import Session, pass_session
from broker.cli.tokens import COLUMNS, body_of, limit_options


@click.group(cls=Noun)
def services() -> None:
    """Accounts of programs. They are listed and ended as people are: broker people."""


@services.command()
@click.option("--name", required=True, help="What it is; customers read it on what it asks.")
@click.option("--tenant", metavar="TENANT", help="It reads this tenant's; else it is the vendor's.")
@pass_session
def create(session: Session, name: str, tenant: str | None) -> None:
    """Make a program's account; then give it a token."""
    body = {"name": name, **({"tenant": tenant} if tenant else {})}
    print_item(session.api().post("services", body=body), session.output)


@services.command()
@click.argument("service")
@pass_session
def tokens(session: Session, service: str) -> None:
    """The live tokens of SERVICE, and when each was last used."""
    print_list(list(session.api().pages("services", service, "tokens")), COLUMNS, session.output)


@services.command("create-token")
@click.argument("service")
@limit_options
@pass_session
def create_token(session: Session, /, service: str, **chosen: Any) -> None:
    """Make a token for SERVICE. It is printed once: say what it may do, or --read-only."""
    answer = session.api().post("services", service, "tokens", body=body_of(chosen))
    print_item(answer, session.output)


@services.command("end-token")
@click.argument("service")
@click.argument("token_id", metavar="ID")
@pass_session
def end_token(session: Session, service: str, token_id: str) -> None:
    """End a token of SERVICE at once."""
    session.api().delete("services", service, "tokens", token_id)
    click.echo(f"{token_id} has ended.")
