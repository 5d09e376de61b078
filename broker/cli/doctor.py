"""`broker doctor`: checks the set-up of this host, and says what to mend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from broker.cli.output import print_json
from broker.cli.plain import plain

if TYPE_CHECKING:
    from broker.doctor import Line


@click.command()
@click.option("-o", "--output", type=click.Choice(("table", "json")), default="table")
@click.pass_context
def doctor(ctx: click.Context, output: str) -> None:
    """Check settings, database, keys, store, tickets, mail, tools. Exit 1 when something is bad."""
    from broker.doctor import examine
    from broker.doctor.line import bad, ok
    from broker.errors import SettingsError
    from broker.settings import load_settings

    lines: list[Line] = []
    try:
        settings = load_settings()
    except SettingsError as error:
        lines.append(bad("settings", error.message, "mend the file or the variable it names"))
    else:
        lines = [ok("settings", "they read well"), *examine(settings)]
    ctx.exit(0 if print_lines(lines, output) else 1)


def print_lines(lines: Sequence[Line], output: str) -> bool:
    """False when one of them is bad."""
    is_well = all(line.verdict != "bad" for line in lines)
    if output == "json":
        print_json({"ok": is_well, "lines": [asdict(line) for line in lines]})
        return is_well
    for line in lines:
        click.echo(f"{line.verdict:5}{line.what}: {plain(line.says)}")
        if line.todo:
            click.echo(f"{'':5}→ {plain(line.todo)}")
    return is_well
