"""Tickets as the broker has seen them."""

from __future__ import annotations

import click

from broker.cli.command import Noun
from broker.cli.listing import Listing, listed
from broker.cli.output import print_item, print_list
from broker.cli.secrets_in import read_secret
from broker.cli.session import Session, pass_session

_COLUMNS = ("id", "external_id", "title", "severity", "category", "tenant_name", "open", "seen_at")


@click.group(cls=Noun)
def tickets() -> None:
    """Cases of the ticket system: access lives no longer than its ticket."""


@tickets.command("list")
@listed("mirrored_at", "tenant", "state")
@click.option("--external-id", help="The ticket's name in its own system.")
@click.option("--search", help="Part of its name, its title, or its tenant's name.")
@pass_session
def list_tickets(
    session: Session, *, listing: Listing, external_id: str | None, search: str | None
) -> None:
    """Tickets that were seen; the open ones, where no state is named."""
    asked = {**listing.query, "external_id": external_id, "search": search}
    found = session.api().pages("tickets", **asked)
    print_list(listing.take(found), _COLUMNS, session.output)


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


@tickets.command()
@click.argument("ticket")
@pass_session
def contacts(session: Session, ticket: str) -> None:
    """Who of the customer can be reached about TICKET, and what may be shown of each."""
    found = session.api().pages("tickets", ticket, "contacts")
    print_list(list(found), ("person", "role", "may_be_shown"), session.output)


@tickets.command()
@click.argument("ticket")
@click.argument("person")
@click.argument("field", type=click.Choice(("name", "email")))
@pass_session
def contact(session: Session, ticket: str, person: str, field: str) -> None:
    """Show one FIELD of PERSON, on their consent; they see that you looked."""
    body = {"person": person, "field": field}
    print_item(session.api().post("tickets", ticket, "contacts", "show", body=body), session.output)


@tickets.command()
@click.argument("ticket")
@click.argument("person")
@click.option("--text", required=True, help="What it is about; they answer on the ticket.")
@pass_session
def write(session: Session, ticket: str, person: str, text: str) -> None:
    """Write to PERSON about TICKET through the broker, which shows nothing of them."""
    body = {"person": person, "text": text}
    session.api().post("tickets", ticket, "contacts", "write", body=body)
    click.echo("Sent by mail; the answer comes on the ticket.")


@tickets.command(cls=click.Command)
@click.argument("url")
@click.option("--ticket", required=True, help="The name of a ticket that is open.")
@click.option("--closed", help="The name of a ticket that is closed.")
@click.option("--comment-on", help="Write one comment on this ticket, twice under one key.")
@click.option(
    "--token-stdin", is_flag=True, help="Read its token from standard input, else by a prompt."
)
@click.option("-o", "--output", type=click.Choice(("table", "json")), default="table")
@click.pass_context
def conformance(
    ctx: click.Context,
    url: str,
    ticket: str,
    closed: str | None,
    comment_on: str | None,
    *,
    token_stdin: bool,
    output: str,
) -> None:
    """See whether the ticket system at URL speaks the contract of docs/ticket-system.openapi.json.

    Needs no broker. Exit 9 when a point does not hold.
    """
    from broker.cli.doctor import print_lines
    from broker.doctor.ticket_contract import Asked, check

    token = read_secret("Token", from_stdin=token_stdin, option="--token-stdin")
    lines = check(Asked(url, token, ticket, closed, comment_on))
    ctx.exit(0 if print_lines(lines, output) else 9)
