"""What a command prints: a table for people; JSON, CSV or ids for programs.

The contract: `json` is what the API answered, unchanged, and `yaml` the same in YAML 1.2; `csv` has
the table's columns under the API's names; `id` is one id a line. Only `table` may change between
versions.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from broker.cli.plain import plain
from broker.durations import format_duration

if TYPE_CHECKING:
    from rich.console import Console

Item = Mapping[str, Any]
FORMATS = ("table", "json", "yaml", "csv", "id")
WHOLE = frozenset({"json", "yaml"})  # forms that show all that was answered
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)", re.ASCII)
# What a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@")
_PIPE_WIDTH = 1000  # a table that is piped is not folded


def print_list(items: Sequence[Item], columns: Sequence[str], form: str) -> None:
    """Many things of one kind, with the columns that tell them apart."""
    match form:
        case "json" | "yaml":
            print_whole([dict(item) for item in items], form)
        case "csv":
            click.echo(to_csv(items, columns), nl=False)
        case "id":
            for item in items:
                click.echo(plain(item.get("id", "")))
        case _:
            rows = [[cell(name, item.get(name)) for name in columns] for item in items]
            print_table([title(name) for name in columns], rows)


def print_item(item: Item, form: str, columns: Sequence[str] = ()) -> None:
    """One thing: by default all its fields, one a line."""
    if form == "table":
        names = columns or [name for name, value in item.items() if not isinstance(value, dict)]
        rows = [[title(name), cell(name, item.get(name))] for name in names]
        print_table(None, rows)
    else:
        print_list_of_one(item, form, columns)


def print_list_of_one(item: Item, form: str, columns: Sequence[str]) -> None:
    if form in WHOLE:
        print_whole(dict(item), form)
    else:
        print_list([item], columns or list(item), form)


def print_whole(value: object, form: str) -> None:
    """All of it, in one of the forms of WHOLE."""
    if form == "yaml":
        click.echo(to_yaml(value))
    else:
        print_json(value)


def print_json(value: object) -> None:
    """ASCII only, so that nothing in it reaches the terminal as a control sign."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


def to_yaml(value: object, indent: str = "") -> str:
    r"""Blocks of YAML 1.2; each text as JSON writes it, which YAML reads the same.

    >>> print(to_yaml({"id": "no", "names": ["a: b"], "none": []}))
    "id": "no"
    "names":
      - "a: b"
    "none": []
    """
    match value:
        case dict() if value:
            parts = [(_yaml_scalar(str(name)) + ":", inner) for name, inner in value.items()]
        case list() if value:
            parts = [("-", inner) for inner in value]
        case _:
            return _yaml_scalar(value)
    return "\n".join(indent + _yaml_part(head, inner, indent) for head, inner in parts)


def _yaml_scalar(value: object) -> str:
    """As JSON, with what does not print escaped: those escapes are YAML's too."""
    return plain(json.dumps(value, ensure_ascii=False))


def _yaml_part(head: str, inner: object, indent: str) -> str:
    if not inner or not isinstance(inner, dict | list):
        return f"{head} {to_yaml(inner)}"
    below = to_yaml(inner, indent + "  ")
    return f"- {below.lstrip()}" if head == "-" else f"{head}\n{below}"


def to_csv(items: Sequence[Item], columns: Sequence[str]) -> str:
    """RFC 4180, with a quote before what a spreadsheet would run."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([_csv_cell(item.get(name)) for name in columns] for item in items)
    return out.getvalue()


def _csv_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list | bool):
        return json.dumps(value)
    text = plain(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text


def title(name: str) -> str:
    return name.removesuffix("_s").removesuffix("_name").replace("_", " ")


def cell(name: str, value: object) -> str:
    """A value for reading: instants to the second in UTC, seconds as a duration."""
    match value:
        case None | "":
            return "–"
        case bool():
            return "yes" if value else "no"
        case int() if name.endswith("_s"):
            return format_duration(value)
        case list():
            return ", ".join(plain(part) for part in value) or "–"
        case str() if found := _INSTANT.fullmatch(value):
            return f"{found[1]} {found[2]}Z"
        case _:
            return plain(value)


def console(*, err: bool = False) -> Console:
    """Colours on a terminal only, and none of rich's markup is read in what others wrote."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    terminal = stream.isatty()
    return Console(
        file=stream,
        force_terminal=terminal,
        no_color=None if terminal else True,
        width=None if terminal else _PIPE_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_table(titles: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> None:
    """Cells are text, never markup."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=titles is not None)
    for name in titles or ["" for _ in (rows[0] if rows else [])]:
        table.add_column(Text(name, style="bold"), overflow="fold")
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    console().print(table)
