"""Your rights over data about you; for privacy officers, what others asked."""

from __future__ import annotations

from pathlib import Path

import click

from broker.cli.command import Noun
from broker.cli.files import FILE, write_new
from broker.cli.output import Item, print_item, print_list
from broker.cli.session import Session, pass_session

_KINDS = ("access", "portability", "rectification", "erasure", "restriction", "objection")
_COLUMNS = ("id", "kind", "person_name", "received_at", "due_at", "answered_at", "outcome")
_KEPT = ("table", "key", "columns", "why")


@click.group(cls=Noun)
def rights() -> None:
    """Your rights over what is held of you (GDPR 15 to 21)."""


@rights.command()
@click.option("--person", help="For privacy officers: of whom; else of yourself.")
@click.option("-f", "--file", type=FILE, required=True, help="Where to; must not be there yet.")
@pass_session
def export(session: Session, person: str | None, file: Path) -> None:
    """All that is held of you, as a zip: JSON with its schema, and a page to read."""
    api = session.api()
    made = api.get_bytes("people", person, "export") if person else api.get_bytes("me", "export")
    write_new(file, made)
    click.echo(f"{len(made)} bytes in {file}; read export.html in it")


@rights.command()
@click.argument("kind", type=click.Choice(_KINDS))
@click.option("--said", default="", help="What it is about, in your words.")
@pass_session
def ask(session: Session, kind: str, said: str) -> None:
    """Ask for one of your rights; you are answered within a month."""
    _print(session, session.api().post("me", "rights", body={"kind": kind, "said": said}))


@rights.command()
@pass_session
def mine(session: Session) -> None:
    """What you asked, and until when you are answered."""
    print_list(list(session.api().pages("me", "rights")), _COLUMNS, session.output)


@rights.command()
@pass_session
def shown(session: Session) -> None:
    """What of you was shown, to whom, for which ticket."""
    found = session.api().pages("me", "disclosures")
    print_list(list(found), ("at", "field", "shown_to", "ticket"), session.output)


@rights.command("object-to-marketing")
@pass_session
def object_to_marketing(session: Session) -> None:
    """No marketing from now on; it takes effect at once."""
    _print(session, session.api().post("me", "object-to-marketing"))


@rights.command("list")
@click.option("--open", "open_only", is_flag=True, help="Not answered yet.")
@pass_session
def list_rights(session: Session, *, open_only: bool) -> None:
    """For privacy officers: what people asked, soonest due first."""
    found = session.api().pages("rights", open="true" if open_only else None)
    print_list(list(found), _COLUMNS, session.output)


@rights.command("take-in")
@click.argument("person")
@click.argument("kind", type=click.Choice(_KINDS))
@click.option("--proof", required=True, help="How you know that it is them.")
@click.option("--said", default="", help="What they wrote.")
@pass_session
def take_in(session: Session, person: str, kind: str, proof: str, said: str) -> None:
    """For privacy officers: write down what PERSON asked by mail or by word."""
    body = {"person": person, "kind": kind, "proof": proof, "said": said}
    _print(session, session.api().post("rights", body=body))


@rights.command()
@click.argument("case")
@click.option("--why", required=True, help="The person is told.")
@pass_session
def extend(session: Session, case: str, why: str) -> None:
    """For privacy officers: two more months for CASE, once."""
    _print(session, session.api().post("rights", case, "extend", body={"why": why}))


@rights.command()
@click.argument("case")
@click.option("--outcome", type=click.Choice(["done", "partly", "refused"]), required=True)
@click.option("--answer", "said", required=True, help="What was done, or why not.")
@pass_session
def answer(session: Session, case: str, outcome: str, said: str) -> None:
    """For privacy officers: answer CASE; the person is told."""
    body = {"outcome": outcome, "answer": said}
    _print(session, session.api().post("rights", case, "answer", body=body))


@rights.command()
@click.argument("person")
@click.option("--lift", is_flag=True, help="Take the mark away.")
@pass_session
def restrict(session: Session, person: str, *, lift: bool) -> None:
    """For privacy officers: what is held of PERSON is stored, and put to no other use."""
    session.api().post("people", person, "restrict", body={"restricted": not lift})
    click.echo(f"{person} is {'no longer ' if lift else ''}restricted.")


@rights.command()
@click.argument("person")
@pass_session
def erasure(session: Session, person: str) -> None:
    """For privacy officers: what the erasure of PERSON left, row by row, each with its ground."""
    answer = session.api().get("people", person, "erasure")
    if session.output == "table":
        print_list(answer["kept"], _KEPT, "table")
    else:
        print_item(answer, session.output, ("id", "at", "openings"))


def _print(session: Session, answer: Item) -> None:
    print_item(answer, session.output, ("id",) if session.output == "id" else ())
