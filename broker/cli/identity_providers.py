"""Sign-in services: how an organisation's own people sign in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from broker.cli.api import Api
from broker.cli.command import Noun
from broker.cli.logins import seal_for_broker
from broker.cli.output import print_item, print_list
from broker.cli.secrets_in import read_secret
from broker.cli.session import Session, pass_session
from broker.errors import Invalid

_COLUMNS = ("id", "name", "issuer", "ready", "problem")


@click.group("identity-providers", cls=Noun)
def identity_providers() -> None:
    """Services through which an organisation's people sign in (OpenID Connect)."""


@identity_providers.command("list")
@click.option("--tenant", metavar="TENANT", help="Without it: the vendor's own.")
@pass_session
def list_providers(session: Session, tenant: str | None) -> None:
    """Sign-in services of an organisation."""
    found = list(session.api().pages("identity-providers", tenant=tenant))
    print_list(found, _COLUMNS, session.output)


@identity_providers.command()
@click.argument("provider")
@pass_session
def show(session: Session, provider: str) -> None:
    """One sign-in service: its rules, and whether people can sign in."""
    print_item(session.api().get("identity-providers", provider), session.output)


def _rule_options(command: Any) -> Any:
    for option in (
        click.option("--groups-claim", default="groups", show_default=True),
        click.option("--role", "roles", multiple=True, metavar="GROUP=ROLE"),
        click.option("--acr", multiple=True, help="Strength asked for at a step-up: one of these."),
        click.option("--amr", multiple=True, help="Means asked for at a step-up: one of these."),
        click.option("--secret-stdin", is_flag=True, help="The client secret, on a line."),
    ):
        command = option(command)
    return command


@identity_providers.command()
@click.option("--tenant", metavar="TENANT", help="Without it: for the vendor's own people.")
@click.option("--name", required=True, help="What people call it.")
@click.option("--issuer", required=True, metavar="URL", help="Exactly as it names itself.")
@click.option("--client-id", required=True)
@_rule_options
@pass_session
def create(
    session: Session,
    /,
    *,
    tenant: str | None,
    name: str,
    issuer: str,
    client_id: str,
    **rules: Any,
) -> None:
    """Register a sign-in service. Its client secret leaves this machine sealed."""
    api = session.api()
    body = {"name": name, "issuer": issuer, "client_id": client_id, **_read_rules(rules)}
    if tenant is not None:
        body["tenant"] = tenant
    if rules["secret_stdin"]:
        body["sealed_secret"] = _seal(api, issuer, client_id)
    print_item(api.post("identity-providers", body=body), session.output)


@identity_providers.command()
@click.argument("provider")
@click.option("--name", help="Another name.")
@_rule_options
@pass_session
def change(session: Session, /, provider: str, *, name: str | None, **rules: Any) -> None:
    """Replace the rules of PROVIDER by those that are given, and its secret with --secret-stdin."""
    api = session.api()
    known = api.get("identity-providers", provider)
    body = {"name": name or known["name"], **_read_rules(rules)}
    if rules["secret_stdin"]:
        body["sealed_secret"] = _seal(api, known["issuer"], known["client_id"])
    print_item(api.post("identity-providers", provider, body=body), session.output)


@identity_providers.command()
@click.argument("provider")
@pass_session
def check(session: Session, provider: str) -> None:
    """Have what PROVIDER says of itself read again; `show` tells what came of it."""
    session.api().post("identity-providers", provider, "check")
    click.echo(f"{provider} is being read.")


@identity_providers.command()
@click.argument("provider")
@pass_session
def remove(session: Session, provider: str) -> None:
    """Take PROVIDER out of use: its sessions and links end at once."""
    session.api().delete("identity-providers", provider)
    click.echo(f"{provider} is removed.")


@identity_providers.command()
@click.argument("provider")
@pass_session
def links(session: Session, provider: str) -> None:
    """Whose accounts are linked with PROVIDER."""
    found = list(session.api().pages("identity-providers", provider, "links"))
    print_list(found, ("person",), session.output)


@identity_providers.command()
@click.argument("provider")
@click.argument("person")
@pass_session
def unlink(session: Session, provider: str, person: str) -> None:
    """Unlink PERSON's account; sessions that PROVIDER opened for them end at once."""
    session.api().delete("identity-providers", provider, "links", person)
    click.echo(f"{person} is unlinked.")


def _read_rules(given: dict[str, Any]) -> dict[str, Any]:
    return {
        "groups_claim": given["groups_claim"],
        "roles": _read_roles(given["roles"]),
        "acr": list(given["acr"]),
        "amr": list(given["amr"]),
    }


def _read_roles(pairs: Sequence[str]) -> dict[str, str]:
    if any("=" not in pair for pair in pairs):
        raise Invalid("--role takes GROUP=ROLE, such as --role support-admins=admin")
    return {group: role for group, _, role in (pair.rpartition("=") for pair in pairs)}


def _seal(api: Api, issuer: str, client_id: str) -> str:
    from broker.keys.intake import client_context

    secret = read_secret("Client secret", from_stdin=True, option="--secret-stdin")
    return seal_for_broker(api, secret, client_context(issuer, client_id))
