"""What the offline verifier says of a good bundle, and that it refuses every forged one (G10)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.audit.bundle import build_bundle, parse_bundle
from broker.audit.note import VerifierKey
from broker.audit.verify import (
    Report,
    load_trusted,
    statements_key_name,
    verify_bundle,
    verify_certificate,
)
from broker.entries import Json, canonical, parse_canonical
from broker.errors import Invalid
from tests.audit.signing import SigningKey
from tests.audit.world import ORIGIN, Log, small_log

OTHER_VALUES: list[Json] = [None, True, 0, -1, 2**53 - 1, "", "A" * 43 + "=", "\x1b[2J"]
OTHER_VALUES += [[], [[]], {}, {"a": []}]


def refused(report: Report, text: str) -> bool:
    """Whether the report is bad, and for the reason that `text` names."""
    faults = [finding.text for finding in report.findings if not finding.ok]
    assert any(text in fault for fault in faults), faults
    return not report.ok


def test_a_true_bundle_is_verified_with_keys_from_outside() -> None:
    log = small_log()
    report = verify_bundle(log.export(), log.trusted)
    assert report.ok, report.findings
    assert report.authenticated
    assert report.summary.origin == ORIGIN
    assert report.summary.entries == 5
    assert report.summary.last_checkpoint is not None
    assert report.summary.last_checkpoint.size == 5
    assert report.summary.open_grants == report.summary.living_copies == ()
    assert report.summary.certificates == ("crt_a",)
    assert report.summary.first_at is not None
    assert report.summary.last_at is not None
    assert report.summary.first_at < report.summary.last_at
    texts = [finding.text for finding in report.findings]
    assert "Certificate crt_a for copy snp_a is signed and in the log." in texts
    assert "1 of 1 personal fields are opened here, and hold." in texts


def test_what_is_still_open_is_listed_and_is_no_fault() -> None:
    log = Log()
    log.record("grant.approved", "grt_a")
    log.record("grant.approved", "grt_b")
    log.record("grant.ended", "grt_a")
    log.record("snapshot.ordered", "snp_a")
    log.sign()
    report = verify_bundle(log.export(), log.trusted)
    assert report.ok
    assert report.summary.open_grants == ("grt_b",)
    assert report.summary.living_copies == ("snp_a",)
    assert "Copy snp_a is still alive." in [finding.text for finding in report.findings]


@pytest.mark.long
def test_every_changed_byte_of_a_bundle_is_caught() -> None:
    """tests/verify holds both verifiers to the same with every `make test`, on samples."""
    log = small_log()
    data = log.export()
    for place in range(len(data)):
        for bit in (1, 0x20):
            changed = bytearray(data)
            changed[place] ^= bit
            assert not verify_bundle(bytes(changed), log.trusted).ok, data[place - 20 : place + 20]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_stands_in_a_bundle_the_verifier_answers_and_does_not_fail(
    data: st.DataObject,
) -> None:
    """A value anywhere in the document is replaced; also in an entry that the log then signs."""
    log = small_log()
    index = data.draw(st.integers(0, 4))
    entry: Json = dict(parse_canonical(log.entries[index]))
    lines = log.export().splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    document: Json = dict(parse_canonical(lines[number], max_bytes=None))
    lines[number] = canonical(replaced_somewhere(data, document), max_bytes=None)
    verify_bundle(b"".join(line + b"\n" for line in lines), log.trusted)
    log.entries[index] = canonical(replaced_somewhere(data, entry))
    log.notes.clear()
    log.sign()
    verify_bundle(log.export(), log.trusted)


def replaced_somewhere(data: st.DataObject, value: Json) -> Json:
    """A copy of `value` in which one part, drawn at random, is something else."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 4)):
        key = data.draw(st.sampled_from(sorted(value)))
        return value | {key: replaced_somewhere(data, value[key])}
    if isinstance(value, list) and value and data.draw(st.integers(0, 4)):
        place = data.draw(st.integers(0, len(value) - 1))
        return [*value[:place], replaced_somewhere(data, value[place]), *value[place + 1 :]]
    return data.draw(st.sampled_from(OTHER_VALUES))


def test_every_shortened_bundle_is_malformed() -> None:
    log = small_log()
    data = log.export()
    for length in range(len(data)):
        assert refused(verify_bundle(data[:length], log.trusted), "malformed")


def test_a_whole_bundle_forged_with_fresh_keys_is_refused() -> None:
    """It is perfect in itself; only the keys from outside show that it is not ours."""
    log, forged = small_log(), small_log()
    assert verify_bundle(forged.export(), forged.trusted).ok
    report = verify_bundle(forged.export(), log.trusted)
    assert refused(report, "no given key has signed this note")
    assert not report.authenticated


