"""Parts from Debian: installed by the run as root, otherwise named with their command."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.embedded import EmbeddedServer, running

POSTGRES_15 = Path("/usr/lib/postgresql/15")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/system/" in str(item.path):
            item.add_marker(pytest.mark.system)


def need_package(package: str, there: Path) -> None:
    """See that `there` exists; as root install `package`, else fail with the command that does."""
    if there.exists():
        return
    command = f"apt-get update && apt-get install --yes --no-install-recommends {package}"
    if os.geteuid() != 0:
        pytest.fail(f"{there} is missing; as root run: {command}")
    no_cluster = Path("/etc/postgresql-common/createcluster.conf")
    if package.startswith("postgresql") and not no_cluster.exists():
        no_cluster.parent.mkdir(parents=True, exist_ok=True)
        no_cluster.write_text("create_main_cluster = false\n")  # no server but the tests' own
    subprocess.run(
        ["/bin/sh", "-c", command],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    assert there.exists(), f"{package} did not bring {there}"


@pytest.fixture(scope="session")
def live_server(servers_folder: Path) -> Iterator[EmbeddedServer]:
    """The tenant's server is PostgreSQL 15 here: other rules for CREATEROLE and membership."""
    need_package("postgresql-15", POSTGRES_15 / "bin" / "postgres")
    server = EmbeddedServer(servers_folder / "live-15", install=POSTGRES_15)
    with running(server):
        yield server
