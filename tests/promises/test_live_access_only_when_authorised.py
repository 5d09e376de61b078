"""Support looks into live data only when the customer has authorised it, and only for that."""

from __future__ import annotations

import psycopg
import pytest

from tests.promises.conftest import Product

pytestmark = pytest.mark.long


def test_without_an_approval_no_login_is_made(product: Product) -> None:
    grant_id = product.asked(copy_s=0)
    answer = product.api.post(
        product.world.engineer, "/leases", {"grant": grant_id, "verifier": _verifier()}
    )
    assert answer.status_code == 403
    assert "must decide first" in answer.json["detail"]


def test_without_the_consent_nothing_can_be_asked_for(product: Product) -> None:
    assert product.withdraw("live_access").status_code == 200
    answer = product.ask(copy_s=0)
    assert answer.status_code == 403
    assert answer.json["purposes"] == ["live_access"]


def test_what_was_authorised_opens_and_ends_with_the_authorisation(product: Product) -> None:
    world = product.world
    lease_id, password = world.lease(product.approved(copy_s=0))
    world.work()
    session = world.login(lease_id, password)
    session.execute("SELECT count(*) FROM companies")
    assert product.withdraw("live_access").status_code == 200
    world.work()
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        world.login(lease_id, password)


def _verifier() -> str:
    from broker.engines.postgres.scram import make_verifier, new_password

    return make_verifier(new_password())
