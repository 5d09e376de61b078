"""A group that imports a command when it is used; the one place where errors become exit codes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from broker.cli.failures import show_defect, show_failure
from broker.errors import BrokerError


class LazyGroup(click.Group):
    """`lazy` names each command as `module:attribute`."""

    def __init__(self, *args: Any, lazy: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = self._lazy.get(cmd_name)
        if target is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), target  # noqa: S101  # a defect of our own table
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokerError as error:
            ctx.exit(show_failure(error))
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, it is shown without its values
            ctx.exit(show_defect(error))
