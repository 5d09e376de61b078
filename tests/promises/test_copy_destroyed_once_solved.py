"""Once the problem is solved the copy is destroyed, and the customer gets the proof of it."""

from __future__ import annotations

import pytest

from broker.snapshots import certificates
from tests.promises.conftest import Product

pytestmark = pytest.mark.long


def test_closing_the_ticket_destroys_the_copy_and_brings_a_certificate(product: Product) -> None:
    world = product.world
    ticket_id = world.ticket()
    grant_id = product.approved(ticket=ticket_id)
    copy = product.api.post(world.engineer, "/snapshots", {"grant": grant_id}).json["id"]
    world.work()
    assert world.snapshot(copy).state == "ready"
    world.close_ticket(ticket_id)
    world.work()
    assert world.snapshot(copy).state == "destroyed"
    certificates.certify(world.ports, copy)
    shown = product.api.get(world.admin, f"/snapshots/{copy}").json
    assert shown["certificate"]
    assert any(shown["certificate"] in text for _, text in product.mails(world.admin))
