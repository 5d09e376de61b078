"""What makes a terminal pleasant: forms of output, watching, completion."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from broker.cli import cli
from broker.cli.output import to_yaml
from tests.cli.conftest import Desk, Terminal

CLEARED = b"\x1b[2J"


def test_yaml_is_blocks_whose_texts_can_not_be_taken_for_others() -> None:
    value = {"id": "no", "n": 1, "none": [], "at": None, "rows": [{"a": "x: y", "b": [True]}, []]}
    assert to_yaml([value]).splitlines() == [
        '- "id": "no"',
        '  "n": 1',
        '  "none": []',
        '  "at": null',
        '  "rows":',
        '    - "a": "x: y"',
        '      "b":',
        "        - true",
        "    - []",
    ]
    assert to_yaml("a\x1b[2J\u202eb\n") == r'"a\u001b[2J\u202eb\n"'  # nothing steers the terminal


def test_a_shell_completes_commands() -> None:
    asked = {"_BROKER_COMPLETE": "bash_complete", "COMP_WORDS": "broker gra", "COMP_CWORD": "1"}
    run = [
        sys.executable,
        "-c",
        "import sys; sys.argv[0] = 'broker'; from broker.cli import main; main()",
    ]
    found = subprocess.run(
        run, env={**os.environ, **asked}, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["plain,grants"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    printed = CliRunner().invoke(cli, ["completion", shell]).output
    assert f"_BROKER_COMPLETE={shell}_complete" in printed


def test_watching_is_for_a_terminal(terminal: Terminal) -> None:
    refused = terminal.try_("tenants", "list", "--watch")
    assert refused.exit_code == 2
    assert "a program asks again by itself" in refused.stderr
    assert "--watch" not in terminal.run("tenants", "create", "--help")


@pytest.mark.long
def test_a_list_is_shown_again_and_again_until_interrupted(desk: Desk, tmp_path: Path) -> None:
    operator = desk.terminal("operator", desk.world.operator)
    assert json.loads(operator.run("tenants", "list", "-o", "json"))
    assert f'"id": "{desk.world.tenant}"' in operator.run("tenants", "list", "-o", "yaml")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "broker.cli", "tenants", "list", "--watch"]
    env = {**os.environ, **{name: value for name, value in operator.env.items() if value}}
    watching = subprocess.Popen(
        [*("env", "--default-signal=INT"), *command],  # a suite in the background ignores it
        stdout=theirs,
        stderr=theirs,
        env=env,
        cwd=tmp_path,
    )
    os.close(theirs)
    shown = b""
    try:
        while shown.count(CLEARED) < 2:
            shown += os.read(ours, 4096)
    finally:
        watching.send_signal(signal.SIGINT)
        watching.wait(60)
        os.close(ours)
    assert shown.count(desk.world.tenant[:20].encode()) >= 1
