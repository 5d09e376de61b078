"""Places behind doors, for the matrix of faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.behind import Behind, build_behind
from tests.world import World


@pytest.fixture(scope="module")
def behind(module_world: World) -> Iterator[Behind]:
    with build_behind(module_world) as made:
        yield made
