"""What needs no broker: quick starts, checks of proofs, exit codes, and what is refused unasked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.bundle import build_bundle, parse_bundle
from broker.cli import cli
from broker.cli.failures import exit_code
from broker.cli.output import cell, to_csv
from broker.cli.plain import plain
from broker.durations import format_duration, parse_duration
from broker.errors import (
    BrokerError,
    Conflict,
    Denied,
    Invalid,
    NotAuthenticated,
    NotFound,
    SettingsError,
    TooMany,
    Unavailable,
    VerificationFailed,
)
from broker.states import StateConflict
from tests.audit.signing import SigningKey
from tests.audit.world import ORIGIN, Log, small_log
from tests.cli.conftest import Terminal


def modules_after(*args: str, home: Path) -> tuple[int, set[str]]:
    """Exit code of a command in a process of its own, and all that it imported."""
    script = (
        "import sys\nfrom broker.cli import cli\ncode = 0\n"
        "try:\n    cli(sys.argv[1:], prog_name='broker')\n"
        "except SystemExit as end:\n    code = end.code\n"
        "print('\\n' + ' '.join(sys.modules))\nsys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *args],
        capture_output=True,
        text=True,
        env={**os.environ, "BROKER_HOME": str(home)},
        check=False,
    )
    return done.returncode, set(done.stdout.splitlines()[-1].split())


def test_the_version_is_told_without_importing_what_it_does_not_need(tmp_path: Path) -> None:
    code, modules = modules_after("--version", home=tmp_path)
    assert code == 0
    assert not modules & {"rich", "httpx", "sqlalchemy", "flask", "psycopg", "cryptography"}


def test_proofs_are_checked_without_database_or_network_code(tmp_path: Path) -> None:
    """G10: what a customer runs can't phone home, and needs nothing of ours but the verifier."""
    bundle, keys = write_log(small_log(), tmp_path)
    code, modules = modules_after("log", "verify", str(bundle), "--key", str(keys), home=tmp_path)
    assert code == 0
    assert not modules & {"httpx", "sqlalchemy", "psycopg", "flask", "broker.db", "broker.trail"}


def _commands(group: click.Group, *path: str) -> list[tuple[str, ...]]:
    context = click.Context(group)
    found = [path] if path else []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += _commands(command, *path, name)
        else:
            found.append((*path, name))
    return found


def test_every_command_is_there_and_says_what_it_does(terminal: Terminal) -> None:
    paths = _commands(cli)
    assert ("grants", "approve") in paths
    for path in paths:
        assert len(terminal.run(*path, "--help").splitlines()) > 3


def test_no_option_takes_a_secret_as_its_value() -> None:
    """G11: an argument stands in the process list and in the shell's history."""
    context = click.Context(cli)
    for path in _commands(cli):
        command: click.Command | None = cli
        for name in path:
            assert isinstance(command, click.Group)
            command = command.get_command(context, name)
        assert command is not None
        for option in command.params:
            words = set((option.name or "").split("_"))
            if words & {"password", "token", "secret", "code", "verifier"} and path[0] != "reap":
                assert option.name in {"token_id", "password_file"} or getattr(option, "is_flag", 0)


# Proofs


def write_log(log: Log, folder: Path) -> tuple[Path, Path]:
    """An exported bundle, and a file with the keys that vouch for it."""
    bundle, keys = folder / "log.json", folder / "vendor.keys"
    bundle.write_bytes(log.export())
    keys.write_text("".join(f"{key.format()}\n" for key in log.trusted))
    return bundle, keys


def test_a_log_verifies_by_a_key_from_outside(terminal: Terminal, tmp_path: Path) -> None:
    bundle, keys = write_log(small_log(), tmp_path)
    told = terminal.run("log", "verify", str(bundle), "--key", str(keys))
    assert "Certificate crt_a for copy snp_a is signed and in the log." in told
    assert "BAD" not in told


def test_without_a_key_a_log_is_self_consistent_and_not_authenticated(
    terminal: Terminal, tmp_path: Path
) -> None:
    bundle, _ = write_log(small_log(), tmp_path)
    result = terminal.try_("log", "verify", str(bundle))
    assert result.exit_code == 9
    assert "Self-consistent, not authenticated" in result.stdout


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_log_with_one_changed_byte_exits_9(
    terminal: Terminal, tmp_path: Path, place: float
) -> None:
    bundle, keys = write_log(small_log(), tmp_path)
    data = bytearray(bundle.read_bytes())
    position = int(len(data) * place)
    data[position] = ord("A") if data[position] != ord("A") else ord("B")
    bundle.write_bytes(bytes(data))
    assert terminal.try_("log", "verify", str(bundle), "--key", str(keys)).exit_code == 9


