"""Grants: asking for access, reading exactly what would be seen, deciding, ending."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from broker.cli.command import Noun
from broker.cli.durations import Duration
from broker.cli.files import FILE, save_signed
from broker.cli.listing import Listing, listed
from broker.cli.output import print_item, print_list
from broker.cli.plain import plain
from broker.cli.plan_table import Cut, show_plan
from broker.cli.session import Session, pass_session
from broker.durations import format_duration
from broker.errors import Conflict
from broker.restricting import parse

if TYPE_CHECKING:
    from broker.cli.api import Api

_COLUMNS = (
    *("id", "state", "tenant_name", "database_name", "requester_name"),
    *("ticket_external_id", "requested_at", "ends_at"),
)
_WHO = (
    *("requester_name", "ticket_external_id", "ticket_title", "database_name"),
    *("category", "reason", "asked_kind", "asked_develop", "asked_dedicated", "raw_columns"),
)
_DECIDED = (
    *("id", "verdict", "settles", "person_name", "stood_in_for_name", "side", "via", "at"),
    *("live_s", "copy_s", "platform_s", "storage_s", "kind"),
)
_KINDS = ("structure", "masked", "raw", "write")
_CATEGORIES = ("customer_report", "vendor_finding", "incident", "backup", "legal")


@click.group(cls=Noun)
def grants() -> None:
    """Permissions of a tenant: asked for, approved or refused, ended."""


@grants.command("list")
@listed("requested_at", "tenant", "requester", "state")
@pass_session
def list_grants(session: Session, *, listing: Listing) -> None:
    """Requests and grants that you may see."""
    found = session.api().pages("grants", **listing.query)
    print_list(listing.take(found), _COLUMNS, session.output)


@grants.command()
@click.argument("grant")
@pass_session
def show(session: Session, grant: str) -> None:
    """One request or grant."""
    print_item(session.api().get("grants", grant), session.output)


@grants.command()
@click.argument("grant")
@click.option(
    "--which",
    type=click.Choice(["asked", "given"]),
    default="asked",
    show_default=True,
    help="What was asked for, or what was given.",
)
@pass_session
def plan(session: Session, grant: str, which: str) -> None:
    """Table by table and column by column: what is seen, what is masked, and why."""
    answer = session.api().get("grants", grant, "plan", which=which)
    if session.output == "table":
        show_plan(answer)
    else:
        print_item(answer, session.output, ("grant", "digest"))


@grants.command()
@click.option("--ticket", required=True, metavar="TICKET", help="Its id here: tkt_…")
@click.option("--database", required=True, metavar="DATABASE")
@click.option(
    "--category", type=click.Choice(_CATEGORIES), default="customer_report", show_default=True
)
@click.option("--reason", required=True, help="Why the customer should agree.")
@click.option("--live", "live_s", type=Duration(), default=0, help="How long, e.g. 4h.")
@click.option(
    "--copy", "copy_s", type=Duration(), default=0, help="How long a copy lives, e.g. 2d."
)
@click.option("--kind", type=click.Choice(_KINDS), help="What is seen; masked rows if not named.")
@click.option("--raw", multiple=True, metavar="COLUMN", help="In clear: schema.table.column.")
@click.option("--dedicated", is_flag=True, help="The copy on a server of its own.")
@click.option("--develop", is_flag=True, help="Change the copy's definitions too: DDL.")
@click.option("--platform", metavar="PLATFORM", help="Its application, by tokens; with --tokens.")
@click.option("--tokens", "platform_s", type=Duration(), help="For how long, e.g. 1h.")
@click.option("--storage", metavar="STORAGE", help="Its objects in a bucket; with --sessions.")
@click.option("--sessions", "storage_s", type=Duration(), help="For how long, e.g. 1h.")
@click.option("--start", "starts_at", metavar="INSTANT", help="Not before, e.g. 2027-01-31T06:00Z.")
@click.option("--extends", metavar="GRANT", help="Goes on from this grant; decided by itself.")
@click.option(
    "--break-glass", is_flag=True, help="Two leads decide, where the customer's policy allows it."
)
@click.option("--wait", "wait_s", type=Duration(), help="Wait until its plan is made.")
@pass_session
def request(
    session: Session,
    *,
    ticket: str,
    database: str,
    category: str,
    reason: str,
    live_s: int,
    copy_s: int,
    kind: str | None,
    raw: tuple[str, ...],
    dedicated: bool,
    develop: bool,
    platform: str | None,
    storage: str | None,
    platform_s: int | None,
    storage_s: int | None,
    starts_at: str | None,
    extends: str | None,
    break_glass: bool,
    wait_s: int | None,
) -> None:
    """Ask a tenant for access: live, by a copy, on its platform or storage, or several of them."""
    api = session.api()
    body: dict[str, Any] = {
        "ticket": ticket,
        "database": database,
        "category": category,
        "reason": reason,
        "live_s": live_s,
        "copy_s": copy_s,
        "kind": kind or ("raw" if raw else "masked"),
        "raw_columns": list(raw),
    }
    optional = {
        "platform": platform,
        "storage": storage,
        "platform_s": platform_s,
        "storage_s": storage_s,
        "starts_at": starts_at,
        "extends": extends,
        "break_glass": break_glass or None,
        "develop": develop or None,
        "dedicated": dedicated or None,
    }
    body |= {name: value for name, value in optional.items() if value is not None}
    made = api.post("grants", body=body)
    if wait_s is not None:
        made = api.wait("grants", made["id"], until=_is_planned, timeout_s=wait_s)
    print_item(made, session.output)


def _is_planned(grant: dict[str, Any]) -> bool:
    return grant["state"] != "requested" or grant["asked_digest"] is not None


@grants.command()
@click.argument("grant")
@click.option("--plan", "digest", metavar="DIGEST", help="The plan that you read and mean.")
@click.option("--without", "tables", multiple=True, metavar="TABLE", help="Leave its rows out.")
@click.option("--mask", "columns", multiple=True, metavar="TABLE.COLUMN", help="Mask it too.")
@click.option(
    "--rows",
    multiple=True,
    metavar="RESTRICTION",
    help="'TABLE.COLUMN = VALUE, VALUE' or 'TABLE.COLUMN last N days': such rows of it alone.",
)
@click.option("--live", "live_s", type=Duration(), help="Shorter live access, e.g. 2h; 0: none.")
@click.option("--copy", "copy_s", type=Duration(), help="A shorter life of copies; 0: none.")
@click.option("--tokens", "platform_s", type=Duration(), help="Shorter on the platform; 0: not.")
@click.option("--sessions", "storage_s", type=Duration(), help="Shorter on the storage; 0: not.")
@click.option("--no-develop", is_flag=True, help="The copy's definitions stay as they are.")
@click.option("--start", "starts_at", metavar="INSTANT", help="A later start than asked, in UTC.")
@click.option("--note", help="A word to the engineer.")
@pass_session
def approve(
    session: Session,
    *,
    grant: str,
    digest: str | None,
    tables: tuple[str, ...],
    columns: tuple[str, ...],
    rows: tuple[str, ...],
    live_s: int | None,
    copy_s: int | None,
    platform_s: int | None,
    storage_s: int | None,
    no_develop: bool,
    starts_at: str | None,
    note: str | None,
) -> None:
    """Approve GRANT, or less than what it asks; never more.

    Names the plan by its digest, or shows it and asks. Tables are named with their schema.
    """
    api = session.api()
    cut = Cut(frozenset(tables), frozenset(columns), parse("\n".join(rows)))
    windows = {"live": live_s, "copy": copy_s, "platform": platform_s, "storage": storage_s}
    shown = digest or _ask(api, grant, cut, Wished(windows, starts_at, no_develop))
    body: dict[str, Any] = {
        "shown_digest": shown,
        "tables_out": sorted(cut.tables_out),
        "columns_masked": sorted(cut.columns_masked),
        "rows_only": [
            {
                "table": one.table,
                "column": one.restriction.column,
                "values": list(one.restriction.values),
                "days": one.restriction.days or None,
            }
            for one in sorted(cut.rows_only)
        ],
    }
    optional = {
        "live_s": live_s,
        "copy_s": copy_s,
        "platform_s": platform_s,
        "storage_s": storage_s,
        "no_develop": no_develop or None,
        "starts_at": starts_at,
        "note": note,
    }
    body |= {name: value for name, value in optional.items() if value is not None}
    answer = api.post("grants", grant, "approve", body=body)
    missing = max(1, answer.get("approvals_needed", 1) - answer.get("approvals_given", 1))
    waits = answer.get("state") == "requested"
    told = f"You approved {grant}; {missing} more must." if waits else f"{grant} is approved."
    _tell(session, answer, told)


@dataclass(frozen=True, slots=True)
class Wished:
    """Windows by kind, in seconds, and a start; None leaves each as asked."""

    windows: dict[str, int | None]
    starts_at: str | None
    no_develop: bool = False


def _ask(api: Api, grant: str, cut: Cut, wished: Wished) -> str:
    """Show who asks for what, the plan, and what would be given; return the digest agreed to."""
    item = api.get("grants", grant)
    if item["state"] != "requested":
        raise Conflict(f"{grant} is {item['state']} already, since {item['state_at']}")
    print_item(item, "table", _WHO)
    answer = api.get("grants", grant, "plan")
    show_plan(answer, cut)
    asked = {kind: item[f"asked_{kind}_s"] for kind in wished.windows}
    given = {kind: s if (w := wished.windows[kind]) is None else w for kind, s in asked.items()}
    start = item.get("starts_at")
    click.echo(f"Asked: {_windows(asked)}{_from(start)}.")
    click.echo(f"You would give: {_windows(given)}{_from(wished.starts_at or start)}.")
    for name in sorted(cut.tables_out):
        click.echo(f"  without the rows of {plain(name)}")
    for name in sorted(cut.columns_masked):
        click.echo(f"  {plain(name)} masked")
    for one in sorted(cut.rows_only):
        click.echo(f"  of {plain(one.table)} only {plain(one.restriction.sentence)}")
    if wished.no_develop:
        click.echo("  the copy's definitions stay as they are")
    click.confirm("Approve this?", abort=True)
    return str(answer["digest"])


def _from(start: str | None) -> str:
    return f", not before {plain(start)}" if start else ""


def _windows(seconds: dict[str, int]) -> str:
    names = {
        "live": "live access",
        "copy": "a copy",
        "platform": "its platform",
        "storage": "its storage",
    }
    parts = [f"{names[kind]} for {format_duration(s)}" for kind, s in seconds.items() if s]
    return ", ".join(parts) or "nothing"


@grants.command()
@click.argument("grant")
@click.option("--note", required=True, help="Why not.")
@pass_session
def refuse(session: Session, grant: str, note: str) -> None:
    """Refuse GRANT, with a reason for the engineer."""
    answer = session.api().post("grants", grant, "refuse", body={"note": note})
    _tell(session, answer, f"{grant} is refused.")


@grants.command()
@click.argument("grant")
@pass_session
def end(session: Session, grant: str) -> None:
    """End GRANT now: its logins are cut, its copies destroyed."""
    answer = session.api().post("grants", grant, "end")
    _tell(session, answer, f"{grant} has ended; its logins are being cut, its copies destroyed.")


@grants.command()
@click.argument("grant")
@pass_session
def pause(session: Session, grant: str) -> None:
    """Pause GRANT: its logins are cut and let nobody in, nothing new is given. Its ends stay."""
    answer = session.api().post("grants", grant, "pause")
    _tell(session, answer, f"{grant} is to be paused; broker leases list shows when it is done.")


@grants.command()
@click.argument("grant")
@pass_session
def resume(session: Session, grant: str) -> None:
    """Lift the pause of GRANT. What the customer paused, the customer alone resumes."""
    answer = session.api().post("grants", grant, "resume")
    _tell(session, answer, f"{grant} goes on, until the end that it was given.")


@grants.command()
@click.argument("grant")
@pass_session
def decisions(session: Session, grant: str) -> None:
    """Who decided what on GRANT, and when; oldest first."""
    print_list(list(session.api().pages("grants", grant, "decisions")), _DECIDED, session.output)


@grants.command()
@click.argument("decision")
@click.option("-f", "--file", type=FILE, help="Where to; must not be there yet.")
@pass_session
def decision(session: Session, decision: str, file: Path | None) -> None:
    """Fetch the signed statement of DECISION, byte for byte."""
    envelope = session.api().get_bytes("decisions", decision, "envelope")
    save_signed(envelope, file, f"{decision}.dsse.json")


def _tell(session: Session, answer: dict[str, Any], sentence: str) -> None:
    if session.output == "table" or not answer:
        click.echo(sentence)
    else:
        print_item(answer, session.output, _COLUMNS)
