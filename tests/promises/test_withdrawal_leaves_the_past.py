"""A withdrawal ends what goes on, and leaves what was lawfully done as it was, and marked so."""

from __future__ import annotations

import pytest

from tests.promises.conftest import Product

pytestmark = pytest.mark.long


def test_what_was_done_before_stays_and_is_still_explained(product: Product) -> None:
    world = product.world
    grant_id = product.approved(copy_s=0)
    lease_id, _ = world.lease(grant_id)
    world.work()
    before = world.entries()
    assert product.withdraw("live_access").status_code == 200
    world.work()
    assert world.entries()[: len(before)] == before
    path = f"/tenants/{world.tenant}/why?about={lease_id}"
    reasons = product.api.get(world.admin, path).json["items"]
    assert [(one["kind"], one["ground"]) for one in reasons] == [
        ("lease.asked", "consent"),
        ("lease.issued", "consent"),
        ("lease.revoking", "ending"),
        ("lease.revoked", "ending"),
    ]
    acts = product.api.get(world.admin, f"/tenants/{world.tenant}/consents/acts").json["items"]
    assert acts[0]["act"] == "withdrawn"
    assert reasons[0]["consents"][0] in {act["id"] for act in acts}


def test_a_consent_given_again_revives_nothing_that_ended(product: Product) -> None:
    grant_id = product.approved(copy_s=0)
    assert product.withdraw("live_access").status_code == 200
    product.consent("live_access")
    assert product.world.grant(grant_id).state == "ended"
