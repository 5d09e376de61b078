"""Standing approvals: what a tenant's admins approve in advance, and ending it."""

from __future__ import annotations

from typing import Any

import click

from broker.cli.command import Noun
from broker.cli.durations import Duration
from broker.cli.listing import Listing, listed
from broker.cli.output import print_item, print_list
from broker.cli.plan_table import Cut, show_plan
from broker.cli.session import Session, pass_session

_COLUMNS = (
    *("id", "state", "tenant_name", "database_name", "severities", "categories"),
    *("live_max_s", "copy_max_s", "ends_at", "uses", "open_uses"),
)


@click.group(cls=Noun)
def standing() -> None:
    """What is approved in advance: narrow, always with an end, ended at once by any admin."""


@standing.command("list")
@listed("proposed_at", "tenant", "state")
@pass_session
def list_standing(session: Session, *, listing: Listing) -> None:
    """Standing approvals that you may see."""
    found = session.api().pages("standing-approvals", **listing.query)
    print_list(listing.take(found), _COLUMNS, session.output)


@standing.command()
@click.argument("standing_approval")
@pass_session
def show(session: Session, standing_approval: str) -> None:
    """One standing approval: its conditions, who agreed, how often it was used."""
    _print(session, session.api().get("standing-approvals", standing_approval))


@standing.command()
@click.argument("standing_approval")
@pass_session
def plan(session: Session, standing_approval: str) -> None:
    """The most that is ever seen under it, table by table and column by column."""
    answer = session.api().get("standing-approvals", standing_approval, "plan")
    if session.output == "table":
        show_plan(answer)
    else:
        print_item(answer, session.output, ("standing", "digest"))


@standing.command()
@click.option("--like", "grant", required=True, metavar="GRANT", help="Whose plan you read.")
@click.option("--plan", "digest", metavar="DIGEST", help="The plan that you read and mean.")
@click.option("--severity", "severities", multiple=True, help="Of tickets; several: one of them.")
@click.option("--category", "categories", multiple=True, help="Of tickets; several: one of them.")
@click.option("--without", "tables", multiple=True, metavar="TABLE", help="Leave its rows out.")
@click.option("--mask", "columns", multiple=True, metavar="TABLE.COLUMN", help="Mask it too.")
@click.option("--live", "live_max_s", type=Duration(), default=0, help="At most, e.g. 1h.")
@click.option("--copy", "copy_max_s", type=Duration(), default=0, help="At most, e.g. 1d.")
@click.option("--per-ticket", type=click.IntRange(1, 20), default=1, show_default=True)
@click.option(
    "--until", "ends_at", required=True, metavar="INSTANT", help="E.g. 2027-01-31T00:00Z."
)
@click.option("--note", help="A word to the other admins.")
@pass_session
def give(session: Session, /, grant: str, digest: str | None, **chosen: Any) -> None:
    """Approve in advance requests that fit, for tickets of the severities and categories named.

    Names the plan by its digest, or shows it and asks: no more than it is ever seen.
    """
    tables, columns, note = chosen.pop("tables"), chosen.pop("columns"), chosen.pop("note")
    cut = Cut(frozenset(tables), frozenset(columns))
    body: dict[str, Any] = {
        **chosen,
        "grant": grant,
        "shown_digest": digest or _ask(session, grant, cut),
        "severities": list(chosen["severities"]),
        "categories": list(chosen["categories"]),
        "tables_out": sorted(cut.tables_out),
        "columns_masked": sorted(cut.columns_masked),
    }
    answer = session.api().post("standing-approvals", body=body | ({"note": note} if note else {}))
    _print(session, answer)


def _ask(session: Session, grant: str, cut: Cut) -> str:
    answer = session.api().get("grants", grant, "plan")
    show_plan(answer, cut)
    click.confirm("Approve in advance what shows no more than this?", abort=True)
    return str(answer["digest"])


@standing.command()
@click.argument("standing_approval")
@click.option("--digest", help="The terms that you read and mean.")
@pass_session
def agree(session: Session, standing_approval: str, digest: str | None) -> None:
    """Agree to what another admin proposed: by the digest of its terms, or shown and asked."""
    api = session.api()
    shown = digest
    if shown is None:
        item = api.get("standing-approvals", standing_approval)
        print_item(item, "table")
        show_plan(api.get("standing-approvals", standing_approval, "plan"))
        click.confirm("Agree to this?", abort=True)
        shown = str(item["digest"])
    body = {"shown_digest": shown}
    _print(session, api.post("standing-approvals", standing_approval, "agree", body=body))


@standing.command()
@click.argument("standing_approval")
@click.option("--keep-grants", is_flag=True, help="What it gave goes on to its own end.")
@pass_session
def end(session: Session, standing_approval: str, *, keep_grants: bool) -> None:
    """End it now, and what was approved under it."""
    body = {"keep_grants": keep_grants}
    _print(session, session.api().post("standing-approvals", standing_approval, "end", body=body))


def _print(session: Session, answer: dict[str, Any]) -> None:
    shown = {name: value for name, value in answer.items() if name != "voices"}
    agreed = [voice["person_name"] for voice in answer["voices"]]
    if session.output == "table":
        print_item({**shown, "agreed": agreed}, "table")
    else:
        print_item(answer, session.output, _COLUMNS)
