"""API tokens, for programs: one's own, and the options that programs' accounts share with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from broker.api_tokens import SCOPES
from broker.cli.command import Noun
from broker.cli.durations import Duration
from broker.cli.output import print_item, print_list
from broker.cli.secrets_in import read_secret
from broker.cli.session import Session, pass_session

COLUMNS = ("id", "name", "scopes", "tenants", "created_at", "expires_at", "used_at")
F = TypeVar("F", bound=Callable[..., Any])
_confirm = click.option(
    "--confirm",
    is_flag=True,
    help="Ask for your password: else none outlives the token that you are signed in with.",
)
_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read that password from standard input."
)


def limit_options(command: F) -> F:
    """`--name`, `--days`, and what a new token is limited to."""
    options = (
        click.option("--name", required=True, help="What it is for."),
        click.option("--days", type=click.IntRange(1, 365), default=30, show_default=True),
        click.option(
            "--scope",
            "scopes",
            multiple=True,
            type=click.Choice(list(SCOPES)),
            help="What it may do beside reading; several: all of them.",
        ),
        click.option("--read-only", is_flag=True, help="It reads and does nothing."),
        click.option(
            "--tenant", "tenants", multiple=True, metavar="TENANT", help="Of these tenants only."
        ),
        _confirm,
        _password_stdin,
    )
    for option in reversed(options):
        command = option(command)
    return command


def body_of(chosen: dict[str, Any]) -> dict[str, Any]:
    """What is sent, of the options above."""
    body = {"name": chosen["name"], "days": chosen["days"]}
    if chosen["scopes"] or chosen["read_only"]:
        body["scopes"] = list(chosen["scopes"])
    if chosen["tenants"]:
        body["tenants"] = list(chosen["tenants"])
    return {**body, **confirmed(chosen)}


def confirmed(chosen: dict[str, Any]) -> dict[str, str]:
    if not (chosen["confirm"] or chosen["password_stdin"]):
        return {}
    password = read_secret("Your password", from_stdin=chosen["password_stdin"])
    return {"password": password.reveal()}


@click.group(cls=Noun)
def tokens() -> None:
    """Your API tokens, for programs; a program that is nobody's own has an account: services."""


@tokens.command("list")
@pass_session
def list_tokens(session: Session) -> None:
    """Your live tokens; their secrets are shown once, when they are made."""
    print_list(list(session.api().pages("tokens")), COLUMNS, session.output)


@tokens.command()
@limit_options
@pass_session
def create(session: Session, /, **chosen: Any) -> None:
    """Make a token. It is printed once, and kept nowhere."""
    print_item(session.api().post("tokens", body=body_of(chosen)), session.output)


@tokens.command()
@click.argument("token_id", metavar="ID")
@click.option(
    "--keep", "keep_s", type=Duration(), default=0, help="How long the one before holds, e.g. 1h."
)
@_confirm
@_password_stdin
@pass_session
def rotate(session: Session, /, token_id: str, keep_s: int, **chosen: Any) -> None:
    """Make another in place of a token, with its limits. It is printed once."""
    body = {"keep_s": keep_s, **confirmed(chosen)}
    print_item(session.api().post("tokens", token_id, "rotate", body=body), session.output)


@tokens.command()
@click.argument("token_id", metavar="ID")
@pass_session
def end(session: Session, token_id: str) -> None:
    """End a token at once."""
    session.api().delete("tokens", token_id)
    click.echo(f"{token_id} has ended.")
