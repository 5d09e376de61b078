"""Real servers for the tests: started once per run, databases cloned or made per test."""

from __future__ import annotations

import gc
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import argon2
import psycopg
import pytest
from psycopg import sql

from broker.demo.canaries import Marks
from broker.embedded import (
    ROOT_FOLDER,
    TEST_SERVER_SETTINGS,
    EmbeddedServer,
    make_root_folder,
    running,
)
from broker.engines import Target
from tests.world import (
    ControlTemplate,
    World,
    build_world,
    clone_crm,
    find_crm_marks,
    make_control_template,
)

# A tenth of the tests' CPU went into collecting what the imports made and nobody frees.
gc.freeze()
gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _cheap_passwords() -> Iterator[None]:
    """Argon2 costs 0.2 s of CPU for each, by intent; the tests set and check many hundreds.

    `test_signin` holds the parameters of the product.
    """
    with pytest.MonkeyPatch.context() as patch:
        cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        patch.setattr("broker.signin._hasher", cheap)
        yield


MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of its own is made in it
_ROOM = 6 << 30


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """A folder that the servers' user can enter; removed at the end.

    In memory where there is room: half of the tests' time went into the thousand small files of
    which each database is made. Nothing here is to outlive a power cut.
    """
    in_memory = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > _ROOM
    if os.geteuid() == 0:
        make_root_folder()
    elsewhere = ROOT_FOLDER if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(dir=MEMORY if in_memory else elsewhere, prefix="brk-tests-"))
    folder.chmod(0o711)  # the servers' user goes through; what is in it has rights of its own
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def live_server(servers_folder: Path) -> Iterator[EmbeddedServer]:
    """Stands for a tenant's live server."""
    server = EmbeddedServer(servers_folder / "live")
    with running(server):
        yield server


@pytest.fixture(scope="session")
def test_server(servers_folder: Path) -> Iterator[EmbeddedServer]:
    """The internal server where sandboxes run."""
    server = EmbeddedServer(servers_folder / "test", settings=TEST_SERVER_SETTINGS)
    with running(server):
        yield server


def superuser(server: EmbeddedServer, dbname: str = "postgres") -> Target:
    return Target(server.host, server.port, dbname, "postgres", server.password)


def new_database(server: EmbeddedServer) -> str:
    """Make an empty database and return its name."""
    name = f"t_{secrets.token_hex(6)}"
    with admin(server) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return name


def admin(server: EmbeddedServer, dbname: str = "postgres") -> psycopg.Connection:
    return psycopg.connect(
        host=server.host,
        port=server.port,
        user="postgres",
        password=server.password.reveal(),
        dbname=dbname,
        autocommit=True,
    )


@pytest.fixture(scope="session")
def control_server(servers_folder: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(servers_folder / "control")
    with running(server):
        yield server


@pytest.fixture(scope="session")
def control_template(control_server: EmbeddedServer) -> ControlTemplate:
    return make_control_template(control_server)


@pytest.fixture(scope="module")
def crm_marks(live_server: EmbeddedServer) -> Marks:
    """Of the module's own live server: folders and modules have theirs under this name."""
    return find_crm_marks(live_server)


@pytest.fixture
def world(
    control_template: ControlTemplate,
    live_server: EmbeddedServer,
    test_server: EmbeddedServer,
    crm_marks: Marks,
    tmp_path: Path,
) -> Iterator[World]:
    """A tenant with a CRM, an engineer who may ask, a test server: ready for a story."""
    crm = clone_crm(live_server)
    with build_world(control_template, live_server, test_server, tmp_path, crm, crm_marks) as made:
        yield made


@pytest.fixture(scope="module")
def module_world(
    control_template: ControlTemplate,
    live_server: EmbeddedServer,
    test_server: EmbeddedServer,
    crm_marks: Marks,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """One for all tests of a module, which look more than they change, or make what they need."""
    crm, folder = clone_crm(live_server), tmp_path_factory.mktemp("world")
    with build_world(control_template, live_server, test_server, folder, crm, crm_marks) as made:
        yield made
