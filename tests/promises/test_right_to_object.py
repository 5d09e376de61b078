"""Who objects to marketing gets none from that moment on; nobody has to agree."""

from __future__ import annotations

import pytest

from tests.promises.conftest import Product

pytestmark = pytest.mark.long


def test_an_objection_ends_the_consent_at_once(product: Product) -> None:
    api, world = product.api, product.world
    path = f"/tenants/{world.tenant}/consents"

    def marketing() -> dict:
        found = api.get(world.admin, path).json["items"]
        (one,) = [item for item in found if item["purpose"] == "marketing_messages"]
        return one

    body = {"purpose": "marketing_messages", "shown_digest": marketing()["digests"]["fr"]}
    assert api.post(world.admin, path, body).json["state"] == "live"
    case = api.post(world.admin, "/me/object-to-marketing").json
    assert (case["kind"], case["outcome"]) == ("objection", "done")
    assert marketing()["state"] == "withdrawn"
