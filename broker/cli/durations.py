"""Durations as options of commands."""

from __future__ import annotations

import click

from broker.durations import parse_duration
from broker.errors import Invalid


class Duration(click.ParamType[int, object]):
    """A click type: the text of a duration becomes seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_duration(str(value))
        except Invalid as error:
            self.fail(error.message, param, ctx)
