"""The privacy notice, the register of processing, and breaches."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from broker.cli.command import Noun
from broker.cli.output import print_item, print_list
from broker.cli.plain import plain
from broker.cli.session import Session, pass_session

_ACTIVITIES = ("name", "title", "basis", "given_by", "max_days", "recipients")
_BREACHES = ("id", "known_at", "due_at", "notified_at", "unnotified_why", "told_at", "tenants")
_AT = click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%d"])
language_option = click.option(
    "--language", type=click.Choice(["en", "fr"]), default="en", show_default=True
)


@click.command()
@language_option
@pass_session
def notice(session: Session, language: str) -> None:
    """The privacy notice: what is really done with data about people."""
    found = session.api().get("notice", language=language)
    if session.output in {"json", "yaml"}:
        print_item(found, session.output)
        return
    click.echo(plain(found["title"]))
    for section in found["sections"]:
        click.echo(f"\n{plain(section['title'])}")
        for line in section["lines"]:
            click.echo(f"- {plain(line)}")


@click.command()
@language_option
@pass_session
def processing(session: Session, language: str) -> None:
    """The register of processing (GDPR 30), for privacy officers; `-o csv` to file it."""
    found = session.api().pages("registers", "processing", language=language)
    print_list(list(found), _ACTIVITIES, session.output)


@click.group(cls=Noun)
def breaches() -> None:
    """Breaches of personal data: 72 hours from when they are known (GDPR 33, 34)."""


@breaches.command("list")
@pass_session
def list_breaches(session: Session) -> None:
    """The register, the youngest first, with whom the logs say was hit."""
    print_list(list(session.api().pages("breaches")), _BREACHES, session.output)


@breaches.command()
@click.option("--said", required=True, help="What happened.")
@click.option("--thing", "things", multiple=True, required=True, help="An id; more than one.")
@click.option("--since", type=_AT, required=True, help="In UTC, as the two that follow.")
@click.option("--until", type=_AT, required=True)
@click.option("--known", type=_AT, required=True, help="When it became known.")
@pass_session
def record(  # each is what the law asks for
    session: Session,
    /,
    said: str,
    things: tuple[str, ...],
    since: datetime,
    until: datetime,
    known: datetime,
) -> None:
    """Write down a breach: a server, a database, a copy, a login or a person, and when."""
    window = {"since": since, "until": until, "known_at": known}
    body = {"said": said, "things": list(things)}
    body |= {name: at.replace(tzinfo=UTC).isoformat() for name, at in window.items()}
    print_item(session.api().post("breaches", body=body), session.output, _BREACHES)


@breaches.command()
@click.argument("breach")
@click.option("--reference", default="", help="The authority's.")
@click.option("--why-not", default="", help="Why the authority need not be notified.")
@pass_session
def notify(session: Session, breach: str, reference: str, why_not: str) -> None:
    """The authority was notified of BREACH, or need not be."""
    body = {"reference": reference, "why_not": why_not}
    print_item(session.api().post("breaches", breach, "notify", body=body), session.output)


@breaches.command()
@click.argument("breach")
@click.option("--text", required=True, help="What happened, and what to do.")
@pass_session
def tell(session: Session, breach: str, text: str) -> None:
    """Tell the admins of each customer that BREACH hit, by mail and in their log."""
    print_item(session.api().post("breaches", breach, "tell", body={"text": text}), session.output)
