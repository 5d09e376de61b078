"""`broker leases watch`: what is open now, one line for each session."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from broker.cli.output import WHOLE, print_list, print_whole
from broker.cli.session import Session

_COLUMNS = (
    *("id", "lease_state", "person_name", "since", "origin", "session_state"),
    *("statement_since", "statement", "problem"),
)
_EVERY_S = 4


def watch(session: Session, tenant: str | None, *, once: bool) -> None:
    """Print what each look shows; a terminal is cleared in between, so that nothing piles up."""
    api = session.api()
    again = not once and session.output == "table" and sys.stdout.isatty()
    while True:
        panes = api.get("glass", tenant=tenant)["items"]
        if again:
            click.clear()
        _show(panes, session.output)
        if not again:
            return
        time.sleep(_EVERY_S)


def _show(panes: Sequence[dict[str, Any]], form: str) -> None:
    if form in WHOLE:
        print_whole(list(panes), form)
    elif panes or form != "table":
        print_list(list(_lines(panes)), _COLUMNS, form)
    else:
        click.echo("No login is open.")


def _lines(panes: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A login without sessions has a line too."""
    for pane in panes:
        lease = pane["lease"]
        for seen in pane["sessions"] or [{}]:
            yield {
                **{name: seen.get(name) for name in ("since", "origin", "statement_since")},
                "id": pane["id"],
                "lease_state": lease["state"],
                "person_name": lease["person_name"],
                "session_state": seen.get("state") or ("none" if not seen else "not shown"),
                "statement": " ".join((seen.get("statement") or "").split()),
                "problem": pane["problem"],
            }
