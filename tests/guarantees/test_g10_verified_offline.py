"""G10. A customer can verify their log and every certificate offline, without trusting this
database or this company's word.

The verifier's own tests are in tests/audit/; issue E deepens it. Here: what a whole story exports.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from broker.audit.bundle import Pruned, build_bundle, parse_bundle
from broker.audit.certified import statements_key_name
from broker.audit.integrate import LogForked, integrate_all
from broker.audit.merkle import Frontier, leaf_hash
from broker.audit.note import Checkpoint, VerifierKey, checkpoint_text, sign_note
from broker.audit.verify import Others, verify_bundle, verify_certificate
from broker.keys import LOG_KEY, STATEMENTS_KEY
from broker.keys.keyring import Keyring
from broker.snapshots.stamping import stamp_certificates
from broker.tx import system
from tests.stories import control_superuser, exported, pinned, ready_copy
from tests.verify.tsa import SmallTsa, running
from tests.world import World


@pytest.fixture
def bundle(world: World) -> bytes:
    """The log of a tenant whose copy was made and destroyed."""
    grant_id, snapshot_id = ready_copy(world)
    world.close_ticket(world.grant(grant_id).ticket_id)
    world.work()
    assert world.snapshot(snapshot_id).state == "destroyed"
    return exported(world)


def test_a_bundle_verifies_with_the_pinned_keys_and_not_with_one_byte_changed(
    world: World, bundle: bytes
) -> None:
    keys = pinned(world)
    report = verify_bundle(bundle, keys)
    assert report.ok, [finding.text for finding in report.findings if not finding.ok]
    assert (report.summary.open_grants, report.summary.living_copies) == ((), ())
    assert len(report.summary.certificates) == 1
    assert not verify_bundle(bundle, []).ok  # the bundle's own word for its keys is no word
    for place in range(0, len(bundle), max(1, len(bundle) // 200)):
        changed = bytearray(bundle)
        changed[place] ^= 1
        assert not verify_bundle(bytes(changed), keys).ok, f"byte {place} may be changed"


def test_a_certificate_verifies_alone_and_not_with_one_byte_changed(
    world: World, bundle: bytes
) -> None:
    (envelope,) = parse_bundle(bundle).certificates
    keys = pinned(world)
    report = verify_certificate(envelope, keys)
    assert report.ok
    assert report.statement is not None
    for place in range(0, len(envelope), max(1, len(envelope) // 200)):
        changed = bytearray(envelope)
        changed[place] ^= 1
        assert not verify_certificate(bytes(changed), keys).ok, f"byte {place} may be changed"


def test_a_certificate_is_stamped_by_a_third_party_and_the_log_names_the_stamp(
    world: World, bundle: bytes, tmp_path: Path
) -> None:
    (envelope,) = parse_bundle(bundle).certificates
    with running(SmallTsa(tmp_path / "tsa")) as tsa:
        assert stamp_certificates(world.broker.database, tsa.client) == 1
        assert stamp_certificates(world.broker.database, tsa.client) == 0
    stamped = exported(world)
    assert envelope in parse_bundle(stamped).stamps
    report = verify_bundle(stamped, pinned(world), others=Others(tsa_roots=[tsa.root]))
    assert report.ok, [finding.text for finding in report.findings if not finding.ok]
    assert any("says CN=Authority of tests" in finding.text for finding in report.findings)
    withheld = dataclasses.replace(parse_bundle(stamped), stamps={})
    assert not verify_bundle(build_bundle(withheld), pinned(world)).ok


def forge(
    bundle: bytes, keyring: Keyring, entries: Sequence[bytes | Pruned]
) -> tuple[bytes, VerifierKey]:
    """Another history under the same name, whole in itself, signed by keys of the forger's own."""
    true = parse_bundle(bundle)
    frontier = Frontier()
    for entry in entries:
        assert isinstance(entry, bytes)
        frontier.append(leaf_hash(entry))
    note = sign_note(
        checkpoint_text(Checkpoint(true.origin, frontier.size, frontier.root())),
        true.origin,
        keyring.public(LOG_KEY),
        lambda message: keyring.sign(LOG_KEY, message),
    )
    keys = (
        VerifierKey(true.origin, keyring.public(LOG_KEY)),
        VerifierKey(statements_key_name(true.origin), keyring.public(STATEMENTS_KEY)),
    )
    kept = tuple(opening for opening in true.openings if opening.index < len(entries))
    forged = dataclasses.replace(
        true,
        entries=tuple(entries),
        openings=kept,
        checkpoints=(note,),
        keys=tuple(key.format() for key in keys),
        certificates=(),
    )
    return build_bundle(forged), keys[0]


def test_a_fork_that_is_signed_with_fresh_keys_is_refused(
    world: World, bundle: bytes, tmp_path: Path
) -> None:
    keyring = Keyring.create_folder(tmp_path / "forger")
    forged, their_key = forge(bundle, keyring, parse_bundle(bundle).entries[:3])
    assert verify_bundle(forged, [their_key]).authenticated  # it is well made
    report = verify_bundle(forged, pinned(world))
    assert not report.ok
    assert not report.authenticated


def test_a_shorter_history_is_refused_by_whoever_kept_a_checkpoint(
    world: World, bundle: bytes
) -> None:
    kept = parse_bundle(bundle).checkpoints[-1]
    older, _ = forge(bundle, world.ports.keys, parse_bundle(bundle).entries[:3])  # type: ignore[arg-type]  # the vendor itself
    assert not verify_bundle(older, pinned(world), [kept]).ok
    assert verify_bundle(exported(world), pinned(world), [kept]).ok


def test_nothing_is_signed_for_a_control_database_whose_history_was_rewritten(
    world: World, bundle: bytes
) -> None:
    """A superuser edits an entry and its hash; the signer keeps its own frontier."""
    with control_superuser(world) as connection:
        log = connection.execute(
            "SELECT id, size FROM audit_log WHERE tenant_id = %s", [world.tenant]
        ).fetchone()
        assert log is not None
        connection.execute(
            "UPDATE audit_entry SET idx = NULL, leaf_hash = NULL WHERE log_id = %s", [log[0]]
        )
        connection.execute(
            "DELETE FROM audit_opening WHERE entry_id IN (SELECT min(id) FROM audit_entry"
            " WHERE log_id = %s)",
            [log[0]],
        )
        connection.execute(
            "DELETE FROM audit_entry WHERE id ="
            " (SELECT min(id) FROM audit_entry WHERE log_id = %s)",
            [log[0]],
        )
        connection.execute("UPDATE audit_log SET size = 0, frontier = '{}' WHERE id = %s", [log[0]])
    with pytest.raises(LogForked):
        integrate_all(world.broker.database, world.ports.keys)
    with world.as_(system("tests")) as tx:
        signed = tx.session.scalar(
            sa.text("SELECT max(size) FROM audit_checkpoint WHERE log_id = :log"), {"log": log[0]}
        )
    assert signed == log[1]
