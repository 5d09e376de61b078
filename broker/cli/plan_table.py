"""A plan as a table: what would be read, column by column, and what a narrowing would take away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import click

from broker.cli.output import print_table
from broker.cli.plain import plain
from broker.restricting import Restriction, RowsOnly, say

_STRUCTURE = (
    "Structure alone: no row is read. Names, types and definitions are: defaults, checks, labels, "
    "comments and the text of views and functions, in which values may stand."
)
_DEVELOP = "Copy: logins that may change its definitions too, and nothing outside it"
_TITLES = ("table", "rows", "column", "type", "seen as", "why")


@dataclass(frozen=True, slots=True)
class Cut:
    """What an admin wants to take away: full names of tables, and of columns; other rows."""

    tables_out: frozenset[str] = frozenset()
    columns_masked: frozenset[str] = frozenset()
    rows_only: frozenset[RowsOnly] = frozenset()


def show_plan(answer: Mapping[str, Any], cut: Cut = Cut()) -> None:
    """Print the plan that the API answered, marked with what `cut` changes in it."""
    print_table(_TITLES, [row for table in answer["tables"] for row in _rows(table, cut)])
    if answer["kind"] == "structure":
        click.echo(_STRUCTURE)
    platform = answer["platform"]
    if platform is not None:
        name, audience = plain(platform["platform_name"]), plain(platform["audience"])
        click.echo(f"Platform: tokens that let in to {name}, {audience}, to read as support")
    storage = answer["storage"]
    if storage is not None:
        where = f"{plain(storage['bucket'])}/{plain(storage['prefix'])}"
        click.echo(f"Storage: sessions that list and read the objects under {where}")
    copy = answer.get("copy")
    if copy is not None and (answer.get("asked_copy_s", 1) or copy["develop"]):
        click.echo(f"Copy: {plain(copy['residue'])}")
    if copy is not None and copy["develop"]:
        click.echo(_DEVELOP)
    for remark in answer["remarks"]:
        click.echo(f"Remark: {plain(remark)}")
    for literal in answer.get("literals", ()):
        click.echo(f"Literal in {plain(literal.get('where'))}: {plain(literal.get('text'))}")
    if "category" in answer:
        click.echo(f"Asked because of: {plain(answer['category'])}")
    click.echo(f"Plan: {plain(answer['digest'])}")


def _rows(table: Mapping[str, Any], cut: Cut) -> Iterator[tuple[str, ...]]:
    name = f"{table['schema']}.{table['name']}"
    names = {name, table["partition_of"]}
    if names & cut.tables_out:
        yield plain(name), "none", "", "", "structure only", "you leave it out"
        return
    if not table["rows"]:
        yield plain(name), "none", "", "", "structure only", plain(table["note"])
        return
    first = (plain(name), plain(_which(table, cut)))
    for column in table["columns"]:
        seen_as, why = _fate(column)
        if column["kept"] and {f"{one}.{column['name']}" for one in names} & cut.columns_masked:
            seen_as, why = f"masked: {column['fallback'] or 'impossible'}", "you mask it"
        yield (*first, plain(column["name"]), plain(column["type"]), plain(seen_as), plain(why))
        first = ("", "")


def _which(table: Mapping[str, Any], cut: Cut) -> str:
    name = table["partition_of"] or f"{table['schema']}.{table['name']}"
    given = [
        Restriction(one["column"], tuple(one["values"]), one["days"]) for one in table["rows_only"]
    ]
    mine = [one.restriction for one in cut.rows_only if one.table == name]
    if given or mine:
        return f"only {say(sorted({*given, *mine}))}"
    return str(table["whose"] or f"about {table['estimated_rows']}")


def _fate(column: Mapping[str, Any]) -> tuple[str, str]:
    if column["raw"]:
        return "RAW", column["why"]
    return ("KEPT" if column["kept"] else f"masked: {column['mask']}"), column["why"]
