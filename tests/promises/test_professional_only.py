"""The product is for organisations: no private person becomes a tenant, or one of its people."""

from __future__ import annotations

import secrets

import pytest

from broker.enrolling import read_domains
from broker.settings import Tools
from tests.promises.conftest import Product

pytestmark = pytest.mark.long


@pytest.mark.parametrize("address", ["jo@gmail.com", "Jo.Doe+x@ORANGE.FR", "jo@hotmail.fr"])
def test_an_address_of_a_private_mail_provider_is_refused(product: Product, address: str) -> None:
    api, world = product.api, product.world
    of_tenant = {"name": "Jo", "ticket_customer": address, "admin_name": "Jo"}
    of_tenant["legal_id"] = "732829320"
    of_member = {"name": "Jo", "role": "auditor", "tenant": world.tenant}
    own = f"jo.{secrets.token_hex(4)}@acme.example"
    for actor, path, name, body in (
        (world.operator, "/tenants", "admin_email", of_tenant),
        (world.admin, "/people", "email", of_member),
    ):
        refused = api.post(actor, path, {**body, name: address})
        assert refused.status_code == 422
        assert "for organisations" in refused.json["detail"]
        assert api.post(actor, path, {**body, name: own}).status_code == 201


def test_an_organisation_has_a_number_in_law_whose_check_digits_are_right(product: Product) -> None:
    api, world = product.api, product.world
    body = {
        "name": "Jo",
        "ticket_customer": secrets.token_hex(4),
        "admin_name": "Jo",
        "admin_email": f"jo.{secrets.token_hex(4)}@acme.example",
    }
    assert api.post(world.operator, "/tenants", body).status_code == 422
    for wrong in ("732829321", "FR84404833048", "12345", "Jo Doe"):
        refused = api.post(world.operator, "/tenants", {**body, "legal_id": wrong})
        assert refused.status_code == 422
        assert "SIREN" in refused.json["detail"]
    made = api.post(world.operator, "/tenants", {**body, "legal_id": "fr 83 404 833 048"})
    assert (made.status_code, made.json["legal_id"]) == (201, "vat:FR83404833048")
    path = f"/tenants/{made.json['id']}/legal-id"
    assert api.post(world.admin, path, {"legal_id": "732829320"}).status_code == 404
    told = api.post(world.operator, path, {"legal_id": "732829320"})
    assert told.json["legal_id"] == "siren:732829320"


def test_the_list_is_of_domains_in_lower_case() -> None:
    domains = read_domains(Tools().config / "consumer_domains.txt")
    assert len(domains) > 50
    assert all(domain == domain.lower().strip() and "." in domain for domain in domains)
