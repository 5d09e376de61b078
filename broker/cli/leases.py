"""Leases: logins that were issued. `broker connect` makes and ends one by itself."""

from __future__ import annotations

from pathlib import Path

import click

from broker.cli import watching
from broker.cli.command import Noun, tenant_option
from broker.cli.files import FILE, save_signed
from broker.cli.listing import Listing, listed
from broker.cli.output import print_item, print_list
from broker.cli.session import Session, pass_session

_PAUSES = {
    "asked": "the pause is asked, and not yet done; broker leases show says when it is",
    "paused": "paused: a fresh look found no session, and nobody is let in",
    "resuming": "to be let in again, and not yet done",
    "open": "open",
}
_COLUMNS = (
    "id",
    "kind",
    "state",
    "pause",
    "grant",
    "snapshot",
    "person_name",
    "role",
    "audience",
    "ends_at",
    "first_seen_at",
    "stuck_reason",
)


@click.group(cls=Noun)
def leases() -> None:
    """Logins on a live database or on a copy."""


@leases.command("list")
@listed("asked_at", "tenant", "grant", "requester", "state")
@pass_session
def list_leases(session: Session, *, listing: Listing) -> None:
    """Logins that you may see."""
    found = session.api().pages("leases", **listing.query)
    print_list(listing.take(found), _COLUMNS, session.output)


@leases.command()
@click.argument("lease")
@pass_session
def show(session: Session, lease: str) -> None:
    """One login: where it connects, until when, and how far its end has come."""
    print_item(session.api().get("leases", lease), session.output)


@leases.command()
@tenant_option
@click.option(
    "--once", is_flag=True, help="Look once; so it is too when the output is no terminal."
)
@pass_session
def watch(session: Session, *, tenant: str | None, once: bool) -> None:
    """Open logins, their sessions and what they run, until you stop it (Ctrl-C).

    Statements are shown to the tenant's people; an engineer sees the own logins without. Nothing
    is kept of them; that you looked stands in the tenant's log.
    """
    watching.watch(session, tenant, once=once)


@leases.command()
@click.argument("lease")
@pass_session
def end(session: Session, lease: str) -> None:
    """End a login or token now: its sessions are cut, its role dropped; a token is void."""
    answer = session.api().post("leases", lease, "end")
    if session.output == "table" or not answer:
        click.echo(f"{lease} is being revoked.")
    else:
        print_item(answer, session.output, _COLUMNS)


@leases.command()
@click.argument("lease")
@pass_session
def pause(session: Session, lease: str) -> None:
    """Pause a login: its sessions are cut and nobody is let in. Its end stays as it was given."""
    _change_pause(session, lease, "pause")


@leases.command()
@click.argument("lease")
@pass_session
def resume(session: Session, lease: str) -> None:
    """Let a paused login in again. What the customer paused, the customer alone resumes."""
    _change_pause(session, lease, "resume")


def _change_pause(session: Session, lease: str, verb: str) -> None:
    answer = session.api().post("leases", lease, verb)
    if session.output == "table":
        click.echo(f"{lease}: {_PAUSES.get(answer['pause'], answer['pause'])}.")
    else:
        print_item(answer, session.output, _COLUMNS)


@leases.command()
@click.argument("lease")
@click.option("-f", "--file", type=FILE, help="Where to; must not be there yet.")
@pass_session
def statement(session: Session, lease: str, file: Path | None) -> None:
    """Fetch the signed statement of LEASE's end, byte for byte."""
    envelope = session.api().get_bytes("leases", lease, "statement")
    save_signed(envelope, file, f"{lease}.end.dsse.json")
