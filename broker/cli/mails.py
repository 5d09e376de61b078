"""How mails to oneself read, and which are not sent."""

from __future__ import annotations

import click

from broker.cli.command import ApiCommand
from broker.cli.output import print_item
from broker.cli.session import Session, pass_session
from broker.languages import LANGUAGES
from broker.letters import DECLINABLE


@click.command(cls=ApiCommand)
@click.option("--language", type=click.Choice(tuple(LANGUAGES)), help="Of mails to you.")
@click.option("--zone", help="Beside UTC, such as Europe/Paris; empty for UTC alone.")
@click.option(
    "--decline",
    multiple=True,
    type=click.Choice(sorted(DECLINABLE)),
    help="Not to be sent; again for several. The others are owed.",
)
@click.option("--accept-all", is_flag=True, help="Decline none.")
@pass_session
def mails(
    session: Session,
    *,
    language: str | None,
    zone: str | None,
    decline: tuple[str, ...],
    accept_all: bool,
) -> None:
    """Show how mails to you read and which you declined, or change what is named."""
    if decline and accept_all:
        raise click.UsageError("--decline and --accept-all can't both hold")
    now = session.api().get("me/mails")
    if language is not None or zone is not None or decline or accept_all:
        body = {
            "language": language or now["language"] or "en",
            "zone": now["zone"] if zone is None else zone or None,
            "declined": sorted(decline) if decline or accept_all else now["declined"],
        }
        now = session.api().post("me/mails", body=body)
    print_item(now, session.output)
