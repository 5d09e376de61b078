"""Nothing goes to a third party without the customer's agreement, but what the law demands."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.audit.integrate import integrate_all
from broker.sweeps import sweep_ends
from broker.tx import Actor, system
from tests.promises.conftest import Product
from tests.world import add_person

pytestmark = pytest.mark.long

ABOUT = {"kind": "third_party", "country": "FR", "use": "audits us", "data": "certificates"}
WHY = "their auditor asked for the proof"
ORDER = {
    "authority": "Plainly Invented Court",
    "reference": "2026/17",
    "legal_ground": "article 0 of an invented code",
    "asked": "the record of who looked, and when",
}


def add_officer(product: Product) -> Actor:
    with product.world.as_(system("tests")) as tx:
        return add_person(tx, "privacy_officer", None)


def add_recipient(product: Product, officer: Actor, name: str) -> str:
    made = product.api.post(officer, "/recipients", {**ABOUT, "name": name})
    assert made.status_code == 201, made.text
    return made.json["id"]


def agree(product: Product, recipient: str) -> Any:
    path = f"/tenants/{product.world.tenant}/consents"
    (shown,) = [
        one
        for one in product.api.get(product.world.admin, path).json["items"]
        if one["about"] == recipient
    ]
    assert shown["recipient"]["id"] == recipient
    body = {"purpose": "third_party", "about": recipient, "shown_digest": shown["digests"]["fr"]}
    return product.api.post(product.world.admin, path, body)


def hand_over(product: Product, officer: Actor, to: str) -> Any:
    """Of a log that is signed, whichever test comes first."""
    integrate_all(product.world.broker.database, product.world.ports.keys)
    path = f"/tenants/{product.world.tenant}/handovers"
    return product.api.post(officer, path, {"to": to, "what": "log", "reason": WHY})


def list_handed(product: Product) -> list[dict[str, Any]]:
    path = f"/tenants/{product.world.tenant}/handovers"
    found: list[dict[str, Any]] = product.api.get(product.world.admin, path).json["items"]
    return found


def test_a_recipient_gets_nothing_but_by_a_live_consent_to_it(product: Product) -> None:
    world, officer = product.world, add_officer(product)
    recipient = add_recipient(product, officer, "Invented Audits SAS")
    other = add_recipient(product, officer, "Invented Analysts SARL")
    refused = hand_over(product, officer, recipient)
    assert (refused.status_code, refused.json["purposes"]) == (403, ["third_party"])
    assert hand_over(product, world.engineer, recipient).status_code == 403

    assert agree(product, other).status_code == 201
    assert hand_over(product, officer, recipient).status_code == 403  # each by its name
    assert agree(product, recipient).status_code == 201
    before = len(list_handed(product))
    made = hand_over(product, officer, recipient)
    assert made.status_code == 200, made.text
    seen = list_handed(product)[0]
    assert (len(list_handed(product)), seen["to_name"]) == (before + 1, "Invented Audits SAS")
    assert seen["digest"] == hashlib.sha256(made.data).hexdigest()
    assert b'"salt"' not in made.data  # names stay commitments
    (entry,) = [one for one in world.entries() if one["subject"] == seen["id"]]
    assert entry["kind"] == "handover.made"
    path = f"/tenants/{world.tenant}/why?about={seen['id']}"
    (reason,) = product.api.get(world.admin, path).json["items"]
    assert (reason["ground"], reason["consents"]) == ("consent", [entry["facts"]["consent"]])

    body = {"purpose": "third_party", "about": recipient}
    withdrawn = product.api.post(world.admin, f"/tenants/{world.tenant}/consents/withdraw", body)
    assert withdrawn.status_code == 200, withdrawn.text
    assert hand_over(product, officer, recipient).status_code == 403
    assert list_handed(product)[0] == seen  # what was done stays, and stays lawful


def test_an_order_binds_only_when_two_officers_stand_for_it(product: Product) -> None:
    world, first, second = product.world, add_officer(product), add_officer(product)
    path = f"/tenants/{world.tenant}/orders"
    order = product.api.post(first, path, ORDER).json["id"]
    assert hand_over(product, first, order).status_code == 409
    assert product.api.post(first, f"/orders/{order}/confirm").status_code == 403
    assert product.api.get(world.admin, path).json["items"] == []
    assert product.api.post(second, f"/orders/{order}/confirm").status_code == 200
    assert product.api.get(world.admin, path).json["items"][0]["id"] == order
    assert any(order in subject for subject, _ in product.mails(world.admin))
    assert hand_over(product, first, order).status_code == 200
    contested = product.api.post(first, path, {**ORDER, "reference": "2026/18"}).json["id"]
    why = {"why": "it names no law that we know"}
    assert product.api.post(second, f"/orders/{contested}/contest", why).status_code == 200
    assert product.api.post(second, f"/orders/{contested}/confirm").status_code == 409
    assert hand_over(product, second, contested).status_code == 409


def test_what_the_law_keeps_silent_is_told_when_its_silence_is_over(product: Product) -> None:
    world, first, second = product.world, add_officer(product), add_officer(product)
    until = datetime.now(UTC) + timedelta(hours=1)
    silent = {"silent_until": until.isoformat(), "silent_why": "article 1 of an invented code"}
    path = f"/tenants/{world.tenant}/orders"
    far = {**silent, "silent_until": (until + timedelta(days=400)).isoformat()}
    assert product.api.post(first, path, {**ORDER, **far}).status_code == 422
    order = product.api.post(first, path, {**ORDER, **silent}).json["id"]
    assert product.api.post(second, f"/orders/{order}/confirm").status_code == 200
    assert hand_over(product, first, order).status_code == 200

    def is_told() -> bool:
        sweep_ends(world.broker.database, world.broker.queue, 0)
        known = {one["id"] for one in product.api.get(world.admin, path).json["items"]}
        handed = {one["to"] for one in list_handed(product)}
        mailed = any(order in subject for subject, _ in product.mails(world.admin))
        entries = {one["subject"] for one in world.entries()}
        found = {order in known, order in handed, mailed, order in entries}
        assert len(found) == 1, found  # all of it, or nothing
        return found == {True}

    assert not is_told()
    world.broker.database._clock = lambda: until + timedelta(minutes=1)
    assert is_told()
    (made,) = [one for one in list_handed(product) if one["to"] == order]
    (entry,) = [one for one in world.entries() if one["subject"] == made["id"]]
    assert entry["facts"]["made_at"] < until.isoformat()