def test_without_keys_from_outside_a_bundle_is_self_consistent_and_no_more() -> None:
    log = small_log()
    for trusted in ([], [SigningKey("another.example/log/log_a").verifier]):
        report = verify_bundle(log.export(), trusted)
        assert refused(report, "Self-consistent, not authenticated: no key broker.example/log")
        assert not report.authenticated
        assert sum(not finding.ok for finding in report.findings) == 1


def test_the_logs_key_alone_does_not_authenticate_certificates() -> None:
    log = small_log()
    report = verify_bundle(log.export(), [log.log_key.verifier])
    assert refused(report, "not authenticated: no key broker.example/statements")
    assert not report.authenticated


def test_a_key_of_another_log_does_not_sign_for_this_one() -> None:
    """Two tenants' keys in one trust file: neither speaks for the other's log."""
    log = small_log()
    other = SigningKey("broker.example/log/log_b")
    log.notes[-1] = other.checkpoint(5, b"r" * 32, ORIGIN)
    trusted = [*log.trusted, other.verifier]
    assert refused(verify_bundle(log.export(), trusted), "no given key has signed")
    log.notes[-1] = log.log_key.checkpoint(5, b"r" * 32, "broker.example/log/log_b")
    assert refused(verify_bundle(log.export(), trusted), "it is of another log")


@pytest.mark.parametrize("index", range(5))
def test_a_removed_entry_is_noticed(index: int) -> None:
    log = small_log()
    del log.entries[index]
    assert refused(verify_bundle(log.export(), log.trusted), "not those that were signed")


@pytest.mark.parametrize("index", range(4))
def test_swapped_entries_are_noticed(index: int) -> None:
    log = small_log()
    log.entries[index : index + 2] = reversed(log.entries[index : index + 2])
    assert refused(verify_bundle(log.export(), log.trusted), "not those that were signed")


def test_a_replayed_entry_is_noticed() -> None:
    log = small_log()
    log.entries.append(log.entries[0])
    report = verify_bundle(log.export(), log.trusted)
    assert refused(report, "Entries from number 5 on are not yet covered")
    assert refused(report, "a second grant.approved of grt_a")
    log.sign()  # even when the broker itself had signed it
    assert refused(verify_bundle(log.export(), log.trusted), "a second grant.approved of grt_a")


def test_a_grant_that_comes_back_after_its_end_is_noticed() -> None:
    log = Log()
    log.record("grant.ended", "grt_a")
    log.record("grant.approved", "grt_a")
    log.sign()
    assert refused(verify_bundle(log.export(), log.trusted), "a second grant.approved of grt_a")


def test_a_checkpoint_of_more_entries_than_there_are_is_refused() -> None:
    """Also when it carries the root of those that are there."""
    log = small_log()
    checkpoint = verify_bundle(log.export(), log.trusted).summary.last_checkpoint
    assert checkpoint is not None
    log.notes[-1] = log.log_key.checkpoint(6, checkpoint.root)
    assert refused(verify_bundle(log.export(), log.trusted), "first 6 entries are not those")


def test_a_copy_that_is_destroyed_or_made_twice_is_noticed() -> None:
    for kind in ("snapshot.ordered", "snapshot.destroyed"):
        log = small_log()
        log.record(kind, "snp_a")
        log.sign()
        assert refused(verify_bundle(log.export(), log.trusted), f"a second {kind} of snp_a")


def test_an_end_without_a_beginning_is_no_fault() -> None:
    """The beginning may stand in last year's log."""
    log = Log()
    log.record("grant.ended", "grt_a")
    log.sign()
    assert verify_bundle(log.export(), log.trusted).ok


def test_entries_that_no_checkpoint_covers_are_refused() -> None:
    log = small_log()
    log.record("grant.approved", "grt_b")
    report = verify_bundle(log.export(), log.trusted)
    assert refused(report, "not yet covered")
    assert refused(
        verify_bundle(log.export(checkpoints=()), log.trusted), "nothing in it is signed"
    )


def test_a_truncated_log_is_noticed_by_who_kept_a_checkpoint() -> None:
    """By itself an older export verifies: it is true, only old."""
    log = small_log()
    kept = log.notes[1]
    older = log.export(entries=tuple(log.entries[:2]), checkpoints=(log.notes[0],), certificates=())
    assert verify_bundle(older, log.trusted).ok
    assert refused(verify_bundle(older, log.trusted, [kept]), "its past was cut or rewritten")
    log.record("grant.approved", "grt_b")
    log.sign()
    assert verify_bundle(log.export(), log.trusted, [kept, log.notes[0]]).ok


