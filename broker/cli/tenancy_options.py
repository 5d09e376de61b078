"""Which part of a database is the tenant's, as options of `broker databases create`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from broker.tenancy import FORMS, ROWS, TYPES

F = TypeVar("F", bound=Callable[..., Any])
_OPTIONS = (
    click.option(
        "--tenancy",
        "form",
        type=click.Choice(FORMS),
        default=FORMS[0],
        show_default=True,
        help="Whether the database is the tenant's, or its schemas, or rows with its key.",
    ),
    click.option(
        "--tenant-column",
        "columns",
        multiple=True,
        metavar="COLUMN",
        help="For rows: the column of the tenant key. Of several, the first that a table has.",
    ),
    click.option("--tenant-type", "kind", type=click.Choice(TYPES), help="For rows: of the key."),
    click.option("--tenant-key", "value", help="For rows: this tenant's key."),
    click.option(
        "--table-key",
        "tables",
        multiple=True,
        metavar="TABLE=COLUMN[:TYPE:KEY]",
        help="For rows: a table (schema.table) whose key is in another column, or another key.",
    ),
    click.option(
        "--shared-table",
        "shared",
        multiple=True,
        metavar="TABLE",
        help="For rows: a table (schema.table) whose rows are the same for every tenant.",
    ),
)


def tenancy_options(command: F) -> F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_tenancy(options: Mapping[str, Any]) -> dict[str, Any]:
    """Take the tenancy's options out of all that were given, as the API wants it."""
    form = options["form"]
    document = {
        "form": form,
        "columns": list(options["columns"]),
        "type": options["kind"],
        "value": options["value"],
        "tables": _read_tables(options["tables"]),
        "shared": list(options["shared"]),
    }
    given = {name: value for name, value in document.items() if value}
    if form == ROWS and not (options["kind"] and options["value"]):
        raise click.UsageError("rows need --tenant-column, --tenant-type and --tenant-key")
    if form != ROWS and len(given) > 1:
        raise click.UsageError(f"a tenancy of the form {form} has no key; leave those options out")
    return given


def _read_tables(texts: Sequence[str]) -> list[dict[str, str]]:
    tables = []
    for text in texts:
        table, _, rest = text.partition("=")
        column, *key = rest.split(":", 2)
        if not table or not column or len(key) == 1:
            raise click.UsageError(f"--table-key is TABLE=COLUMN or TABLE=COLUMN:TYPE:KEY: {text}")
        item = {"table": table, "column": column}
        tables.append(item | ({"type": key[0], "value": key[1]} if key else {}))
    return tables