def test_a_log_forged_as_a_whole_with_fresh_keys_exits_9(
    terminal: Terminal, tmp_path: Path
) -> None:
    _, keys = write_log(small_log(), tmp_path)
    forged, _ = write_log(small_log(), make_folder(tmp_path / "forged"))
    assert terminal.try_("log", "verify", str(forged), "--key", str(keys)).exit_code == 9


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_kept_checkpoint_shows_that_a_log_was_rewritten(
    terminal: Terminal, tmp_path: Path
) -> None:
    log = small_log()
    bundle, keys = write_log(log, tmp_path)
    kept = tmp_path / "kept"
    verify = ("log", "verify", str(bundle), "--key", str(keys))
    terminal.run(*verify, "--keep-checkpoint", str(kept))
    assert "only adds" in terminal.run(*verify, "--checkpoint", str(kept))
    other = Log(log_key=log.log_key, statements_key=log.statements_key)
    other.record("grant.approved", "grt_z")
    other.sign()
    bundle.write_bytes(other.export())
    assert terminal.try_(*verify, "--no-memory").exit_code == 0
    assert terminal.try_(*verify, "--no-memory", "--checkpoint", str(kept)).exit_code == 9


def test_the_last_checkpoint_seen_is_remembered_and_no_fork_or_rollback_passes(
    terminal: Terminal, tmp_path: Path
) -> None:
    log = small_log()
    older = log.export()
    bundle, keys = write_log(log, tmp_path)
    verify = ("log", "verify", str(bundle), "--key", str(keys))
    terminal.run(*verify)
    log.record("grant.approved", "grt_b")
    log.sign()
    bundle.write_bytes(log.export())
    assert "only adds to your checkpoint of 5 entries" in terminal.run(*verify)
    bundle.write_bytes(older)
    assert "was cut or rewritten" in terminal.try_(*verify).stdout
    fork = Log(log_key=log.log_key, statements_key=log.statements_key)
    for number in range(7):
        fork.record("grant.approved", f"grt_{number}")
    fork.sign()
    bundle.write_bytes(fork.export())
    assert terminal.try_(*verify).exit_code == 9
    assert terminal.try_(*verify).exit_code == 9, "what was refused was not remembered"
    bundle.write_bytes(log.export())
    assert "only adds to your checkpoint of 6 entries" in terminal.run(*verify)


def test_what_does_not_verify_is_not_remembered(terminal: Terminal, tmp_path: Path) -> None:
    forged, own = write_log(small_log(), make_folder(tmp_path / "forged"))
    bundle, keys = write_log(small_log(), tmp_path)
    assert terminal.try_("log", "verify", str(forged), "--key", str(keys)).exit_code == 9
    assert terminal.try_("log", "verify", str(forged)).exit_code == 9
    assert terminal.try_("log", "verify", str(bundle), "--key", str(keys)).exit_code == 0
    assert terminal.try_("log", "verify", str(forged), "--key", str(own)).exit_code == 9


def test_a_certificate_is_checked_by_itself(terminal: Terminal, tmp_path: Path) -> None:
    log = small_log()
    _, keys = write_log(log, tmp_path)
    file = tmp_path / "crt.json"
    file.write_bytes(log.envelopes[0])
    verify = ("certificates", "verify", str(file))
    assert "crt_a" in terminal.run(*verify, "--key", str(keys))
    assert terminal.try_(*verify).exit_code == 9
    file.write_bytes(log.envelopes[0].replace(b'"payload":"e', b'"payload":"f'))
    assert terminal.try_(*verify, "--key", str(keys)).exit_code == 9


def test_the_verdict_is_there_for_programs_too(terminal: Terminal, tmp_path: Path) -> None:
    bundle, keys = write_log(small_log(), tmp_path)
    report = json.loads(
        terminal.run("log", "verify", str(bundle), "--key", str(keys), "-o", "json")
    )
    assert (report["ok"], report["authenticated"]) == (True, True)
    refused = terminal.try_("log", "verify", str(bundle), "-o", "json")
    assert json.loads(refused.stdout)["ok"] is False


def test_keys_are_pinned_for_their_own_names_and_not_replaced_in_silence(tmp_path: Path) -> None:
    from broker.cli import trust

    log, other = small_log(), SigningKey(ORIGIN)
    trust.pin(tmp_path, ORIGIN, log.trusted, replace=False)
    trust.pin(tmp_path, ORIGIN, log.trusted, replace=False)
    changed = (other.verifier, log.statements_key.verifier)
    with pytest.raises(Conflict, match="other keys are pinned"):
        trust.pin(tmp_path, ORIGIN, changed, replace=False)
    assert trust.find_pinned(tmp_path, ORIGIN) == log.trusted
    trust.pin(tmp_path, ORIGIN, changed, replace=True)
    assert trust.list_pinned(tmp_path) == changed
    foreign = SigningKey("other.example/log/log_b").verifier.format()
    with pytest.raises(VerificationFailed, match="not the keys of"):
        trust.parse_keys([foreign, log.statements_key.verifier.format()], ORIGIN)


