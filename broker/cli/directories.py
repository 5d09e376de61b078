"""Directories: where an organisation's people come from (SCIM)."""

from __future__ import annotations

import click

from broker.cli.command import Noun
from broker.cli.output import print_item, print_list
from broker.cli.session import Session, pass_session

_COLUMNS = ("id", "name", "role", "registered_at", "used_at")


@click.group(cls=Noun)
def directories() -> None:
    """Directories that make and end an organisation's people (SCIM 2.0)."""


@directories.command("list")
@click.option("--tenant", required=True, metavar="TENANT")
@pass_session
def list_directories(session: Session, tenant: str) -> None:
    """Directories of a tenant."""
    print_list(list(session.api().pages("directories", tenant=tenant)), _COLUMNS, session.output)


@directories.command()
@click.option("--tenant", required=True, metavar="TENANT")
@click.option("--name", required=True, help="What people call it.")
@click.option(
    "--role", default="auditor", show_default=True, help="Of people for whom it names none."
)
@pass_session
def create(session: Session, *, tenant: str, name: str, role: str) -> None:
    """Register a directory. Its token, for /scim/v2, is shown now and never again."""
    body = {"tenant": tenant, "name": name, "role": role}
    print_item(session.api().post("directories", body=body), session.output)


@directories.command("replace-token")
@click.argument("directory")
@pass_session
def replace_token(session: Session, directory: str) -> None:
    """Another token for DIRECTORY, shown once; the old one is void at once."""
    print_item(session.api().post("directories", directory, "token"), session.output)


@directories.command()
@click.argument("directory")
@pass_session
def remove(session: Session, directory: str) -> None:
    """Void DIRECTORY's token; the people stay as they are."""
    session.api().delete("directories", directory)
    click.echo(f"{directory} is removed.")
