"""Webhooks: what happens in a tenant's log, told to the tenant's own systems."""

from __future__ import annotations

import click

from broker.cli.command import Noun
from broker.cli.output import print_item, print_list
from broker.cli.secrets_in import read_secret
from broker.cli.session import Session, pass_session

_COLUMNS = ("id", "name", "form", "host", "kinds")
_DELIVERY = ("id", "position", "kind", "state", "attempts", "answered", "problem", "created_at")


@click.group(cls=Noun)
def webhooks() -> None:
    """Webhooks for every event of a tenant's log: signed, tried again, replayed."""


@webhooks.command("list")
@click.option("--tenant", required=True, metavar="TENANT")
@pass_session
def list_webhooks(session: Session, tenant: str) -> None:
    """Webhooks of a tenant."""
    print_list(list(session.api().pages("webhooks", tenant=tenant)), _COLUMNS, session.output)


@webhooks.command()
@click.argument("webhook")
@pass_session
def show(session: Session, webhook: str) -> None:
    """One webhook."""
    print_item(session.api().get("webhooks", webhook), session.output)


@webhooks.command()
@click.option("--tenant", required=True, metavar="TENANT")
@click.option("--name", required=True, help="What people call it.")
@click.option("--form", type=click.Choice(["standard", "slack", "teams"]), default="standard")
@click.option("--kind", "kinds", multiple=True, help="A kind or noun of entries; none: all.")
@click.option("--url-stdin", is_flag=True, help="The address, on a line: a chat's is a secret.")
@pass_session
def create(
    session: Session, *, tenant: str, name: str, form: str, kinds: tuple[str, ...], url_stdin: bool
) -> None:
    """Be told of what happens from now on. The signing secret is shown now and never again."""
    url = read_secret("Address", from_stdin=url_stdin, option="--url-stdin")
    body = {"tenant": tenant, "name": name, "form": form, "kinds": list(kinds)}
    made = session.api().post("webhooks", body={**body, "url": url.reveal()})
    print_item(made, session.output)


@webhooks.command("replace-secret")
@click.argument("webhook")
@pass_session
def replace_secret(session: Session, webhook: str) -> None:
    """Another secret for WEBHOOK, shown once; the old one signs beside it for 24 hours."""
    print_item(session.api().post("webhooks", webhook, "secret"), session.output)


@webhooks.command()
@click.argument("webhook")
@pass_session
def remove(session: Session, webhook: str) -> None:
    """Take WEBHOOK out of use: what was not delivered is not sent any more."""
    session.api().delete("webhooks", webhook)
    click.echo(f"{webhook} is removed.")


@webhooks.command()
@click.argument("webhook")
@pass_session
def deliveries(session: Session, webhook: str) -> None:
    """The last deliveries of WEBHOOK, the newest first."""
    found = list(session.api().pages("webhooks", webhook, "deliveries"))
    print_list(found, _DELIVERY, session.output)


@webhooks.command()
@click.argument("webhook")
@click.argument("delivery")
@pass_session
def replay(session: Session, webhook: str, delivery: str) -> None:
    """Send DELIVERY again, with the id that it had."""
    session.api().post("webhooks", webhook, "deliveries", delivery, "replay")
    click.echo(f"{delivery} is sent again.")
