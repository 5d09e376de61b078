"""What the documentation tells to type can be typed: each command and option of it is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from broker.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^ *```.*?$(.*?)^ *```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(broker [^`]+)`")


def told_in(text: str) -> Iterator[str]:
    """Commands in blocks and in a line of text, without what is the shell's."""
    for block in _BLOCK.findall(text):
        joined = block.replace("\\\n", " ")
        for line in joined.splitlines():
            bare = line.strip().removeprefix("$ ").split(" #")[0]
            yield from re.split(r"[|;]", bare)
    for found in _INLINE.findall(_BLOCK.sub("", text)):
        yield from found.split("|")


def list_commands() -> list[tuple[str, str]]:
    told = {
        (page.name, " ".join(line.split()))
        for page in PAGES
        for line in told_in(page.read_text())
        if line.strip().startswith("broker ")
    }
    return sorted(told)


def find_problem(line: str) -> str | None:
    """Walks the words: the last command must know each option; arguments are not looked at."""
    words = shlex.split(line.replace("…", ""))[1:]
    command: click.Command = cli
    context = click.Context(cli)
    for word in words:
        if isinstance(command, click.Group) and re.fullmatch(r"[a-z][a-z-]*", word):
            found = command.get_command(context, word)
            if found is None:
                return f"there is no {word}"
            command = found
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    for word in words:
        if word in {"--exec", "--"}:  # what follows is another program's
            break
        option = word.partition("=")[0]
        if re.fullmatch(r"--?[a-z][a-z0-9-]*", option) and option not in {*known, "--help"}:
            return f"{command.name} has no {option}"
    return None


@pytest.mark.parametrize(("page", "line"), list_commands(), ids=lambda one: str(one)[:60])
def test_a_command_of_the_documentation_is_one_of_ours(page: str, line: str) -> None:
    assert find_problem(line) is None, page


def test_a_command_that_is_none_is_found() -> None:
    assert find_problem("broker grants allow grt_1") == "there is no allow"
    assert find_problem("broker grants list --states x") == "list has no --states"