def test_a_rewritten_log_is_noticed_by_who_kept_a_checkpoint() -> None:
    """The broker's own key signs the fork; nothing inside it is wrong."""
    log = small_log()
    fork = Log(log_key=log.log_key, statements_key=log.statements_key)
    for number in range(6):
        fork.record("grant.ended", f"grt_{number}")
    fork.sign()
    assert verify_bundle(fork.export(), log.trusted).ok
    report = verify_bundle(fork.export(), log.trusted, [log.notes[1]])
    assert refused(report, "its past was cut or rewritten")


def test_a_kept_checkpoint_that_no_trusted_key_signed_is_not_believed() -> None:
    log = small_log()
    stranger = SigningKey(ORIGIN).checkpoint(5, b"r" * 32)
    assert refused(verify_bundle(log.export(), log.trusted, [stranger]), "Kept checkpoint 1")
    assert refused(verify_bundle(log.export(), [], log.notes), "Kept checkpoint 1")


def test_a_log_that_goes_back_in_time_is_refused() -> None:
    """Transactions overlap, so two minutes are no fault; more is an entry slipped in later."""
    for minutes, ok in [(8.0, True), (7.9, False)]:
        log = Log()
        log.record("grant.ended", "grt_a", 10)
        log.record("grant.ended", "grt_b", 9)
        log.record("grant.ended", "grt_c", minutes)
        log.sign()
        report = verify_bundle(log.export(), log.trusted)
        assert report.ok is ok
        assert ok or refused(report, "Entry 2 is dated 0:02:06 before an earlier entry")


def test_an_entry_of_another_log_is_refused() -> None:
    log, other = Log(), Log(origin="broker.example/log/log_b")
    other.record("grant.ended", "grt_a")
    log.entries = other.entries
    log.sign()
    assert refused(verify_bundle(log.export(), log.trusted), "it is of another log")


def test_an_entry_that_is_no_entry_is_refused() -> None:
    log = Log()
    log.entries = [b'{"v":1}', b"\xff"]
    log.sign()
    report = verify_bundle(log.export(), log.trusted)
    assert refused(report, "Entry 0 does not hold")
    assert refused(report, "Entry 1 does not hold")


def test_checkpoints_stand_by_size_and_each_once() -> None:
    log = small_log()
    for notes in (log.notes[::-1], [*log.notes, log.notes[-1]]):
        report = verify_bundle(log.export(checkpoints=tuple(notes)), log.trusted)
        assert refused(report, "not larger than the one before it")


def test_a_removed_opening_is_erasure_and_no_fault() -> None:
    """G13: the person is gone, the log still verifies."""
    log = small_log()
    report = verify_bundle(log.export(openings=()), log.trusted)
    assert report.ok
    assert "0 of 1 personal fields are opened here" in " ".join(f.text for f in report.findings)


def test_a_changed_opening_is_refused() -> None:
    log = small_log()
    (opening,) = log.openings
    for changed, text in (
        ([replace(opening, value="Zoe")], "not what was committed to"),
        ([replace(opening, value="x" * 70_000)], "not what was committed to"),
        ([replace(opening, salt=bytes(32))], "not what was committed to"),
        ([replace(opening, field="mail")], "opens nothing"),
        ([replace(opening, field="\x1b[2J")], r"'\x1b[2J'"),
        ([replace(opening, index=1)], "opens nothing"),
        ([opening, opening], "stands there twice"),
    ):
        data = log.export(openings=tuple(changed))
        assert refused(verify_bundle(data, log.trusted), text)


def test_a_certificate_swapped_for_another_is_refused() -> None:
    log = small_log()
    other = log.certificate("crt_b", "snp_b")
    report = verify_bundle(log.export(certificates=(other,)), log.trusted)
    assert refused(report, "it is not in the bundle")
    assert refused(report, "has no entry in the log")


def test_a_certificate_that_is_missing_added_or_doubled_is_refused() -> None:
    log = small_log()
    (envelope,) = log.envelopes
    extra = log.certificate("crt_b", "snp_b")
    for certificates, text in (
        ((), "it is not in the bundle"),
        ((envelope, extra), "has no entry in the log"),
        ((envelope, envelope), "stands in the bundle twice"),
    ):
        assert refused(verify_bundle(log.export(certificates=certificates), log.trusted), text)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"certificate": "crt_b"}, "its certificate is not the one"),
        ({"snapshot": "snp_b"}, "its snapshot is not the one"),
        ({"log": "broker.example/log/log_b"}, "it speaks of another log"),
        ({"type": "decision"}, "no certificate of destruction"),
        ({"v": 2}, "no certificate of destruction"),
        ({"snapshot": None}, "is not a string"),
    ],
)
def test_a_certificate_that_says_something_else_than_its_entry_is_refused(
    changes: dict[str, str], text: str
) -> None:
    log = small_log()
    log.record("snapshot.destroyed", "snp_c")
    log.issue(
        "crt_c",
        "snp_c",
        log.certificate(**({"certificate": "crt_c", "snapshot": "snp_c"} | changes)),
    )
    log.sign()
    report = verify_bundle(log.export(), log.trusted)
    assert refused(report, text)
    assert report.summary.certificates == ("crt_a",)


