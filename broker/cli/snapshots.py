"""Copies: ordered, watched while they are made, reset, destroyed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from broker.cli.command import Noun
from broker.cli.durations import Duration
from broker.cli.listing import Listing, listed
from broker.cli.output import console, print_item, print_list
from broker.cli.plain import plain
from broker.cli.session import Session, pass_session
from broker.cli.snapshot_env import env
from broker.errors import Unavailable

if TYPE_CHECKING:
    from rich.progress import Progress

_COLUMNS = ("id", "state", "tenant_name", "grant", "ordered_at", "ends_at", "stuck_reason")
_MAKING = ("ordered", "copying")
_wait_option = click.option(
    "--wait", "wait_s", type=Duration(), help="Wait for it this long, e.g. 30m."
)


@click.group(cls=Noun)
def snapshots() -> None:
    """Masked copies of a tenant's database."""


snapshots.add_command(env)


@snapshots.command("list")
@listed("ordered_at", "tenant", "grant", "requester", "state")
@pass_session
def list_snapshots(session: Session, *, listing: Listing) -> None:
    """Copies that you may see."""
    found = session.api().pages("snapshots", **listing.query)
    print_list(listing.take(found), _COLUMNS, session.output)


@snapshots.command()
@click.argument("snapshot")
@_wait_option
@pass_session
def show(session: Session, snapshot: str, wait_s: int | None) -> None:
    """One copy; with --wait, once it is made."""
    item = session.api().get("snapshots", snapshot)
    if wait_s is not None:
        item = _wait_until_made(session, snapshot, wait_s)
    print_item(item, session.output)


@snapshots.command()
@click.argument("grant")
@click.option("--server", metavar="SERVER", help="The test server where it will live.")
@_wait_option
@pass_session
def order(session: Session, grant: str, server: str | None, wait_s: int | None) -> None:
    """Order a copy under GRANT."""
    body = {"grant": grant} | ({"server": server} if server is not None else {})
    item = session.api().post("snapshots", body=body)
    if wait_s is not None:
        item = _wait_until_made(session, item["id"], wait_s)
    print_item(item, session.output)


@snapshots.command()
@click.argument("snapshot")
@_wait_option
@pass_session
def reset(session: Session, snapshot: str, wait_s: int | None) -> None:
    """Rebuild a copy's sandbox from its sealed form; your logins on it end."""
    api = session.api()
    item = api.post("snapshots", snapshot, "reset")
    if wait_s is not None:
        item = api.wait("snapshots", snapshot, until=_is_reset, timeout_s=wait_s)
        if item["state"] != "ready" or item["stuck_reason"]:
            why = item.get("condemned_why") or item.get("stuck_reason") or "no reason was given"
            raise Unavailable(f"{snapshot} was not reset: {why}")
    print_item(item, session.output)


def _is_reset(item: dict[str, Any]) -> bool:
    return item["state"] != "ready" or not item["being_reset"]


@snapshots.command()
@click.argument("snapshot")
@_wait_option
@pass_session
def destroy(session: Session, snapshot: str, wait_s: int | None) -> None:
    """Destroy a copy now. There is no way back; a certificate follows."""
    api = session.api()
    item = api.post("snapshots", snapshot, "destroy")
    if wait_s is not None:
        item = api.wait("snapshots", snapshot, until=_is_certified, timeout_s=wait_s)
    if item:
        print_item(item, session.output)
    else:
        click.echo(f"{snapshot} is condemned.")


@snapshots.command()
@click.argument("snapshot")
@click.option(
    "--took",
    type=click.Choice(["nothing", "erased", "kept"]),
    required=True,
    help="What you took out of it by hand: nothing; something, all erased since; or some is kept.",
)
@_wait_option
@pass_session
def done(session: Session, snapshot: str, took: str, wait_s: int | None) -> None:
    """You are done with your copy: say what you took out of it, and it is destroyed.

    What you say stands in the log that the customer reads, and in the certificate.
    """
    api = session.api()
    item = api.post("snapshots", snapshot, "attest", body={"took": took})
    if wait_s is not None:
        item = api.wait("snapshots", snapshot, until=_is_certified, timeout_s=wait_s)
    print_item(item, session.output)


def _is_certified(item: dict[str, Any]) -> bool:
    return item["state"] == "destroyed" and item["certificate"] is not None


def _wait_until_made(session: Session, snapshot: str, wait_s: int) -> dict[str, Any]:
    """Watch the copy being made. Raises WaitTimedOut, or Unavailable when it was given up."""
    with _progress() as bar:
        task = bar.add_task(snapshot, total=None, step="ordered") if bar else None

        def show_step(item: dict[str, Any]) -> None:
            if bar is not None and task is not None:
                done = item.get("progress") or {}
                step = plain(done.get("step") or item["state"])
                bar.update(
                    task, total=done.get("tables"), completed=done.get("tables_done", 0), step=step
                )

        item = session.api().wait(
            *("snapshots", snapshot),
            until=lambda item: item["state"] not in _MAKING,
            timeout_s=wait_s,
            seen=show_step,
        )
    if item["state"] != "ready":
        why = item.get("condemned_why") or item.get("stuck_reason") or "no reason was given"
        raise Unavailable(f"{snapshot} is {item['state']}: {why}")
    return item


def _progress() -> AbstractContextManager[Progress | None]:
    """A bar on a terminal; nothing where nobody would see it move."""
    shown = console(err=True)
    if not shown.is_terminal:
        return nullcontext(None)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[step]}", markup=False),
        TimeElapsedColumn(),
        console=shown,
        transient=True,
    )
