"""Platforms: SaaS applications that trust the broker's tokens; and tokens for them."""

from __future__ import annotations

import click

from broker.cli.command import Noun
from broker.cli.output import print_item, print_list
from broker.cli.session import Session, pass_session

_COLUMNS = ("id", "name", "audience", "registered_at")


@click.group(cls=Noun)
def platforms() -> None:
    """SaaS applications that let support in with the broker's tokens."""


@platforms.command("list")
@click.option("--tenant", required=True, metavar="TENANT")
@pass_session
def list_platforms(session: Session, tenant: str) -> None:
    """Platforms of a tenant."""
    print_list(list(session.api().pages("platforms", tenant=tenant)), _COLUMNS, session.output)


@platforms.command()
@click.argument("platform")
@pass_session
def show(session: Session, platform: str) -> None:
    """One platform, as it is registered."""
    print_item(session.api().get("platforms", platform), session.output)


@platforms.command()
@click.option("--tenant", required=True, metavar="TENANT")
@click.option("--name", required=True, help="What people call it.")
@click.option("--audience", required=True, metavar="URL", help="What its tokens name; its alone.")
@pass_session
def create(session: Session, *, tenant: str, name: str, audience: str) -> None:
    """Register a platform. Its secret, for asking about tokens, is shown now and never again."""
    body = {"tenant": tenant, "name": name, "audience": audience}
    print_item(session.api().post("platforms", body=body), session.output)


@platforms.command("replace-secret")
@click.argument("platform")
@pass_session
def replace_secret(session: Session, platform: str) -> None:
    """Another secret for PLATFORM, shown once; the old one is void at once."""
    print_item(session.api().post("platforms", platform, "secret"), session.output)


@platforms.command()
@click.argument("platform")
@pass_session
def remove(session: Session, platform: str) -> None:
    """Take PLATFORM out of use: requests and grants on it end, with all that rests on them."""
    session.api().delete("platforms", platform)
    click.echo(f"{platform} is removed.")


@platforms.command()
@click.argument("grant")
@pass_session
def token(session: Session, grant: str) -> None:
    """A token for the platform of GRANT, for 5 minutes at most; printed alone.

    Send it as `Authorization: Bearer`. It is void at once when the grant or its lease ends.
    """
    api = session.api()
    found = api.get("grants", grant)
    answer = api.exchange(str(found["audience"] or ""), grant)
    if session.output == "table":
        click.echo(answer["access_token"])
    else:
        print_item(answer, session.output)


@platforms.command("withdraw-keys")
@click.confirmation_option(prompt="Every token that is out now will be refused. Go on?")
@pass_session
def withdraw_keys(session: Session) -> None:
    """Take every key that signs tokens out of use at once, for one may have leaked."""
    session.api().post("token-keys", "withdraw")
    click.echo("The keys are withdrawn; a worker makes another.")
