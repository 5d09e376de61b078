"""What a shell needs to complete our commands: click's own script for it."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_BROKER_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands and options.

    \b
    bash  broker completion bash >> ~/.bashrc
    zsh   broker completion zsh >> ~/.zshrc
    fish  broker completion fish > ~/.config/fish/completions/broker.fish
    """  # noqa: D301  # the sign that keeps click from folding these lines
    made = get_completion_class(shell)
    assert made is not None  # noqa: S101  # for the type checker: click knows these shells
    click.echo(made(ctx.find_root().command, {}, "broker", _VARIABLE).source())
