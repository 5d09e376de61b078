"""The manual page, made from the commands themselves: `broker man | man -l -`.

What a command says of itself in `--help` is what stands here: there is no second text to keep.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator

import click

from broker import __version__
from broker.cli.failures import EXIT_STATUS

_HEAD = f""".TH BROKER 1 "" "broker {__version__}" "Support-access broker"
.SH NAME
broker \\- support access to tenants' databases: authorised, masked, ended and proven
.SH SYNOPSIS
.B broker
.I NOUN VERB
[\\fIOPTION\\fR ...] [\\fIARGUMENT\\fR ...]
.SH DESCRIPTION
"""
_ENVIRONMENT = (
    ("BROKER_URL", "the broker's address; https, or this machine"),
    ("BROKER_TOKEN", "a token in place of the stored one"),
    ("BROKER_PROFILE", "which stored sign-in"),
    ("BROKER_OUTPUT", "table, json, yaml, csv or id"),
    ("BROKER_CA_BUNDLE", "who vouches for the broker's certificate"),
    ("BROKER_HOME", "where tokens and pinned keys are kept; ~/.config/broker"),
)


@click.command("man")
def man() -> None:
    """Print the manual page: broker man | man -l -"""
    click.echo(write_page(), nl=False)


def write_page() -> str:
    from broker.cli import cli

    return "\n".join(_lines(cli)) + "\n"


def _lines(cli: click.Group) -> Iterator[str]:
    yield _HEAD + _paragraphs(cli.help or "")
    yield ".SH COMMANDS"
    for path, command in walk(cli, ("broker",)):
        yield from _command(path, command)
    yield ".SH ENVIRONMENT"
    yield from _pairs(_ENVIRONMENT)
    yield ".SH EXIT STATUS"
    yield from _pairs((str(code), said) for code, said in EXIT_STATUS.items())


def walk(
    group: click.Group, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that call it."""
    context = click.Context(group, info_name=path[-1])
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None  # noqa: S101  # it is listed
        if isinstance(command, click.Group):
            yield from walk(command, (*path, name))
        else:
            yield (*path, name), command


def _command(path: tuple[str, ...], command: click.Command) -> Iterator[str]:
    named = [one for one in command.params if isinstance(one, click.Argument)]
    context = click.Context(command)
    words = " ".join(one.make_metavar(context) for one in named)
    yield f".SS {escape(' '.join(path))} {escape(words)}".rstrip()
    yield _paragraphs(command.help or "")
    for one in command.params:
        record = one.get_help_record(context)
        if record is not None and not isinstance(one, click.Argument):
            yield from _pairs([record])


def _pairs(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, said in pairs:
        yield ".TP"
        yield f"\\fB{escape(name)}\\fR"
        yield escape(" ".join(said.split()))


def _paragraphs(text: str) -> str:
    return "\n.PP\n".join(_paragraph(part) for part in re.split(r"\n\s*\n", inspect.cleandoc(text)))


def _paragraph(text: str) -> str:
    """Its lines as they are where click leaves them so too; else filled."""
    if text.startswith("\b"):
        lines = [escape(line) for line in text.splitlines()[1:]]
        return "\n".join([".nf", *lines, ".fi"])
    return escape(" ".join(text.split()))


def escape(text: str) -> str:
    r"""What roff would read as its own: a backslash, a hyphen, a dot or quote that begins a line;
    and what is no ASCII, by its code point.

    >>> escape("--keep …")
    '\\-\\-keep \\[u2026]'
    """
    safe = text.replace("\\", "\\e").replace("-", "\\-")
    safe = "".join(sign if sign.isascii() else f"\\[u{ord(sign):04X}]" for sign in safe)
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe
