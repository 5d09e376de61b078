"""What the organisation and its people consent to: reading, giving, withdrawing, and why."""

from __future__ import annotations

from typing import Any

import click

from broker.cli.command import Noun
from broker.cli.output import print_item, print_list
from broker.cli.plain import plain
from broker.cli.session import Session, pass_session

_COLUMNS = ("purpose", "about", "own", "state", "since", "by_name", "version", "lapses_at")
_ACTS = ("at", "act", "purpose", "about", "version", "by_name", "via", "lapses_at", "id")
_REASONS = ("position", "at", "kind", "ground", "says", "consents")
_PURPOSES = ("name", "version", "basis", "given_by", "max_days", "unlocks", "ends", "about")
about_option = click.option("--about", default="", help="What of it, where the purpose asks.")


@click.group(cls=Noun)
def consents() -> None:
    """What you and your organisation consent to: one purpose at a time, withdrawn at any time."""


@consents.command()
@pass_session
def purposes(session: Session) -> None:
    """What data may be used for, and on what ground."""
    print_list(list(session.api().pages("purposes")), _PURPOSES, session.output)


@consents.command("list")
@click.argument("tenant")
@pass_session
def list_consents(session: Session, tenant: str) -> None:
    """Each consent that can be given, and how it stands."""
    print_list(list(session.api().pages("tenants", tenant, "consents")), _COLUMNS, session.output)


@consents.command()
@click.argument("tenant")
@pass_session
def acts(session: Session, tenant: str) -> None:
    """The ledger, newest first."""
    found = session.api().pages("tenants", tenant, "consents", "acts")
    print_list(list(found), _ACTS, session.output)


@consents.command()
@click.argument("tenant")
@click.argument("purpose")
@about_option
@click.option("--language", type=click.Choice(["en", "fr"]), default="en", show_default=True)
@click.option("--shown", "digest", metavar="DIGEST", help="The text that you read and mean.")
@pass_session
def give(
    session: Session, /, tenant: str, purpose: str, about: str, language: str, digest: str | None
) -> None:
    """Consent to PURPOSE, or renew it: shown and asked, or by the digest of what you read."""
    body = {
        "purpose": purpose,
        "about": about,
        "shown_digest": digest or _ask(session, tenant, (purpose, about), language),
    }
    _print(session, session.api().post("tenants", tenant, "consents", body=body))


def _ask(session: Session, tenant: str, what: tuple[str, str], language: str) -> str:
    purpose, _about = what
    found = [one for one in session.api().pages("purposes") if one["name"] == purpose]
    if not found:
        raise click.UsageError(f"there is no purpose {purpose}; see: broker consents purposes")
    (shown,) = [text for text in found[0]["texts"] if text["language"] == language]
    listed = session.api().pages("tenants", tenant, "consents")
    asked = [one for one in listed if (one["purpose"], one["about"]) == what]
    if not asked:
        raise click.UsageError(
            f"{purpose} is consented to for one thing at a time: name it by --about"
        )
    click.echo(f"{plain(shown['name'])}\n\n{plain(shown['text'])}\n", err=True)
    for name, value in (asked[0]["recipient"] or {}).items():
        click.echo(f"{name}: {plain(value)}", err=True)
    click.echo(
        f"For {found[0]['max_days']} days at most. Withdraw it at any time: "
        f"broker consents withdraw TENANT {purpose}\n",
        err=True,
    )
    click.confirm("Consent to this?", abort=True, err=True)
    return str(asked[0]["digests"][language])


@consents.command()
@click.argument("tenant")
@click.argument("purpose")
@about_option
@pass_session
def withdraw(session: Session, tenant: str, purpose: str, about: str) -> None:
    """Withdraw the consent to PURPOSE: what rests on it ends at once."""
    body = {"purpose": purpose, "about": about}
    _print(session, session.api().post("tenants", tenant, "consents", "withdraw", body=body))


@consents.command()
@click.argument("tenant")
@click.argument("thing")
@pass_session
def why(session: Session, tenant: str, thing: str) -> None:
    """Why each act about THING (a grant, a login, a copy) was allowed when it happened."""
    found = session.api().pages("tenants", tenant, "why", about=thing)
    print_list(list(found), _REASONS, session.output)


def _print(session: Session, answer: dict[str, Any]) -> None:
    print_item(answer, session.output, _COLUMNS)
