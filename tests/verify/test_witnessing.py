"""Witnesses cosign the root log as it grows, and never a second face of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from broker.audit.bundle import build_bundle, parse_bundle
from broker.audit.cosigning import WitnessKey, cosign, verify_cosignature
from broker.audit.merkle import leaf_hash, root
from broker.audit.note import Checkpoint, VerifierKey, checkpoint_text, sign_note
from broker.audit.root_log import root_origin
from broker.audit.verify import Others, verify_bundle
from broker.audit.witnessing import Witness, ask_all, cosign_root, parse_witness
from broker.cli.trust import find_cosigner, pin_cosigner
from broker.entries import encode_base64
from broker.errors import Conflict, SettingsError, VerificationFailed
from broker.keys import LOG_KEY
from broker.keys.ml_dsa import MlDsaKey
from tests.audit.signing import SigningKey
from tests.verify.standalone import standalone, verdict, with_root
from tests.verify.test_root_log import age, sealed
from tests.verify.vendor import Vendor
from tests.verify.witness import SmallWitness, running

WITNESS = SigningKey("witness.example/w1")


def test_a_cosignature_holds_for_its_note_and_instant_alone() -> None:
    key = WitnessKey(WITNESS.name, WITNESS.public)
    assert WitnessKey.parse(key.format()) == key
    note = SigningKey("broker.example/root").checkpoint(3, root([leaf_hash(b"x")] * 3))
    text = note.rpartition("\n\n")[0] + "\n"
    line = cosign(text, key, 1_770_000_000, WITNESS.sign)
    assert verify_cosignature(note + line, key) == 1_770_000_000
    later = cosign(text, key, 1_770_000_001, lambda m: WITNESS.sign(m.replace(b"1\n", b"0\n", 1)))
    other = note.replace("\n3\n", "\n4\n")
    for wrong in (note, note + later, other + line):
        with pytest.raises(VerificationFailed):
            verify_cosignature(wrong, key)


def test_a_cosignature_of_ml_dsa_44_holds_for_both_and_for_its_name_and_note_alone() -> None:
    private = MLDSA44PrivateKey.generate()
    key = WitnessKey("witness.example/pq", private.public_key().public_bytes_raw())
    assert WitnessKey.parse(key.format()) == key
    note = SigningKey("broker.example/root").checkpoint(3, root([leaf_hash(b"x")] * 3))
    text = note.rpartition("\n\n")[0] + "\n"
    line = cosign(text, key, 1_770_000_000, private.sign)
    assert verify_cosignature(note + line, key) == 1_770_000_000
    assert with_root.check_cosignature(note + line, key.format()) == key.name
    other = WitnessKey("witness.example/other", key.public)
    posing = cosign(text, other, 1_770_000_000, lambda _: private.sign(b"something else"))
    spoilt = [
        (note, key),
        (note.replace("\n3\n", "\n4\n") + line, key),
        (note + line.replace(key.name, other.name), other),
        (note + posing, other),
    ]
    for changed, by in spoilt:
        with pytest.raises(VerificationFailed):
            verify_cosignature(changed, by)
        with pytest.raises(standalone.Refused):
            with_root.check_cosignature(changed, by.format())


@pytest.mark.parametrize(
    "text",
    [
        "https://w.example nonsense",
        f"http://w.example {WitnessKey(WITNESS.name, WITNESS.public).format()}",
        f"https://w.example {WITNESS.verifier.format()}",  # a log's key is no witness's
        f"https://w.example w+00000000+{encode_base64(bytes([4]) + WITNESS.public)}",
    ],
    ids=["no key", "no https", "a log's key", "another number"],  # the key is new in each process
)
def test_a_witness_is_named_by_https_and_its_own_key(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_witness(text)


def test_a_witness_follows_the_root_log_and_a_bundle_shows_it(vendor: Vendor) -> None:
    tenant_id, _ = vendor.enrol()
    sealed(vendor)
    origin = root_origin(vendor.origin(None))
    public = vendor.keys.public(LOG_KEY)
    with running(SmallWitness(VerifierKey(origin, public))) as small:
        witness = Witness(small.url, small.key)
        assert ask_all(vendor.database, [witness]) == 1
        assert ask_all(vendor.database, [witness]) == 0  # nothing new: it is left in peace
        assert small.asked == 1
        for _ in range(3):
            age(vendor)
            sealed(vendor)
        assert ask_all(vendor.database, [witness]) == 1  # from one to four, by a proof
        data = vendor.export(tenant_id)
        pinned = vendor.pinned(tenant_id)
        assert verdict(data, pinned)
        report = verify_bundle(data, pinned, others=Others([small.key]))
        assert report.ok, report.findings
        assert any("cosigned the root log" in finding.text for finding in report.findings)
        assert not verify_bundle(data, pinned, others=Others([_stranger()])).ok
        cosigned = parse_bundle(data).place
        assert cosigned is not None
        note, check = cosigned.checkpoint, with_root.check_cosignature
        assert check(note, small.key.format()) == small.key.name
        for spoilt, key in [(note, _stranger()), (note.replace("\n4\n", "\n5\n"), small.key)]:
            with pytest.raises(standalone.Refused):
                check(spoilt, key.format())
        bare = replace(parse_bundle(data), place=None)
        assert not verify_bundle(build_bundle(bare), pinned, others=Others([small.key])).ok

        forget(vendor)  # a restored control database knows nothing of the witness
        assert small.last is not None
        age(vendor)
        sealed(vendor)
        assert ask_all(vendor.database, [witness]) == 1  # its 409 said where it stands

        fork = checkpoint_text(Checkpoint(origin, small.last.size, b"\1" * 32))
        small.last = Checkpoint(origin, 2, b"\1" * 32)  # it saw another face of the log
        age(vendor)
        sealed(vendor)
        assert ask_all(vendor.database, [witness]) == 0
        note = sign_note(fork, origin, public, lambda m: vendor.keys.sign(LOG_KEY, m))
        assert small.add_checkpoint(f"old 2\n\n{note}")[0] == 422
    assert ask_all(vendor.database, [witness]) == 0  # away: nothing is held up


def test_the_broker_cosigns_its_root_log_with_ml_dsa(vendor: Vendor, tmp_path: Path) -> None:
    """Once a reader has pinned that key, a bundle without its line does not pass."""
    tenant_id, _ = vendor.enrol()
    sealed(vendor)
    folder = tmp_path / "keyring"
    with pytest.raises(SettingsError, match="broker keyring ml-dsa"):
        MlDsaKey(folder)
    cosigner, origin = MlDsaKey.create(folder), root_origin(vendor.origin(None))
    key = WitnessKey(origin, cosigner.public())
    pin_cosigner(tmp_path, origin, key.format(), replace=False)
    with pytest.raises(Conflict):
        pin_cosigner(tmp_path, origin, _stranger().format(), replace=False)
    pinned, mine = vendor.pinned(tenant_id), Others(find_cosigner(tmp_path, origin))
    assert not verify_bundle(vendor.export(tenant_id), pinned, others=mine).ok
    assert cosign_root(vendor.database, MlDsaKey(folder)) == 1
    assert cosign_root(vendor.database, cosigner) == 0
    data = vendor.export(tenant_id)
    assert verify_bundle(data, pinned, others=mine).ok
    place = parse_bundle(data).place
    assert place is not None
    assert with_root.check_cosignature(place.checkpoint, key.format()) == origin
    assert verdict(data, pinned)  # nor does it trouble who pinned nothing


def _stranger() -> WitnessKey:
    return WitnessKey("other.example/w", SigningKey("x").public)


def forget(vendor: Vendor) -> None:
    with vendor.superuser() as connection:
        connection.execute("DELETE FROM root_cosignature")
