"""A person's contact details are shown only by their consent, field by field, and they see it."""

from __future__ import annotations

import pytest

from broker.tx import system
from tests.promises.conftest import Product
from tests.world import add_person

pytestmark = pytest.mark.long


def test_nothing_is_shown_without_the_persons_own_consent_to_that_field(product: Product) -> None:
    api, world = product.api, product.world
    with world.as_(system("tests")) as tx:
        person = add_person(tx, "auditor", world.tenant)
    ticket = world.ticket()
    path, wanted = f"/tickets/{ticket}/contacts", {"person": person.person_id, "field": "email"}
    (email,) = [
        one["email"]
        for one in api.get(world.admin, f"/people?tenant={world.tenant}").json["items"]
        if one["id"] == person.person_id
    ]
    refused = api.post(world.engineer, f"{path}/show", wanted)
    assert (refused.status_code, refused.json["purposes"]) == (403, ["support_contact"])
    assert email not in api.get(world.engineer, path).text
    assert email not in api.get(world.operator, f"/people?tenant={world.tenant}").text

    consents = f"/tenants/{world.tenant}/consents"
    (digest,) = [
        one["digests"]["fr"]
        for one in api.get(person, consents).json["items"]
        if (one["purpose"], one["about"]) == ("support_contact", "email")
    ]
    body = {"purpose": "support_contact", "about": "email"}
    assert api.post(person, consents, {**body, "shown_digest": digest}).status_code == 201
    assert api.post(world.engineer, f"{path}/show", wanted).json["value"] == email
    name = api.post(world.engineer, f"{path}/show", {**wanted, "field": "name"})
    assert name.status_code == 403  # each field by itself
    (seen,) = api.get(person, "/me/disclosures").json["items"]
    assert seen["field"] == "email"
    assert "contact.shown" in world.kinds()
    assert api.post(person, f"{consents}/withdraw", body).status_code == 200
    assert api.post(world.engineer, f"{path}/show", wanted).status_code == 403
    assert len(api.get(person, "/me/disclosures").json["items"]) == 1  # the past stays


def test_without_it_they_are_reached_through_the_broker(product: Product) -> None:
    api, world = product.api, product.world
    ticket = world.ticket()
    body = {"person": world.admin.person_id, "text": "Could you send the log of last night?"}
    path = f"/tickets/{ticket}/contacts"
    assert api.post(world.engineer, f"{path}/write", body).status_code == 204
    assert any("log of last night" in text for _, text in product.mails(world.admin))
    world.close_ticket(ticket)
    assert api.post(world.engineer, f"{path}/write", body).status_code == 409
    assert api.get(world.engineer, path).status_code == 409
