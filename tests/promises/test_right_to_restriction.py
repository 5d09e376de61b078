"""Who asks for restriction is left alone: stored, and written to about their rights alone."""

from __future__ import annotations

import pytest

from broker import mail
from broker.tx import system
from tests.promises.conftest import Product
from tests.world import add_person

pytestmark = pytest.mark.long


def test_a_restricted_person_gets_no_other_mail(product: Product) -> None:
    api, world = product.api, product.world
    with world.as_(system("tests")) as tx:
        officer = add_person(tx, "privacy_officer", None)
        person = add_person(tx, "admin", world.tenant)
    asked = api.post(person, "/me/rights", {"kind": "restriction"}).json
    who = f"/people/{person.person_id}/restrict"
    assert api.post(officer, who, {"restricted": True}).status_code == 204
    body = {"outcome": "done", "answer": "it is stored, and put to no other use"}
    assert api.post(officer, f"/rights/{asked['id']}/answer", body).status_code == 200
    product.asked()
    with world.as_(system("tests")) as tx:
        held = tx.session.query(mail.Mail).filter_by(person_id=person.person_id)
        to_send = held.filter(mail._may_be_sent()).all()
        assert len(to_send) == 2 < held.count()
        assert all(one.about_rights for one in to_send)
    assert api.post(officer, who, {"restricted": False}).status_code == 204
