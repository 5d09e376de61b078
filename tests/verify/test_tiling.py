"""Stored tiles: proofs of a real log hold with them, without them, and across every checkpoint."""

from __future__ import annotations

import itertools

import psycopg
import pytest
import sqlalchemy as sa

from broker import trail
from broker.audit import proofs
from broker.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from broker.audit.note import Checkpoint, parse_checkpoint
from broker.audit.tiles import WIDTH, Tile
from broker.entries import decode_base64
from broker.errors import NotFound
from broker.ids import PersonId, TenantId
from broker.tx import Actor, system
from tests.verify.vendor import Vendor

SIZES = (7, 255, 256, 300, 515)


def grow(vendor: Vendor, tenant_id: TenantId, size: int) -> None:
    """Up to `size` entries, then a checkpoint."""
    with vendor.as_(system("tests")) as tx:
        query = sa.select(sa.func.count()).select_from(trail.AuditEntry).join(trail.AuditLog)
        have = tx.session.scalar(query.where(trail.AuditLog.tenant_id == tenant_id)) or 0
        trail.record_all(tx, [(tenant_id, tenant_id)] * (size - have), "tenant.enrolled")
    vendor.integrate()


@pytest.mark.long
def test_every_proof_of_a_grown_log_holds_also_where_its_tiles_are_lost(vendor: Vendor) -> None:
    tenant_id, person_id = vendor.enrol()
    for size in SIZES:
        grow(vendor, tenant_id, size)
    check(vendor, tenant_id, person_id)
    with vendor.superuser() as connection:
        assert connection.execute("SELECT count(*) FROM audit_tile").fetchone() == (2,)
        connection.execute("DELETE FROM audit_tile WHERE number = 1")
    check(vendor, tenant_id, person_id)
    grow(vendor, tenant_id, 520)
    with vendor.superuser() as connection:
        assert connection.execute("SELECT count(*) FROM audit_tile").fetchone() == (2,)


def check(vendor: Vendor, tenant_id: TenantId, person_id: PersonId) -> None:
    with vendor.as_(Actor("tenant", "tests", person_id)) as tx:
        last = parse(proofs.get_checkpoint(tx, tenant_id))
        assert last.size == SIZES[-1]
        for index in (0, 6, 255, 256, 511, 512, 514):
            proof = proofs.prove_entry(tx, tenant_id, index)
            verify_inclusion(leaf_hash(proof.entry), index, last.size, proof.hashes, last.root)
        for old, new in itertools.combinations(SIZES, 2):
            was, now = (parse(proofs.get_checkpoint(tx, tenant_id, size)) for size in (old, new))
            told = proofs.prove_consistency(tx, tenant_id, old, new)
            hashes = [decode_base64(text) for text in told.hashes]
            verify_consistency(old, was.root, new, now.root, hashes)


def parse(note: str) -> Checkpoint:
    return parse_checkpoint(note.rpartition("\n\n")[0] + "\n")


def test_a_tile_is_served_as_far_as_it_is_signed_and_never_changed(vendor: Vendor) -> None:
    tenant_id, person_id = vendor.enrol()
    grow(vendor, tenant_id, 260)
    with vendor.as_(Actor("tenant", "tests", person_id)) as tx:
        entries = proofs.get_tile(tx, tenant_id, Tile(None, 1, 4))
        hashes = proofs.get_tile(tx, tenant_id, Tile(0, 1, 4))
        first = entries[2 : 2 + int.from_bytes(entries[:2], "big")]
        assert leaf_hash(first) == hashes[:32]
        assert len(proofs.get_tile(tx, tenant_id, Tile(0, 0, WIDTH))) == 32 * WIDTH
        assert len(proofs.get_tile(tx, tenant_id, Tile(1, 0, 1))) == 32
        for beyond in (Tile(0, 1, 5), Tile(None, 1, 5), Tile(1, 0, 2), Tile(0, 1, WIDTH)):
            with pytest.raises(NotFound):
                proofs.get_tile(tx, tenant_id, beyond)
        for change in ("UPDATE audit_tile SET number = 7", "DELETE FROM audit_tile"):
            with pytest.raises(sa.exc.ProgrammingError) as refused, tx.session.begin_nested():
                tx.session.execute(sa.text(change))
            assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)
