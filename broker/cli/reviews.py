"""Reviews of break-glass: owed within 72 hours, closed by the customer alone."""

from __future__ import annotations

import click

from broker.cli.command import Noun
from broker.cli.listing import Listing, listed
from broker.cli.output import print_item, print_list
from broker.cli.session import Session, pass_session

_COLUMNS = ("id", "state", "tenant_name", "grant", "ticket_title", "owed_at", "due_at", "late")


@click.group(cls=Noun)
def reviews() -> None:
    """Reviews that are owed after break-glass."""


@reviews.command("list")
@listed("owed_at", "tenant", "state")
@pass_session
def list_reviews(session: Session, *, listing: Listing) -> None:
    """Reviews that you may see."""
    found = session.api().pages("reviews", **listing.query)
    print_list(listing.take(found), _COLUMNS, session.output)


@reviews.command()
@click.argument("review")
@pass_session
def show(session: Session, review: str) -> None:
    """One review."""
    print_item(session.api().get("reviews", review), session.output)


@reviews.command()
@click.argument("review")
@click.option("--note", required=True, help="What came of it; the vendor reads it.")
@pass_session
def close(session: Session, review: str, note: str) -> None:
    """Close REVIEW, as an admin of the customer."""
    body = {"note": note}
    print_item(session.api().post("reviews", review, "close", body=body), session.output)
