"""What is kept to improve the product holds no direct identifier."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from broker.retention import improving
from broker.tx import system
from tests.promises.conftest import Product
from tests.world import add_person

pytestmark = pytest.mark.long


def test_an_access_leaves_no_name_id_or_text_in_what_is_kept(product: Product) -> None:
    """Of one customer nothing at all is kept: five are the least of whom a row speaks."""
    world = product.world
    grant_id = product.approved(copy_s=0)
    assert product.api.post(world.admin, f"/grants/{grant_id}/end").status_code in {200, 202}
    with world.as_(system("tests")) as tx:
        now = tx.at
        officer = add_person(tx, "privacy_officer", None)
    world.broker.database._clock = lambda: now.replace(year=now.year + 1)
    with world.as_(system("tests")) as tx:
        assert improving.improve(tx) == 0
        kept = sa.text("SELECT row_to_json(improvement_report)::text FROM improvement_report")
        rows = list(tx.session.scalars(kept))
    assert rows
    for secret in (world.tenant, grant_id, world.engineer.person_id, world.admin.person_id):
        assert secret
        assert not [row for row in rows if secret in row]
    world.broker.database._clock = lambda: now
    reports = product.api.get(officer, "/improvement/reports").json["items"]
    assert [one["left_out"] == one["records"] > 0 for one in reports] == [True] * len(rows)
    assert product.api.get(officer, "/improvement").json["items"] == []
