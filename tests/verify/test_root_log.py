"""The root log: a bundle proves its place in it to both verifiers, and tells nothing of others."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from broker import trail
from broker.audit import epochs, merkle
from broker.audit.bundle import Bundle, build_bundle, parse_bundle
from broker.audit.note import Checkpoint, checkpoint_text, sign_note
from broker.audit.root_log import SLOTS, EpochTree, Place, Taken, root_origin, slot_leaf, text_of
from broker.audit.verify import Others, verify_bundle
from broker.cli import trust
from broker.entries import EntryDraft, build_entry, encode_base64
from broker.errors import Conflict
from broker.ids import TenantId
from broker.keys import LOG_KEY
from broker.tx import system
from tests.audit.signing import SigningKey
from tests.audit.world import AT, Log
from tests.verify.standalone import standalone, verdict, with_root
from tests.verify.vendor import Vendor

BLIND = b"b" * 32


def placed(log: Log, *, slot: int = 77, said: int = 77, epoch: int = 2) -> Bundle:
    """The log's bundle with its place in the last of three epochs."""
    log.record("slot.assigned", "log_a", facts={"slot": said, "slots": SLOTS})
    log.sign()
    root_key = SigningKey(root_origin(log.origin), log.log_key.private)
    tree = EpochTree(epoch, b"d" * 32, [Taken(slot, BLIND, log.notes[-1])])
    facts = {"epoch": epoch, "slots": SLOTS, "root": encode_base64(tree.root)}
    draft = EntryDraft(
        "epoch.sealed", AT, root_key.name, {"side": "system", "via": "x"}, "epoch-2", facts
    )
    entry, _ = build_entry(draft)
    leaves = [merkle.leaf_hash(b"0"), merkle.leaf_hash(b"1"), merkle.leaf_hash(entry)]
    place = Place(
        slot=slot,
        blind=BLIND,
        size=len(log.entries),
        hashes=tree.prove(slot),
        entry=entry,
        proof=tuple(merkle.inclusion_proof(leaves, 2, 3)),
        checkpoint=root_key.checkpoint(3, merkle.root(leaves)),
    )
    return replace(log.bundle(), place=place)


def test_a_place_holds_for_both_and_for_its_own_slot_alone() -> None:
    log = Log()
    bundle = placed(log)
    data = build_bundle(bundle)
    assert parse_bundle(data) == bundle
    assert verdict(data, log.trusted)
    assert not verdict(data, ())
    texts = [finding.text for finding in verify_bundle(data, log.trusted).findings]
    assert "Its 1 entries stand in slot 77 of the root log's epoch 2." in texts
    other = Log()
    assert not verdict(build_bundle(placed(other, said=78)), other.trusted)
    assert bundle.place is not None
    for changes in (
        {"slot": 78},
        {"blind": b"c" * 32},
        {"size": 2},
        {"hashes": bundle.place.hashes[:-1]},
        {"proof": ()},
        {"checkpoint": log.notes[-1]},
        {"entry": log.entries[0]},
    ):
        changed = replace(bundle, place=replace(bundle.place, **changes))
        assert not verdict(build_bundle(changed), log.trusted), changes


def test_no_byte_of_a_place_can_be_another() -> None:
    log, choice = Log(), random.Random(23)  # noqa: S311  # a repeatable test, no secret
    data = build_bundle(placed(log))
    start = data.index(b'{"blind":')
    for at in range(start, len(data), 9):
        other = choice.choice([byte for byte in b'AB01+/="{},:\n' if byte != data[at]])
        assert not verdict(data[:at] + bytes([other]) + data[at + 1 :], log.trusted), at


def test_the_short_verifier_says_that_it_does_not_look_at_the_place() -> None:
    log = Log()
    keys = [standalone.read_key(key.format()) for key in log.trusted]
    report = standalone.verify_bundle(io.BytesIO(build_bundle(placed(log))), keys)
    assert report.ok
    assert any("verify_root.py" in text for _, text in report.findings)


def test_an_epoch_shows_of_the_others_neither_number_nor_silence() -> None:
    """Every leaf is another in the next epoch, used or not; every proof has one length."""
    log = Log()
    log.sign()
    alone = EpochTree(1, b"d" * 32, [Taken(5, BLIND, log.notes[0])])
    among = EpochTree(1, b"d" * 32, [Taken(n, bytes([n]) * 32, log.notes[0]) for n in range(5, 90)])
    assert len(alone.prove(5)) == len(among.prove(5)) == 14
    text = text_of(log.notes[0])
    assert slot_leaf(5, 1, BLIND, text) != slot_leaf(5, 2, BLIND, text)
    later = EpochTree(2, b"d" * 32, [Taken(5, BLIND, log.notes[0])])
    assert not set(alone.prove(5)) & set(later.prove(5))


def sealed(vendor: Vendor) -> None:
    vendor.integrate()
    assert epochs.seal_due(vendor.database, 1)
    vendor.integrate()


