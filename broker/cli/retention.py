"""How long records are kept, and what is kept to improve the product."""

from __future__ import annotations

from typing import Any

import click

from broker.cli.command import Noun
from broker.cli.output import print_item, print_list
from broker.cli.session import Session, pass_session

_TERMS = ("name", "days", "fate", "past", "what", "basis", "tables")
_RUNS = ("at", "tried", "counts", "digest")
_ROWS = ("month", "about", "severity", "kind", "records", "median_hours")
_REPORTS = ("month", "records", "grouped", "left_out", "made_at")


@click.group(cls=Noun)
def retention() -> None:
    """How long each kind of record is kept, why, and what becomes of it then."""


@retention.command()
@pass_session
def due(session: Session) -> None:
    """The schedule that stands, and how many rows it would take now."""
    found = session.api().get("retention")
    if session.output in {"json", "yaml"}:
        print_item(found, session.output)
        return
    print_list([_in_english(term) for term in found["terms"]], _TERMS, session.output)
    since = found["confirmed_at"]
    said = (
        f"confirmed {since}"
        if since
        else f"not confirmed: broker retention confirm {found['digest']}"
    )
    click.echo(said, err=True)


def _in_english(term: dict[str, Any]) -> dict[str, Any]:
    return {**term, "what": term["what"]["en"], "basis": term["basis"]["en"]}


@retention.command()
@click.argument("digest")
@pass_session
def confirm(session: Session, digest: str) -> None:
    """For privacy officers: the schedule with DIGEST is carried out from tonight on."""
    print_item(session.api().post("retention", "confirm", body={"digest": digest}), session.output)


@retention.command()
@pass_session
def runs(session: Session) -> None:
    """What each night took, or would have taken, the youngest first."""
    print_list(list(session.api().pages("retention", "runs")), _RUNS, session.output)


@click.group(cls=Noun)
def improvement() -> None:
    """What went wrong, counted without identifiers, to improve the product."""


@improvement.command("list")
@pass_session
def list_rows(session: Session) -> None:
    """By month, matter, severity and kind; each of five customers at least."""
    print_list(list(session.api().pages("improvement")), _ROWS, session.output)


@improvement.command()
@pass_session
def reports(session: Session) -> None:
    """How much of each month was kept, and how much was too rare."""
    print_list(list(session.api().pages("improvement", "reports")), _REPORTS, session.output)
