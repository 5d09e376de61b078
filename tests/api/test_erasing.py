"""Erasing a person through the API: who may, when, and what everybody sees afterwards (G13)."""

from __future__ import annotations

from broker import idempotency, signin
from broker.idempotency import IdempotencyKey, Kept
from broker.tx import system
from tests.api.conftest import Api
from tests.world import add_person


def test_a_privacy_officer_erases_an_engineer_whom_an_operator_shut_out(api: Api) -> None:
    world = api.world
    with world.as_(system("tests")) as tx:
        officer = add_person(tx, "privacy_officer", None)
    path = f"/people/{world.engineer.person_id}"
    members = {one["id"]: one for one in api.get(officer, "/people").json["items"]}
    name = members[world.engineer.person_id]["name"]
    for actor in (world.admin, world.operator, world.engineer):
        assert api.post(actor, f"{path}/erase").status_code == 403
    refused = api.post(officer, f"{path}/erase")
    assert refused.status_code == 409
    assert "can still act" in refused.text

    with world.as_(officer) as tx:  # an answer that is kept for a retry
        token_id, key = signin.list_tokens(tx)[0].id, idempotency.read_key("one")
        idempotency.begin(tx, token_id, key, b"r" * 32)
        idempotency.keep(tx, token_id, key, Kept(201, name.encode()), secret=False)
    assert api.post(world.operator, f"{path}/disable").status_code == 200
    erased = api.post(officer, f"{path}/erase")
    assert erased.status_code == 200
    assert (erased.json["id"], erased.json["openings"]) == (world.engineer.person_id, 2)
    kept = api.get(officer, f"{path}/erasure").json["kept"]
    assert len(kept) == erased.json["kept"] > 0
    assert name not in api.get(officer, "/people").text
    with world.as_(officer) as tx:
        assert tx.session.get_one(IdempotencyKey, (token_id, key)).answer is None
    assert api.post(officer, f"{path}/erase").status_code == 409


def test_who_has_an_open_request_is_erased_only_when_it_is_over(api: Api) -> None:
    world = api.world
    with world.as_(system("tests")) as tx:
        officer = add_person(tx, "privacy_officer", None)
    grant_id = world.request()
    path = f"/people/{world.engineer.person_id}"
    assert api.post(world.operator, f"{path}/disable").status_code == 200
    refused = api.post(officer, f"{path}/erase")
    assert refused.status_code == 409
    assert grant_id in refused.text
