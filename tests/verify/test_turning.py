"""The key of logs turns: nobody's verifying has a gap, and a stolen key stops counting."""

from __future__ import annotations

from dataclasses import replace

from broker import tenants, trail
from broker.audit.bundle import build_bundle, parse_bundle
from broker.audit.export import begin_export
from broker.audit.note import VerifierKey, list_hints
from broker.ids import TenantId
from broker.keys import LOG_KEY
from broker.snapshots import certificates
from broker.tx import system
from tests.verify.standalone import verdict
from tests.verify.vendor import Vendor, whole


def act(vendor: Vendor, tenant_id: TenantId) -> None:
    with vendor.as_(system("tests")) as tx:
        trail.record(tx, tenant_id, "tenant.enrolled", tenant_id)
    vendor.integrate()


def export(vendor: Vendor, tenant_id: TenantId, keys: list[VerifierKey]) -> bytes:
    with vendor.as_(system("tests")) as tx:
        texts = [key.format() for key in keys]
        return whole(tx, begin_export(tx, tenant_id, texts, certificates.list_envelopes))


def test_old_and_new_readers_verify_across_a_turn(vendor: Vendor) -> None:
    tenant_id, _ = vendor.enrol()
    vendor.integrate()
    before = vendor.pinned(tenant_id)
    vendor.keys.introduce(LOG_KEY)
    act(vendor, tenant_id)
    both = [*before, VerifierKey(vendor.origin(tenant_id), vendor.keys.find_next(LOG_KEY) or b"")]
    data = vendor.export(tenant_id)
    assert len(list_hints(parse_bundle(data).checkpoints[-1])) == 2
    assert verdict(data, before)
    kept = parse_bundle(data).checkpoints
    vendor.keys.turn(LOG_KEY)
    act(vendor, tenant_id)
    data = vendor.export(tenant_id)
    assert len(list_hints(parse_bundle(data).checkpoints[-1])) == 1
    assert not verdict(data, before)  # who pinned the old key alone is told to look
    assert verdict(data, both, kept)  # what it signed before stays good


def test_a_compromised_key_counts_no_more(vendor: Vendor) -> None:
    """Its holder can sign any past; a reader of the new key takes none of it."""
    tenant_id, _ = vendor.enrol()
    vendor.integrate()
    old = vendor.pinned(tenant_id)
    stolen = parse_bundle(vendor.export(tenant_id))
    vendor.keys.introduce(LOG_KEY)
    act(vendor, tenant_id)
    vendor.keys.turn(LOG_KEY, compromised=True)
    new = vendor.pinned(tenant_id)
    data = export(vendor, tenant_id, new)
    assert len(parse_bundle(data).checkpoints) == 1  # that of the overlap covers all
    assert verdict(data, new)
    assert not verdict(data, old[1:])
    assert verdict(build_bundle(stolen), old)
    assert not verdict(build_bundle(stolen), new)
    mixed = replace(parse_bundle(data), checkpoints=(*stolen.checkpoints,))
    assert not verdict(build_bundle(mixed), new)


def test_keys_that_sign_signed_and_will_sign_are_published(vendor: Vendor) -> None:
    with vendor.as_(system("tests")) as tx:
        tenants.publish_key(tx, "log/others", b"")
        assert tenants.find_published_key(tx, "log/others") is None
        tenants.publish_key(tx, "log/others", bytes(64))
        tenants.publish_key(tx, "log/others", b"")
        assert tenants.find_published_key(tx, "log/others") == b""
