"""One run of a backup: a login of its own, the program, its measure, and the report.

What must stay true: the password is in the environment of that one program and nowhere else (G11);
the run is reported whatever comes of it, and its login ends with the report.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from broker.cli.connect import environment
from broker.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from broker.cli.api import Api

_BLOCK = 1 << 20
_ISSUED_WITHIN_S = 60


@dataclass(frozen=True, slots=True)
class Made:
    """Where the program's backup is: in `file`, or, where that is None, what it writes out."""

    file: Path | None
    place: str | None
    keep_days: int | None


def run_once(
    api: Api, backup: str, command: Sequence[str], made: Made, ca_file: Path | None
) -> int:
    """Returns the program's exit status. Raises what keeps the run from beginning."""
    from broker.cli.tunnel import open_way
    from broker.engines.postgres.scram import make_verifier, new_password

    place = made.place or str(api.get("backups", backup)["place"])
    password = new_password()
    begun = api.post("backups", backup, "runs", body={"verifier": make_verifier(password)})
    run_id, said = str(begun["id"]), {"outcome": "failed"}
    try:
        login = api.wait(
            "backup-runs",
            run_id,
            until=lambda one: one["state"] != "pending",
            timeout_s=_ISSUED_WITHIN_S,
        )
        if login["state"] != "issued":
            raise Conflict(f"{run_id} is {login['state']}: {login.get('end_reason') or 'no login'}")
        with open_way(str(login["host"]), int(login["port"]), None) as way:
            env = environment(login, password, way, ca_file)
            del env["PGAPPNAME"]  # the program names itself, and is looked at by that name
            status, size, digest = _run(command, env, made.file)
        if status == 0:
            said = _done(size, digest, place, made.keep_days)
        return status
    finally:
        api.post("backup-runs", run_id, "report", body=said)
        click.echo(f"{run_id} reported: {said['outcome']}", err=True)


def _is_answered(run: dict[str, Any]) -> bool:
    return bool(run["state"] != "pending")


def _done(size: int, digest: str, place: str, keep_days: int | None) -> dict[str, Any]:
    said: dict[str, Any] = {"outcome": "done", "bytes": size, "digest": digest, "place": place}
    return said | ({"keep_days": keep_days} if keep_days is not None else {})


def _run(command: Sequence[str], env: dict[str, str], file: Path | None) -> tuple[int, int, str]:
    """(exit status, bytes, SHA-256) of the backup."""
    try:
        if file is not None:
            status = subprocess.run(command, env=env, check=False).returncode
            return status, *(measure(file) if status == 0 else (0, ""))
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None  # noqa: S101  # for the type checker: a pipe was asked
            size, digest = _pass_on(process.stdout, sys.stdout.buffer)
            return process.wait(), size, digest
    except OSError as error:
        raise Unavailable(f"{command[0]} can't be run: {error.strerror}") from None


def _pass_on(source: IO[bytes], to: IO[bytes] | None) -> tuple[int, str]:
    """(bytes, SHA-256) of what came, as it went on."""
    size, digest = 0, hashlib.sha256()
    while block := source.read(_BLOCK):
        size += len(block)
        digest.update(block)
        if to is not None:
            to.write(block)
    if to is not None:
        to.flush()
    return size, digest.hexdigest()


def measure(file: Path) -> tuple[int, str]:
    """(bytes, SHA-256) of a file. Raises Unavailable."""
    try:
        with file.open("rb") as source:
            return _pass_on(source, None)
    except OSError as error:
        raise Unavailable(f"{file} can't be read: {error.strerror}") from None


def check_same(file: Path, digest: str) -> None:
    """Raises Conflict for a file with another digest."""
    _, found = measure(file)
    if found != digest:
        raise Conflict(
            f"{file} is not the backup that was allowed: its SHA-256 is {found}, not {digest}; do "
            "not restore it"
        )