def test_an_origin_that_climbs_out_of_the_folder_stays_in_it(tmp_path: Path) -> None:
    from broker.cli import trust

    assert trust.trust_file(tmp_path, "../../x/../y").parent == tmp_path / "trust"


def test_a_file_that_is_there_is_never_overwritten(terminal: Terminal, tmp_path: Path) -> None:
    bundle, keys = write_log(small_log(), tmp_path)
    kept = tmp_path / "kept"
    kept.write_text("mine")
    result = terminal.try_(
        *("log", "verify", str(bundle), "--key", str(keys)), *("--keep-checkpoint", str(kept))
    )
    assert (result.exit_code, kept.read_text()) == (6, "mine")


def test_the_bundle_of_these_tests_is_one_that_the_broker_makes(tmp_path: Path) -> None:
    bundle, _ = write_log(small_log(), tmp_path)
    assert build_bundle(parse_bundle(bundle.read_bytes())) == bundle.read_bytes()


# Sign-in, without a broker


def test_nobody_signed_in_is_exit_3_and_says_what_to_do(terminal: Terminal) -> None:
    result = terminal.try_("grants", "list")
    assert result.exit_code == 3
    assert "broker login" in result.stderr


def test_a_broker_that_does_not_answer_is_exit_8(terminal: Terminal) -> None:
    args = ("login", "--email", "a@b.test", "--password-stdin")
    assert terminal.try_(*args, stdin="a long password\n").exit_code == 8


def store_token(terminal: Terminal, url: str, mode: int = 0o600) -> None:
    terminal.home.mkdir()
    file = terminal.home / "tokens.json"
    file.write_text(json.dumps({"default": {"url": url, "token": "brk_x"}}))
    file.chmod(mode)


def test_a_token_goes_to_no_other_broker_than_its_own(terminal: Terminal) -> None:
    store_token(terminal, "http://127.0.0.1:10")
    result = terminal.try_("grants", "list")
    assert result.exit_code == 3
    assert "not to http://127.0.0.1:9" in result.stderr


def test_a_token_that_others_can_read_is_not_used(terminal: Terminal) -> None:
    store_token(terminal, terminal.url, 0o644)
    assert terminal.try_("grants", "list").exit_code == 2


@pytest.mark.parametrize(
    "url",
    [
        "http://broker.example",
        "http://127.0.0.1.broker.example",
        "https://user:pass@broker.example",
        "https://broker.example/?token=x",
        "ftp://broker.example",
        "broker.example",
    ],
)
def test_an_address_that_would_show_a_token_is_refused(terminal: Terminal, url: str) -> None:
    result = terminal.try_("grants", "list", "--url", url)
    assert result.exit_code == 2, result.output


# Words, numbers and signs


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("45s", 45), ("90m", 5400), ("2h", 7200), ("7d", 604800), ("1h30m", 5400)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "2 h", "1.5h", "2H", "2h ago", "٢h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_duration(text)


@given(st.integers(0, 10**7))
def test_a_duration_is_written_so_that_it_reads_back_within_its_second_unit(seconds: int) -> None:
    back = parse_duration(format_duration(seconds))
    assert back <= seconds
    assert seconds - back < (3600 if seconds >= 86400 else 60 if seconds >= 3600 else 1)


@given(st.text())
def test_what_a_server_sent_never_reaches_the_terminal_as_a_control_sign(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    assert "\x1b" not in shown


def test_a_title_that_turns_the_direction_of_writing_is_made_visible() -> None:
    assert plain("safe\u202egnp.exe") == r"safe\u202egnp.exe"
    assert cell("ticket_title", "a\x1b[2Jb") == r"a\x1b[2Jb"


def test_a_cell_that_a_spreadsheet_would_run_is_defused() -> None:
    items = [{"id": "1", "title": '=HYPERLINK("x")', "n": -5}]
    assert to_csv(items, ("id", "title", "n")) == 'id,title,n\r\n1,"\'=HYPERLINK(""x"")",-5\r\n'


@pytest.mark.parametrize(
    ("family", "code"),
    [
        (BrokerError, 1),
        (Invalid, 2),
        (SettingsError, 2),
        (NotAuthenticated, 3),
        (Denied, 4),
        (NotFound, 5),
        (Conflict, 6),
        (StateConflict, 6),
        (TooMany, 8),
        (Unavailable, 8),
        (VerificationFailed, 9),
    ],
)
def test_each_family_of_errors_has_its_exit_code(family: type[BrokerError], code: int) -> None:
    assert exit_code(family("what happened")) == code


def test_a_defect_is_told_without_what_its_message_holds(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G11: an unforeseen error may quote a value."""

    def fail(_path: Path) -> bytes:
        raise RuntimeError("hunter2")

    monkeypatch.setattr("broker.cli.log.open_file", fail)
    result = terminal.try_("log", "verify", "x")
    assert result.exit_code == 1
    assert "RuntimeError" in result.stderr
    assert "hunter2" not in result.output