def test_a_bundle_proves_its_place_and_a_fork_of_its_log_has_none(vendor: Vendor) -> None:
    mine, other = vendor.enrol()[0], vendor.enrol()[0]
    sealed(vendor)
    assert not epochs.seal_due(vendor.database, 3600)
    age(vendor)
    sealed(vendor)
    data = vendor.export(mine)
    bundle = parse_bundle(data)
    assert bundle.place is not None
    assert verdict(data, vendor.pinned(mine))
    for secret in (other, vendor.origin(other)):
        assert secret.encode() not in data
    place = parse_bundle(vendor.export(other)).place
    assert place is not None
    assert (place.slot, place.blind) != (bundle.place.slot, bundle.place.blind)
    swapped = replace(bundle, place=place)
    assert not verdict(build_bundle(swapped), vendor.pinned(mine))
    assert not verdict(build_bundle(forked(vendor, mine, bundle)), vendor.pinned(mine))


def age(vendor: Vendor) -> None:
    with vendor.superuser() as connection:
        connection.execute("UPDATE root_epoch SET at = at - %s", [timedelta(hours=2)])


def forked(vendor: Vendor, tenant_id: TenantId, bundle: Bundle) -> Bundle:
    """Another past of the same log, signed by the vendor's own key, with the true place."""
    entries = [
        entry.replace(b'"kind":"admin.enrolled"', b'"kind":"member.added"')
        for entry in bundle.entries
    ]
    assert entries != list(bundle.entries)
    notes = []
    for note in bundle.checkpoints:
        size = int(note.split("\n")[1])
        leaves = [merkle.leaf_hash(entry) for entry in entries[:size]]
        text = checkpoint_text(Checkpoint(bundle.origin, size, merkle.root(leaves)))
        public = vendor.keys.public(LOG_KEY)
        notes.append(sign_note(text, bundle.origin, public, lambda m: vendor.keys.sign(LOG_KEY, m)))
    fork = replace(bundle, entries=tuple(entries), checkpoints=tuple(notes))
    alone = replace(fork, place=None)
    assert verdict(build_bundle(alone), vendor.pinned(tenant_id))  # nothing else shows it
    return fork


def test_a_slot_is_given_once(vendor: Vendor) -> None:
    vendor.enrol()
    sealed(vendor)
    with vendor.as_(system("tests")) as tx:
        log = tx.session.scalars(sa.select(trail.AuditLog).where(~trail.AuditLog.root)).first()
        assert log is not None
        log.slot = SLOTS - 1 if log.slot != SLOTS - 1 else 0
        with pytest.raises(sa.exc.DatabaseError) as refused:
            tx.session.flush()
        assert isinstance(refused.value.orig, psycopg.errors.RaiseException)
        tx.session.rollback()


def test_more_logs_than_slots_are_told(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor.enrol()
    monkeypatch.setattr(epochs, "SLOTS", 1)
    with pytest.raises(Conflict, match="more logs than that"):
        epochs.seal_due(vendor.database, 1)


def test_a_slot_is_told_at_enrolment_and_another_one_is_a_fork(
    vendor: Vendor, tmp_path: Path
) -> None:
    tenant_id, _ = vendor.enrol()
    with vendor.as_(vendor.operator) as tx:
        told = epochs.give_slot(tx, tenant_id)
        assert epochs.give_slot(tx, tenant_id) == told == epochs.find_slot(tx, tenant_id)
    sealed(vendor)
    data, pinned = vendor.export(tenant_id), vendor.pinned(tenant_id)
    place = parse_bundle(data).place
    assert place is not None
    assert place.slot == told.number
    right, wrong = (told.number, told.digest), (told.number, "0" * 64)
    assert verify_bundle(data, pinned, others=Others(slot=right)).ok
    assert not verify_bundle(data, pinned, others=Others(slot=wrong)).ok
    bundle, keys = tmp_path / "bundle", tmp_path / "keys"
    bundle.write_bytes(data)
    keys.write_text("".join(f"{key.format()}\n" for key in pinned))
    command = [str(bundle), "--key", str(keys), "--slot"]
    assert with_root.main([*command, f"{right[0]}:{right[1]}"]) == 0
    assert with_root.main([*command, f"{wrong[0]}:{wrong[1]}"]) == 9


def test_a_pinned_slot_is_never_another(tmp_path: Path) -> None:
    digest = "ab" * 32
    assert trust.find_slot(tmp_path, "a.example/log/1") is None
    for _ in range(2):
        trust.pin_slot(tmp_path, "a.example/log/1", (7, digest))
    assert trust.find_slot(tmp_path, "a.example/log/1") == (7, digest)
    for other in ((8, digest), (7, "cd" * 32)):
        with pytest.raises(Conflict, match="this is a fork"):
            trust.pin_slot(tmp_path, "a.example/log/1", other)
