"""Third parties: the register of recipients, orders of authorities, and what was handed over."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from broker.cli.command import Noun
from broker.cli.files import FILE, write_new
from broker.cli.output import print_item, print_list
from broker.cli.session import Session, pass_session

_COLUMNS = ("id", "kind", "name", "country", "use", "data", "starts_at", "ended_at")
_ORDERS = ("id", "tenant", "authority", "reference", "state", "recorded_at", "told_at")
_HANDOVERS = ("id", "at", "to_name", "what", "about", "reason", "digest")


@click.group(cls=Noun)
def recipients() -> None:
    """Whom anything of a customer may be handed to, beside the customer."""


@recipients.command("list")
@pass_session
def list_recipients(session: Session) -> None:
    """Sub-processors and third parties of the register."""
    print_list(list(session.api().pages("recipients")), _COLUMNS, session.output)


@recipients.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(["sub_processor", "third_party"]), required=True)
@click.option("--country", required=True, help="Two letters, as FR.")
@click.option("--use", required=True, help="What it does with it.")
@click.option("--data", required=True, help="What it gets.")
@click.option("--safeguard", default="", help="What protects data that leaves the EEA.")
@pass_session
def add(session: Session, /, name: str, **about: str) -> None:
    """For privacy officers: put NAME on the register.

    Every customer is told of a sub-processor 30 days before it starts.
    """
    made = session.api().post("recipients", body={"name": name, **about})
    print_item(made, session.output, _COLUMNS)


@recipients.command()
@click.argument("recipient")
@pass_session
def end(session: Session, recipient: str) -> None:
    """For privacy officers: RECIPIENT gets nothing any more."""
    print_item(session.api().post("recipients", recipient, "end"), session.output, _COLUMNS)


@recipients.command("handovers")
@click.argument("tenant")
@pass_session
def list_handovers(session: Session, tenant: str) -> None:
    """What was handed over of TENANT's, to whom and why, the youngest first."""
    found = session.api().pages("tenants", tenant, "handovers")
    print_list(list(found), _HANDOVERS, session.output)


@recipients.command("hand-over")
@click.argument("tenant")
@click.argument("to")
@click.option("--certificate", help="That certificate; else the log, without the names in it.")
@click.option("--reason", required=True, help="The customer reads it.")
@click.option("-f", "--file", type=FILE, required=True, help="Where to; must not be there yet.")
@pass_session
def hand_over(
    session: Session, /, tenant: str, to: str, certificate: str | None, reason: str, file: Path
) -> None:
    """For privacy officers: make a document of TENANT's for TO, a recipient or an order.

    Refused unless the customer consents to that recipient, or the order was confirmed.
    """
    body = {"to": to, "what": "certificate" if certificate else "log", "reason": reason}
    body |= {"certificate": certificate} if certificate else {}
    made = session.api().post_for_bytes("tenants", tenant, "handovers", body=body)
    write_new(file, made)
    click.echo(f"{len(made)} bytes in {file}; the customer sees that it was made, for whom and why")


@click.group(cls=Noun)
def orders() -> None:
    """Orders of authorities about a customer's data."""


@orders.command("list")
@click.argument("tenant", required=False)
@pass_session
def list_orders(session: Session, tenant: str | None) -> None:
    """All, for privacy officers; or those about TENANT."""
    path = ("tenants", tenant, "orders") if tenant else ("orders",)
    print_list(list(session.api().pages(*path)), _ORDERS, session.output)


@orders.command()
@click.argument("tenant")
@click.option("--authority", required=True)
@click.option("--reference", required=True, help="As the authority gives it.")
@click.option("--ground", required=True, help="The law that it names.")
@click.option("--asked", required=True, help="What it wants.")
@click.option("--silent-until", type=click.DateTime(["%Y-%m-%d"]), help="The day, in UTC.")
@click.option("--silent-why", help="The words of the law that forbid to tell the customer.")
@pass_session
def record(
    session: Session,
    /,
    tenant: str,
    ground: str,
    silent_until: datetime | None,
    silent_why: str | None,
    **said: str,
) -> None:
    """For privacy officers: write down an order about TENANT; another officer confirms it."""
    body = {**said, "legal_ground": ground}
    body |= {"silent_until": f"{silent_until:%Y-%m-%d}T00:00:00Z"} if silent_until else {}
    body |= {"silent_why": silent_why} if silent_why else {}
    print_item(session.api().post("tenants", tenant, "orders", body=body), session.output, _ORDERS)


@orders.command()
@click.argument("order")
@pass_session
def confirm(session: Session, order: str) -> None:
    """For another privacy officer: ORDER binds us."""
    print_item(session.api().post("orders", order, "confirm"), session.output, _ORDERS)


@orders.command()
@click.argument("order")
@click.option("--why", required=True)
@pass_session
def contest(session: Session, order: str, why: str) -> None:
    """For another privacy officer: nothing is given on ORDER."""
    body = {"why": why}
    print_item(session.api().post("orders", order, "contest", body=body), session.output, _ORDERS)
