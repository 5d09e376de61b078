"""A copy is the exception: asked for by itself, consented to by itself, and given by itself."""

from __future__ import annotations

import pytest

from tests.promises.conftest import Product

pytestmark = pytest.mark.long


def test_whoever_may_look_live_may_not_copy_for_that(product: Product) -> None:
    grant_id = product.approved(copy_s=0)
    answer = product.api.post(product.world.engineer, "/snapshots", {"grant": grant_id})
    assert answer.status_code == 403
    assert "does not give copy access" in answer.json["detail"]


def test_the_customer_can_give_live_access_and_no_copy(product: Product) -> None:
    grant_id = product.asked()
    assert product.approve(grant_id, copy_s=0).status_code == 200
    answer = product.api.post(product.world.engineer, "/snapshots", {"grant": grant_id})
    assert answer.status_code == 403


def test_without_the_consent_to_copies_none_is_asked_for(product: Product) -> None:
    assert product.withdraw("test_copy").status_code == 200
    assert product.ask().json["purposes"] == ["test_copy"]
    assert product.ask(copy_s=0).status_code == 201
