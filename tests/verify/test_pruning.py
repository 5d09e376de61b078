"""Entries whose time is over go, their hashes stay, and every reader still verifies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from broker import trail
from broker.audit import proofs
from broker.audit.bundle import Pruned, parse_bundle
from broker.audit.merkle import leaf_hash, verify_inclusion
from broker.audit.pruning import Retention, load_retention, prune_due
from broker.audit.tiles import Tile
from broker.errors import NotFound, SettingsError
from broker.ids import PersonId, TenantId
from broker.tx import Actor, system
from tests.verify.standalone import verdict
from tests.verify.test_tiling import parse
from tests.verify.vendor import Vendor

CONFIG = Path(__file__).parents[2] / "config" / "log_retention.toml"


def sign_in(vendor: Vendor, tenant_id: TenantId, count: int, days_ago: int) -> None:
    """Every tenth entry is of a kind that is kept."""
    vendor.database._clock = lambda: datetime.now(UTC) - timedelta(days=days_ago)
    with vendor.as_(system("tests")) as tx:
        for number in range(count):
            kind = "tenant.enrolled" if number % 10 == 0 else "person.signed_in"
            trail.record(tx, tenant_id, kind, f"psn_{number}")
    vendor.database._clock = None
    vendor.integrate()


def aged(vendor: Vendor) -> tuple[TenantId, PersonId]:
    """300 entries of 400 days ago, then 300 of 100 days ago."""
    vendor.database._clock = lambda: datetime.now(UTC) - timedelta(days=401)
    tenant_id, admin = vendor.enrol()
    sign_in(vendor, tenant_id, 300, 400)
    sign_in(vendor, tenant_id, 300, 100)
    return tenant_id, admin


def test_old_connections_go_and_every_checkpoint_and_proof_stays(vendor: Vendor) -> None:
    tenant_id, admin = aged(vendor)
    kept = parse_bundle(vendor.export(tenant_id)).checkpoints
    assert prune_due(vendor.database, load_retention(CONFIG)) == 269  # all of 300 but 30 and a mark
    assert prune_due(vendor.database, load_retention(CONFIG)) == 0
    vendor.integrate()
    data = vendor.export(tenant_id)
    assert verdict(data, vendor.pinned(tenant_id), kept)
    entries = parse_bundle(data).entries
    assert sum(len(part.hashes) for part in entries if isinstance(part, Pruned)) == 269
    said = [part for part in entries if isinstance(part, bytes)][-1]
    assert b'"kind":"log.pruned"' in said
    with vendor.as_(Actor("tenant", "tests", admin)) as tx:
        last = parse(proofs.get_checkpoint(tx, tenant_id))
        proof = proofs.prove_entry(tx, tenant_id, 400)
        verify_inclusion(leaf_hash(proof.entry), 400, last.size, proof.hashes, last.root)
        assert len(proofs.get_tile(tx, tenant_id, Tile(0, 0, 256))) == 256 * 32
        with pytest.raises(NotFound, match="were pruned"):
            proofs.get_tile(tx, tenant_id, Tile(None, 0, 256))


def test_what_is_young_or_rested_on_is_not_pruned(vendor: Vendor, tmp_path: Path) -> None:
    tenant_id, _ = aged(vendor)
    with pytest.raises(sa.exc.DatabaseError) as refused:  # the database's own word
        prune_due(vendor.database, Retention(("person.signed_in",), timedelta(days=90)))
    assert isinstance(refused.value.orig, psycopg.errors.RaiseException)
    with pytest.raises(sa.exc.DBAPIError), vendor.as_(system("tests")) as tx:
        tx.session.execute(sa.text("DELETE FROM audit_entry"))
    assert len(parse_bundle(vendor.export(tenant_id)).entries) > 600
    file = tmp_path / "retention.toml"
    for text in (
        'days = 90\nkinds = ["person.signed_in"]',
        'days = 365\nkinds = ["grant.approved"]',
        'days = 365\nkinds = ["person.dreamt"]',
        "days = 365",
    ):
        file.write_text(f"[connections]\n{text}\n")
        with pytest.raises(SettingsError):
            load_retention(file)
