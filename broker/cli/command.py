"""The options that every command of the API has, and the session that they make."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from broker.cli.output import FORMATS
from broker.cli.session import Session, home_folder
from broker.errors import Invalid

_OPTIONS = ("output", "url", "profile", "ca_bundle")
_READS = frozenset({"list", "show"})  # the verbs that can be watched
_EVERY_S = 4


def _options() -> list[click.Parameter]:
    return [
        click.Option(
            ["-o", "--output"],
            type=click.Choice(FORMATS),
            default="table",
            envvar="BROKER_OUTPUT",
            show_envvar=True,
            help="How the answer is printed.",
        ),
        click.Option(
            ["--url"], envvar="BROKER_URL", show_envvar=True, help="The broker's address."
        ),
        click.Option(
            ["--profile"],
            envvar="BROKER_PROFILE",
            default="default",
            show_envvar=True,
            help="Whose stored sign-in is used.",
        ),
        click.Option(
            ["--ca-bundle"],
            type=click.Path(path_type=Path),
            envvar="BROKER_CA_BUNDLE",
            show_envvar=True,
            help="Certificates that vouch for the broker, in place of the public ones.",
        ),
    ]


class ApiCommand(click.Command):
    """A command that gets a Session (`@pass_session`) made from the common options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = [*self.params, *_options()]
        if self.name in _READS:
            self.params.append(_watch_option())

    def invoke(self, ctx: click.Context) -> Any:
        chosen = {name: ctx.params.pop(name) for name in _OPTIONS}
        ctx.obj = Session(home=home_folder(), **chosen)
        watched = ctx.params.pop("watch", False)
        while watched:
            _clear(chosen["output"])
            super().invoke(ctx)
            time.sleep(_EVERY_S)
        return super().invoke(ctx)


def _clear(output: str) -> None:
    """The terminal, so that nothing piles up. Raises Invalid where there is none."""
    if output != "table" or not sys.stdout.isatty():
        raise Invalid("--watch is for a table on a terminal; a program asks again by itself")
    click.clear()


def _watch_option() -> click.Option:
    return click.Option(
        ["--watch"], is_flag=True, help=f"Again every {_EVERY_S} s, until interrupted."
    )


class Noun(click.Group):
    """A group whose commands are API commands unless they say otherwise."""

    command_class = ApiCommand


tenant_option = click.option("--tenant", metavar="TENANT", help="Of this tenant only.")
