"""The customer is told, without asking: what waits for them, what ended, what was destroyed."""

from __future__ import annotations

import pytest

from broker.tx import system
from tests.promises.conftest import Product
from tests.world import add_person

pytestmark = pytest.mark.long


def test_a_request_that_waits_is_told_to_who_decides(product: Product) -> None:
    grant_id = product.asked()
    assert any(grant_id in subject for subject, _ in product.mails(product.world.admin))


def test_a_withdrawal_is_told_to_the_other_admins(product: Product) -> None:
    with product.world.as_(system("tests")) as tx:
        other = add_person(tx, "admin", product.world.tenant)
    assert product.withdraw("test_copy").status_code == 200
    assert "Consent withdrawn: test_copy" in [subject for subject, _ in product.mails(other)]


def test_no_notice_holds_a_link_that_acts(product: Product) -> None:
    product.asked()
    for _, text in product.mails(product.world.admin):
        assert "http" not in text
