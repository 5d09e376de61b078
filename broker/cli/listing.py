"""The options of every list that has pages: filters, order and length, under the API's names."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from broker.durations import parse_duration
from broker.errors import Invalid

F = TypeVar("F", bound=Callable[..., Any])
Item = dict[str, Any]
_FILTERS = {
    "tenant": "Of this tenant only.",
    "grant": "Under this grant only.",
    "requester": "What this person asked for only.",
    "state": "In this state only; several with commas.",
}


@dataclass(frozen=True, slots=True)
class Listing:
    """`query` goes to the API; `most` is how many things are wanted, None: all."""

    query: dict[str, str | int | None]
    most: int | None

    def take(self, found: Iterator[Item]) -> list[Item]:
        return list(itertools.islice(found, self.most))


class When(click.ParamType[str, object]):
    """An instant of RFC 3339, a day, or how long ago: `7d`."""

    name = "when"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        try:
            return read_when(str(value), datetime.now(UTC))
        except Invalid as error:
            self.fail(error.message, param, ctx)


def read_when(text: str, now: datetime) -> str:
    """In UTC where no zone is named. Raises Invalid.

    >>> read_when("2026-11-24", datetime(2026, 11, 25, tzinfo=UTC))
    '2026-11-24T00:00:00+00:00'
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            at = now - timedelta(seconds=parse_duration(text))
        except (Invalid, OverflowError):
            raise Invalid(
                f"{text!r} is no instant; write for example 2026-11-24, 2026-11-24T08:00Z or 7d"
            ) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()


def listed(instant: str, *filters: str) -> Callable[[F], F]:
    """For a list that the API sorts by `instant`: the command is called with a Listing."""

    def declare(command: F) -> F:
        @functools.wraps(command)
        def run(*args: Any, **chosen: Any) -> Any:
            sent = {name: chosen.pop(name) for name in (*filters, "since", "until")}
            oldest_first, most = chosen.pop("oldest_first"), chosen.pop("limit")
            query = {**sent, "sort": instant if oldest_first else None}
            if most is not None:
                query["limit"] = min(most, 100)
            return command(*args, listing=Listing(query, most), **chosen)

        return _with_options(run, filters, instant)  # type: ignore[return-value]  # the same, called otherwise

    return declare


def _with_options(
    run: Callable[..., Any], filters: tuple[str, ...], instant: str
) -> Callable[..., Any]:
    said = instant.replace("_", " ")
    options = [
        click.option(f"--{name}", metavar=name.upper(), help=_FILTERS[name]) for name in filters
    ]
    options += [
        click.option("--since", type=When(), help=f"Not before this, by “{said}”; 7d: a week ago."),
        click.option("--until", type=When(), help=f"Before this, by “{said}”."),
        click.option("--oldest-first", is_flag=True, help="The newest come first otherwise."),
        click.option("--limit", type=click.IntRange(1), help="So many at most; otherwise all."),
    ]
    for option in reversed(options):
        run = option(run)
    return run
