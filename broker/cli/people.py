"""People of the vendor and of tenants; and the first operator, who is made without the API."""

from __future__ import annotations

import click

from broker.cli.command import Noun, tenant_option
from broker.cli.output import print_item, print_list
from broker.cli.secrets_in import read_secret
from broker.cli.session import Session, pass_session

_COLUMNS = ("id", "name", "email", "role", "tenant", "disabled")


@click.group(cls=Noun)
def people() -> None:
    """Who may act, and in which role."""


@people.command("list")
@tenant_option
@pass_session
def list_people(session: Session, tenant: str | None) -> None:
    """People of a tenant, or of the vendor."""
    print_list(list(session.api().pages("people", tenant=tenant)), _COLUMNS, session.output)


@people.command()
@click.option("--email", required=True)
@click.option("--name", required=True)
@click.option(
    "--role", required=True, help="engineer, lead, operator, privacy_officer; admin, auditor"
)
@click.option("--tenant", metavar="TENANT", help="In this tenant; else in the vendor.")
@pass_session
def add(session: Session, email: str, name: str, role: str, tenant: str | None) -> None:
    """Give a person a role, and send an invitation."""
    body = {"email": email, "name": name, "role": role}
    if tenant is not None:
        body["tenant"] = tenant
    print_item(session.api().post("people", body=body), session.output)


@people.command()
@click.argument("person")
@click.option("--tenant", required=True, metavar="TENANT")
@pass_session
def remove(session: Session, person: str, tenant: str) -> None:
    """End all roles of PERSON in a tenant."""
    session.api().delete("people", person, "roles", tenant=tenant)
    click.echo(f"{person} has no role there any more.")


@people.command()
@click.argument("person")
@pass_session
def disable(session: Session, person: str) -> None:
    """Shut out a person of the vendor; what they asked for ends."""
    session.api().post("people", person, "disable")
    click.echo(f"{person} is shut out.")


@people.command("end-access")
@click.argument("person")
@click.confirmation_option(prompt="Cut every login of this person and destroy every copy?")
@pass_session
def end_access(session: Session, person: str) -> None:
    """End everything that PERSON asked for: in your organisation, or everywhere for a lead."""
    answer = session.api().post("people", person, "end-access")
    click.echo(f"{answer['ended']} ended; logins are being cut and copies destroyed.")


@people.command()
@click.argument("person")
@click.confirmation_option(prompt="What is erased can't be brought back. Go on?")
@pass_session
def erase(session: Session, person: str) -> None:
    """Erase what names PERSON, who can no longer act; every log still verifies."""
    answer = session.api().post("people", person, "erase")
    click.echo(
        f"{person} is erased; {answer['openings']} names in logs can't be opened any more, "
        f"{answer['kept']} rows are left: broker rights erasure {person}"
    )


@people.command(cls=click.Command)
@click.option("--email", required=True)
@click.option("--name", required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def bootstrap(*, email: str, name: str, password_stdin: bool) -> None:
    """Make the vendor's first operator, directly on the control database.

    Refused once the vendor has people: then an operator adds others.
    """
    from broker import bootstrap as building
    from broker.settings import load_settings
    from broker.tx import system

    broker = building.build(load_settings())
    try:
        password = read_secret("Password", from_stdin=password_stdin, twice=True)
        with broker.database.begin(system("bootstrap")) as tx:
            person_id = building.add_first_operator(tx, email, name, password)
    finally:
        broker.close()
    click.echo(f"{person_id} is the first operator; sign in with: broker login --email {email}")
