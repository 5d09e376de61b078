"""Tickets as the broker has seen them."""

from __future__ import annotations

import click

from broker.cli.command import Noun, tenant_option
from broker.cli.output import print_item, print_list
from broker.cli.session import Session, pass_session

_COLUMNS = ("id", "external_id", "title", "severity", "category", "tenant_name", "open", "seen_at")


@click.group(cls=Noun)
def tickets() -> None:
    """Cases of the ticket system: access lives no longer than its ticket."""


@tickets.command("list")
@tenant_option
@click.option("--external-id", help="The ticket's name in its own system.")
@click.option("--search", help="Part of its name, its title, or its tenant's name.")
@pass_session
def list_tickets(
    session: Session, tenant: str | None, external_id: str | None, search: str | None
) -> None:
    """Open tickets that were seen."""
    found = session.api().pages("tickets", tenant=tenant, external_id=external_id, search=search)
    print_list(list(found), _COLUMNS, session.output)


@tickets.command()
@click.argument("external_id")
@pass_session
def look(session: Session, external_id: str) -> None:
    """Ask for a look at a ticket now, instead of at the next poll."""
    answer = session.api().post("tickets", "look", body={"external_id": external_id})
    if answer and session.output != "table":
        print_item(answer, session.output)
    else:
        click.echo(f"Asked. See it with: broker tickets list --external-id {external_id}")
