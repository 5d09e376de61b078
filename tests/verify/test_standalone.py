"""The standalone verifier as a customer runs it: one file, one dependency, exit 0, 9 or 2."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from broker.audit.bundle import build_bundle
from broker.cli.certificates import get, verify
from broker.cli.log import verify as verify_log
from tests.audit.world import Log, small_log
from tests.verify.standalone import FILE


def run(*arguments: object) -> tuple[int, str]:
    """In Python's isolated mode, where nothing of this checkout can be imported."""
    command = [sys.executable, "-I", FILE, *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)  # noqa: PLW1510  # its exit code is what is tested
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def log() -> Log:
    return small_log()


@pytest.fixture
def files(log: Log, tmp_path: Path) -> tuple[Path, Path]:
    """A true bundle, and the keys that its reader pinned."""
    bundle, keys = tmp_path / "bundle.json", tmp_path / "pinned.keys"
    bundle.write_bytes(log.export())
    keys.write_text("# pinned\n" + "".join(f"{key.format()}\n" for key in log.trusted))
    return bundle, keys


def test_it_is_one_short_file_that_needs_cryptography_alone() -> None:
    source = FILE.read_text()
    assert len(source.splitlines()) < 500
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - sys.stdlib_module_names == {"cryptography"}
    assert not imported & {"socket", "urllib", "http", "subprocess", "os"}


def test_a_true_bundle_verifies_with_the_pinned_keys(files: Sequence[Path]) -> None:
    bundle, keys = files
    code, told = run(bundle, "--key", keys)
    assert code == 0, told
    assert told.endswith("bundle.json verifies.\n")
    assert "BAD" not in told


def test_without_an_outside_key_it_is_self_consistent_and_no_more(files: Sequence[Path]) -> None:
    code, told = run(files[0])
    assert code == 9
    assert "Self-consistent, not authenticated" in told


def test_a_changed_bundle_is_named_and_ends_with_9(log: Log, files: Sequence[Path]) -> None:
    bundle, keys = files
    bundle.write_bytes(build_bundle(replace(log.bundle(), entries=tuple(log.entries[1:]))))
    code, told = run(bundle, "--key", keys)
    assert code == 9
    assert "are not those that were signed" in told
    assert "DOES NOT VERIFY" in told


def test_a_kept_checkpoint_catches_a_log_that_forgot(
    log: Log, files: Sequence[Path], tmp_path: Path
) -> None:
    bundle, keys = files
    kept = tmp_path / "seen"
    assert run(bundle, "--key", keys, "--keep", kept)[0] == 0
    assert kept.read_text() == log.notes[-1]
    older = replace(log.bundle(), entries=tuple(log.entries[:2]), checkpoints=(log.notes[0],))
    bundle.write_bytes(build_bundle(replace(older, openings=tuple(log.openings), certificates=())))
    assert run(bundle, "--key", keys)[0] == 0
    code, told = run(bundle, "--key", keys, "--checkpoint", kept)
    assert code == 9
    assert "Kept checkpoint 1" in told


def test_nothing_is_kept_of_a_bundle_that_does_not_verify(
    files: Sequence[Path], tmp_path: Path
) -> None:
    assert run(files[0], "--keep", tmp_path / "seen")[0] == 9
    assert not (tmp_path / "seen").exists()


def test_a_certificate_verifies_alone(log: Log, files: Sequence[Path], tmp_path: Path) -> None:
    certificate = tmp_path / "crt.json"
    certificate.write_bytes(log.envelopes[0])
    assert run("--certificate", certificate, "--key", files[1])[0] == 0
    assert run("--certificate", certificate)[0] == 9
    certificate.write_bytes(log.envelopes[0][:-1])
    assert run("--certificate", certificate, "--key", files[1])[0] == 9


def test_a_command_that_can_not_be_meant_ends_with_2(files: Sequence[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.keys"
    bad.write_text("no key\n")
    for arguments in ([], ["--unknown"], [tmp_path / "absent"], [files[0], "--key", bad]):
        code, told = run(*arguments)
        assert code == 2
        assert "Traceback" not in told


def test_the_root_that_the_guide_computes_by_hand_is_the_signed_one(
    files: Sequence[Path], tmp_path: Path
) -> None:
    """The script stands in `docs/verifying.md`; here it is run as it stands there."""
    guide = (FILE.parents[1] / "docs" / "verifying.md").read_text()
    script = textwrap.dedent(guide.partition("<<'END'\n")[2].partition("    END\n")[0])
    command = [sys.executable, "-I", "-", str(files[0])]
    told = subprocess.run(command, input=script, capture_output=True, text=True, check=True).stdout
    computed, signed = (line.split()[1] for line in told.splitlines())
    assert computed == signed


def test_the_guide_names_only_options_that_there_are() -> None:
    guide = (FILE.parents[1] / "docs" / "verifying.md").read_text()
    beside = FILE.with_name("verify_root.py").read_text()
    commands = [verify_log, get, verify]  # of ours, for the same files
    ours = {name for one in commands for option in one.params for name in option.opts}
    help_text = run("--help")[1] + beside + " ".join(ours)
    named = set(re.findall(r"(--[a-z]+)", guide))
    assert named
    assert all(option in help_text for option in named)
