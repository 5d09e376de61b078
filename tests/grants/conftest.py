"""A world for the tests of databases that tenants share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.demo.canaries import Marks
from broker.embedded import EmbeddedServer
from tests.shared_database import (
    OWN,
    SECOND,
    make_shared_database,
    register_part,
    rows_of,
    share,
)
from tests.world import ControlTemplate, World, build_world, clone_crm


@pytest.fixture(scope="package")
def dbname(live_server: EmbeddedServer) -> str:
    return make_shared_database(live_server)


@pytest.fixture(scope="package")
def anyone(
    control_template: ControlTemplate,
    live_server: EmbeddedServer,
    test_server: EmbeddedServer,
    crm_marks: Marks,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("tenancy")
    crm = clone_crm(live_server)
    with build_world(control_template, live_server, test_server, folder, crm, crm_marks) as world:
        yield world


@pytest.fixture(scope="package")
def own(anyone: World, dbname: str) -> World:
    login = share(anyone, dbname, ["shop"])
    second = register_part(anyone, dbname, login, rows_of(SECOND), ["shop"])
    lease_id, _ = second.lease(second.approved())  # the other's scope stands beside ours
    second.work()
    assert second.find_lease(lease_id).state == "issued", second.find_lease(lease_id).stuck_reason
    return register_part(anyone, dbname, login, rows_of(OWN), ["shop"])