@pytest.mark.parametrize("digest", [None, 5, ["a"], {"a": "b"}, "", "0" * 64])
def test_an_entry_that_names_no_certificate_is_refused(digest: Json) -> None:
    log = Log()
    facts: dict[str, Json] = {"certificate": "crt_b", "snapshot": "snp_a", "digest": digest}
    log.record("certificate.issued", "crt_b", facts=facts)
    log.record("snapshot.destroyed", "snp_a")
    log.issue("crt_a", "snp_a")
    log.sign()
    report = verify_bundle(log.export(), log.trusted)
    assert refused(report, "The certificate of entry 0")
    assert report.summary.certificates == ("crt_a",)


def test_a_certificate_signed_with_another_key_is_refused() -> None:
    for key in (SigningKey("broker.example/statements"), SigningKey(ORIGIN)):
        log = small_log()
        own, log.statements_key = log.statements_key, key
        log.record("snapshot.destroyed", "snp_b")
        log.issue("crt_b", "snp_b")
        log.sign()
        trusted = [log.log_key.verifier, own.verifier]
        assert refused(verify_bundle(log.export(), trusted), "no given key has signed")


def test_a_certificate_for_a_copy_that_the_log_does_not_say_is_destroyed_is_refused() -> None:
    log = small_log()
    log.record("snapshot.ordered", "snp_b")
    log.issue("crt_b", "snp_b")
    log.sign()
    assert refused(verify_bundle(log.export(), log.trusted), "no entry says it was destroyed")


def test_a_certificate_issued_twice_is_refused() -> None:
    log = small_log()
    log.issue("crt_a", "snp_a", log.certificate("crt_a", "snp_a", more="another"))
    log.sign()
    assert refused(verify_bundle(log.export(), log.trusted), "crt_a was issued twice")


def test_a_revoked_certificate_is_true_and_no_longer_counted() -> None:
    """A remnant was found: the first certificate is revoked, a second replaces it."""
    log = small_log()
    log.record("certificate.revoked", "crt_a")
    log.issue("crt_b", "snp_a")
    log.sign()
    report = verify_bundle(log.export(), log.trusted)
    assert report.ok
    assert report.summary.certificates == ("crt_b",)
    assert any("was revoked later" in finding.text for finding in report.findings)


def test_a_malformed_key_hint_is_named() -> None:
    log = small_log()
    assert refused(verify_bundle(log.export(keys=("x",)), log.trusted), "A key named in the bundle")


def test_a_certificate_alone_is_verified_with_its_vendors_key() -> None:
    log = small_log()
    (envelope,) = log.envelopes
    report = verify_certificate(envelope, log.trusted)
    assert report.ok
    assert report.summary.certificates == ("crt_a",)
    assert report.statement is not None
    assert report.statement["snapshot"] == "snp_a"


def test_a_certificate_alone_is_refused_when_forged_or_changed() -> None:
    log = small_log()
    (envelope,) = log.envelopes
    for trusted in ([], small_log().trusted, [log.log_key.verifier]):
        report = verify_certificate(envelope, trusted)
        assert refused(report, "No trusted key has signed")
        assert report.statement is None
    for place in range(0, len(envelope), 7):
        changed = bytearray(envelope)
        changed[place] ^= 1
        assert not verify_certificate(bytes(changed), log.trusted).ok


def test_one_vendors_key_does_not_certify_for_anothers_log() -> None:
    log = small_log()
    foreign = log.certificate("crt_a", "snp_a", log="another.example/log/log_a")
    assert refused(verify_certificate(foreign, log.trusted), "No trusted key")


def test_a_trust_file_is_verifier_keys_and_comments() -> None:
    log = small_log()
    first, second = log.trusted
    text = f"# pinned on the first day\n\n{first.format()}  # the log\r\n  {second.format()}\n"
    assert load_trusted(text) == log.trusted
    assert load_trusted(f"{first.format()}\n{first.format()}\n") == (first,)
    assert load_trusted("") == ()
    for bad in (first.format()[:-1], f"{first.format()} {second.format()}", "key"):
        with pytest.raises(Invalid, match="line 2 of the trust file"):
            load_trusted(f"{first.format()}\n{bad}\n")


def test_names_follow_from_the_logs_origin() -> None:
    assert statements_key_name(ORIGIN) == "broker.example/statements"
    assert VerifierKey.parse(small_log().trusted[0].format()).name == ORIGIN


def test_a_rebuilt_bundle_is_byte_for_byte_the_same() -> None:
    data = small_log().export()
    assert build_bundle(parse_bundle(data)) == data
