"""A customer leaves: when, how far it is, and what it takes home."""

from __future__ import annotations

from pathlib import Path

import click

from broker.cli.command import Noun
from broker.cli.files import FILE, write_new
from broker.cli.output import print_item
from broker.cli.session import Session, pass_session


@click.group(cls=Noun)
def departures() -> None:
    """Customers who leave: everything ends, is kept for the legal term, then erased."""


@departures.command()
@click.argument("tenant")
@pass_session
def show(session: Session, tenant: str) -> None:
    """How far the leaving of TENANT is, and what keeps it from being closed."""
    print_item(session.api().get("tenants", tenant, "departure"), session.output)


@departures.command()
@click.argument("tenant")
@click.option("--on", "leaves_at", help="An instant, such as 2027-01-31T00:00:00Z; now, if none.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_session
def announce(session: Session, *, tenant: str, leaves_at: str | None, yes: bool) -> None:
    """Say when TENANT leaves: every access and copy ends then, and nothing begins any more."""
    if not yes:
        click.confirm(f"Does {tenant} leave on {leaves_at or 'this very day, now'}?", abort=True)
    body = {"leaves_at": leaves_at}
    print_item(session.api().post("tenants", tenant, "departure", body=body), session.output)


@departures.command()
@click.argument("tenant")
@pass_session
def cancel(session: Session, tenant: str) -> None:
    """Take it back, until its day."""
    print_item(session.api().post("tenants", tenant, "departure", "cancel"), session.output)


@departures.command()
@click.argument("tenant")
@pass_session
def close(session: Session, tenant: str) -> None:
    """Close it now; refused while something of TENANT is alive."""
    print_item(session.api().post("tenants", tenant, "departure", "close"), session.output)


@departures.command()
@click.argument("tenant")
@click.option("-f", "--file", type=FILE, required=True, help="Where to; must not be there yet.")
@pass_session
def export(session: Session, tenant: str, file: Path) -> None:
    """All that is held of TENANT, as a zip; its log is a file of its own (`broker log export`)."""
    made = session.api().get_bytes("tenants", tenant, "export")
    write_new(file, made)
    click.echo(f"{len(made)} bytes in {file}; its log is another file: broker log export")
