"""A person's data is erased when they ask for it, and what is left is named, row by row."""

from __future__ import annotations

import pytest

from broker.tx import system
from tests.promises.conftest import Product
from tests.world import add_person

pytestmark = pytest.mark.long


def test_who_asks_and_can_no_longer_act_is_erased(product: Product) -> None:
    api, world = product.api, product.world
    with world.as_(system("tests")) as tx:
        officer, person = add_person(tx, "privacy_officer", None), add_person(tx, "lead", None)
    who = f"/people/{person.person_id}"
    asked = api.post(person, "/me/rights", {"kind": "erasure"}).json
    (name,) = [p["name"] for p in api.get(officer, "/people").json["items"] if p["role"] == "lead"]
    assert api.post(officer, f"{who}/erase").status_code == 409
    assert api.post(world.operator, f"{who}/disable").status_code == 200
    assert api.post(officer, f"{who}/erase").status_code == 200
    body = {"outcome": "done", "answer": "you were erased; what is left names you by an id alone"}
    answered = api.post(officer, f"/rights/{asked['id']}/answer", body)
    assert answered.json["outcome"] == "done"
    for path in ("/people", "/rights"):
        assert name not in api.get(officer, path).text
    kept = api.get(officer, f"{who}/erasure").json["kept"]
    assert kept
    assert all(row["why"] for row in kept)
    assert api.get(officer, f"{who}/export").status_code == 409
