"""The manual page and the exit codes: what is told is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from broker import errors
from broker.cli import cli
from broker.cli.failures import EXIT_STATUS, WaitTimedOut, exit_code
from broker.cli.man import walk, write_page

DOCS = Path(__file__).parents[2] / "docs"
FAMILIES = {
    errors.BrokerError: 1,
    errors.Invalid: 2,
    errors.SettingsError: 2,
    errors.NotAuthenticated: 3,
    errors.Denied: 4,
    errors.NotFound: 5,
    errors.Conflict: 6,
    WaitTimedOut: 7,
    errors.TooMany: 8,
    errors.Unavailable: 8,
    errors.VerificationFailed: 9,
}


def test_the_manual_page_has_every_command_and_reads_as_roff() -> None:
    page = write_page()
    for path, _ in walk(cli, ("broker",)):
        assert f".SS {' '.join(path)}".replace("-", "\\-") in page, path
    own = re.compile(r"\.(TH|SH|SS|TP|PP|B|I)\b|\\&|[^.']|\.(nf|fi)\b")
    assert all(own.match(line) for line in page.splitlines() if line)


def test_every_command_and_option_says_what_it_is_for() -> None:
    for path, command in walk(cli, ("broker",)):
        assert command.help, path
        assert CliRunner().invoke(cli, [*path[1:], "--help"]).exit_code == 0, path


@pytest.mark.parametrize(("family", "code"), FAMILIES.items())
def test_each_family_of_errors_has_its_exit_code(
    family: type[errors.BrokerError], code: int
) -> None:
    assert exit_code(family("it is so")) == code


def test_the_exit_codes_that_are_told_are_all_there_are() -> None:
    told = re.findall(r"^\| (\d) \| (.+) \|$", (DOCS / "cli.md").read_text(), re.MULTILINE)
    assert [int(code) for code, _ in told] == list(EXIT_STATUS)
    assert set(FAMILIES.values()) | {0} == set(EXIT_STATUS)
