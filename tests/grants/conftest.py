"""One world for many tests that each make their own requests and people in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.demo.canaries import Marks
from broker.embedded import EmbeddedServer
from tests.world import ControlTemplate, World, build_world, clone_crm


@pytest.fixture(scope="module")
def shared(
    control_template: ControlTemplate,
    live_server: EmbeddedServer,
    test_server: EmbeddedServer,
    crm_marks: Marks,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    crm, folder = clone_crm(live_server), tmp_path_factory.mktemp("shared")
    with build_world(control_template, live_server, test_server, folder, crm, crm_marks) as made:
        yield made
