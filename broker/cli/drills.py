"""Drills of revocation, as commands of `broker databases`."""

from __future__ import annotations

import click

from broker.cli.command import ApiCommand
from broker.cli.durations import Duration
from broker.cli.output import WHOLE, Item, print_item, print_list
from broker.cli.session import Session, pass_session
from broker.errors import Conflict

_COLUMNS = ("id", "state", "ordered_at", "refused_s", "dead_s", "gone_s", "problem", "stuck_reason")
_SUMMARY = ("database", "allowed_since", "every_s", "p95_dead_s")


@click.command(cls=ApiCommand)
@click.argument("database")
@click.option(
    "--wait", "wait_s", type=Duration(), default="60s", show_default=True, help="Until it is over."
)
@pass_session
def drill(session: Session, database: str, wait_s: int) -> None:
    """Attack a login that reads nothing, revoke it, and say how long it took. Exit 6 if it failed.

    Only where an admin of the tenant has allowed it (allow-drills).
    """
    api = session.api()
    api.post("databases", database, "drills")
    found = api.wait("databases", database, "drills", until=_is_over, timeout_s=wait_s)
    _show(found, session.output)
    if found["drills"][0]["state"] != "passed":
        raise Conflict(f"the drill failed: {found['drills'][0]['problem']}")


def _is_over(found: Item) -> bool:
    return all(one["state"] != "ordered" for one in found["drills"])


@click.command(cls=ApiCommand)
@click.argument("database")
@pass_session
def drills(session: Session, database: str) -> None:
    """What drills on DATABASE took, newest first: seconds from asking to refused, dead, gone."""
    _show(session.api().get("databases", database, "drills"), session.output)


@click.command("allow-drills", cls=ApiCommand)
@click.argument("database")
@click.option("--every", "every_s", type=Duration(), help="By themselves, e.g. every 7d.")
@pass_session
def allow(session: Session, database: str, every_s: int | None) -> None:
    """Allow drills on DATABASE, as its tenant's admin; on demand, or --every so often too."""
    _decide(session, database, {"allowed": True, "every_s": every_s})


@click.command("forbid-drills", cls=ApiCommand)
@click.argument("database")
@pass_session
def forbid(session: Session, database: str) -> None:
    """Allow no more drills on DATABASE."""
    _decide(session, database, {"allowed": False})


def _decide(session: Session, database: str, body: dict[str, object]) -> None:
    answer = session.api().post("databases", database, "drill-consent", body=body)
    print_item(answer, session.output, _SUMMARY)


def _show(found: Item, form: str) -> None:
    if form in WHOLE:
        print_item(found, form)
        return
    if form == "table":
        print_item(found, form, _SUMMARY)
    print_list(found["drills"], _COLUMNS, form)
