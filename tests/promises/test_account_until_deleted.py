"""An account is kept until its person or their organisation ends it; time ends none."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker import people
from broker.tx import system
from tests.promises.conftest import Product
from tests.stories import skip, sweep
from tests.world import add_person

pytestmark = pytest.mark.long


def test_years_of_silence_end_no_account_and_a_removal_does(product: Product) -> None:
    api, world = product.api, product.world
    with world.as_(system("tests")) as tx:
        person = add_person(tx, "auditor", world.tenant).person_id

    def is_there() -> bool:
        with world.as_(world.admin) as tx:
            return any(one.person_id == person for one in people.list_members(tx, world.tenant))

    skip(world, timedelta(days=5 * 366))
    sweep(world)
    assert is_there()
    world.broker.database._clock = None
    gone = api.send(world.admin, "DELETE", f"/people/{person}/roles?tenant={world.tenant}")
    assert gone.status_code == 204
    assert not is_there()
