"""Worlds that many tests use: one for requests and decisions, one for databases that are shared."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from broker.demo.canaries import Marks
from broker.embedded import EmbeddedServer, running
from broker.grants import approval_policy
from broker.grants.approval_policy import ApprovalPolicy
from broker.tx import system
from tests.shared_database import (
    OWN,
    SECOND,
    make_shared_database,
    register_part,
    rows_of,
    share,
)
from tests.world import ControlTemplate, World, build_world, clone_crm, make_crm_template


@pytest.fixture(scope="package")
def sharing_server(servers_folder: Path) -> Iterator[EmbeddedServer]:
    """A live server of their own: what stands there for the whole package is nobody else's."""
    server = EmbeddedServer(servers_folder / f"sharing-{secrets.token_hex(4)}")
    with running(server):
        yield server


@pytest.fixture(scope="package")
def sharing_marks(sharing_server: EmbeddedServer) -> Marks:
    return make_crm_template(sharing_server, scale=0.01)


@pytest.fixture(scope="package")
def dbname(sharing_server: EmbeddedServer) -> str:
    return make_shared_database(sharing_server)


@pytest.fixture(scope="package")
def anyone(
    control_template: ControlTemplate,
    sharing_server: EmbeddedServer,
    test_server: EmbeddedServer,
    sharing_marks: Marks,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    folder, crm = tmp_path_factory.mktemp("tenancy"), clone_crm(sharing_server)
    with build_world(
        control_template, sharing_server, test_server, folder, crm, sharing_marks
    ) as world:
        yield world


@pytest.fixture(scope="package")
def own(anyone: World, dbname: str) -> World:
    login = share(anyone, dbname, ["shop"])
    second = register_part(anyone, dbname, login, rows_of(SECOND), ["shop"])
    lease_id, _ = second.lease(second.approved())  # the other's scope stands beside ours
    second.work()
    assert second.find_lease(lease_id).state == "issued", second.find_lease(lease_id).stuck_reason
    return register_part(anyone, dbname, login, rows_of(OWN), ["shop"])


@pytest.fixture(scope="module")
def shared(module_world: World) -> World:
    """Each test makes its own requests and people in it; see `afresh`."""
    return module_world


@pytest.fixture
def afresh(shared: World) -> Iterator[World]:
    """The shared world as a test finds it: one admin approves, no mail, the true time after it.

    Earlier requests, people and entries are there still. Whoever takes the admin's own role, or
    needs a second person for the policy, takes `world`.
    """
    clock = shared.broker.database._clock
    with shared.as_(shared.admin) as tx:
        if approval_policy.find_in_force(tx, shared.tenant)[1] != ApprovalPolicy():
            approval_policy.propose(tx, shared.tenant, ApprovalPolicy())
    with shared.as_(system("tests")) as tx:
        tx.session.execute(sa.text("DELETE FROM mail"))
    yield shared
    shared.broker.database._clock = clock
