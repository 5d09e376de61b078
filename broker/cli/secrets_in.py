"""How a secret comes in: by a prompt that shows nothing, or as a line of standard input.

Never as an argument or in a URL: those stand in process lists, histories and logs (G11).
"""

from __future__ import annotations

import sys

import click

from broker.errors import Invalid
from broker.secret import Secret


def read_line() -> Secret[str]:
    """The next line of standard input, without its end. Raises Invalid when there is none."""
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise Invalid("nothing came on standard input; a secret on one line was expected")
    return Secret(line)


def read_secret(
    prompt: str, *, from_stdin: bool, twice: bool = False, option: str = "--password-stdin"
) -> Secret[str]:
    """From standard input where that was asked (by `option`), else by a prompt."""
    if from_stdin:
        return read_line()
    if not sys.stdin.isatty():
        raise Invalid(f"no terminal to ask for {prompt.lower()}; pipe it in with {option}")
    return Secret(click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True))
