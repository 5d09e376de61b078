"""A third party's time for the root log and for certificates, asked of a real authority."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.audit.anchoring import Tsa, ask, build_tsa, stamp_root
from broker.audit.bundle import build_bundle, parse_bundle
from broker.audit.timestamps import accept, make_request, verify_stamp
from broker.audit.verify import Others, Report, verify_bundle
from broker.errors import SettingsError, Unavailable, VerificationFailed
from broker.snapshots.stamping import stamp_certificates
from tests.audit.world import Log
from tests.verify.standalone import verdict
from tests.verify.test_attacks import act
from tests.verify.test_root_log import age, sealed
from tests.verify.tsa import SmallTsa, running
from tests.verify.vendor import Vendor


def texts(report: Report) -> str:
    return "\n".join(f"{finding.ok} {finding.text}" for finding in report.findings)


@pytest.fixture
def tsa(tmp_path: Path) -> SmallTsa:
    return SmallTsa(tmp_path / "tsa")


def test_an_answer_counts_for_its_bytes_its_question_and_its_signer_alone(
    tsa: SmallTsa, tmp_path: Path
) -> None:
    other, expired = SmallTsa(tmp_path / "other"), SmallTsa(tmp_path / "expired", days=-1)
    request = make_request(b"this")
    response = tsa.answer(request.as_bytes())
    stamped = accept(response, request, b"this", [tsa.root])
    assert stamped.by == "CN=Authority of tests"
    late = expired.answer(request.as_bytes())
    for told, message, roots, why in [
        (response, b"that", [tsa.root], "digest is another"),
        (response, b"this", [other.root], "no authority under the given root"),
        (late, b"this", [expired.root], "not valid at that time"),
        (b"<html>", b"this", [tsa.root], "no answer of a timestamping authority"),
        (response + b"\0", b"this", [tsa.root], "no answer of a timestamping authority"),
    ]:
        with pytest.raises(VerificationFailed, match=why):
            verify_stamp(told, message, roots)
    with pytest.raises(VerificationFailed, match="its nonce is not ours"):
        accept(response, make_request(b"this"), b"this", [tsa.root])


def test_no_changed_byte_makes_an_answer_say_anything_else(tsa: SmallTsa) -> None:
    """The form's version and the name of the signature's algorithm are not signed; they say nothing
    that counts.
    """
    response = tsa.answer(make_request(b"this").as_bytes())
    said, unnoticed = verify_stamp(response, b"this", [tsa.root]), 0
    for at in range(0, len(response), 3):
        changed = response[:at] + bytes([response[at] ^ 1]) + response[at + 1 :]
        try:
            assert verify_stamp(changed, b"this", [tsa.root]) == said, at
            unnoticed += 1
        except VerificationFailed:
            pass
    assert unnoticed <= 4


@pytest.mark.parametrize(
    ("fault", "error"),
    [("away", Unavailable), ("nonsense", VerificationFailed), ("replay", VerificationFailed)],
)
def test_an_authority_that_answers_badly_is_not_believed(
    tsa: SmallTsa, fault: str, error: type[Exception]
) -> None:
    with running(tsa):
        ask(tsa.client, b"first")
        tsa.fault = fault
        with pytest.raises(error):
            ask(tsa.client, b"second")


def test_the_root_log_is_stamped_and_a_bundle_shows_when_it_was_there(
    vendor: Vendor, tsa: SmallTsa
) -> None:
    tenant_id, _ = vendor.enrol()
    sealed(vendor)
    away = Tsa("http://127.0.0.1:9", [tsa.root])
    assert not stamp_root(vendor.database, away, 60)  # holds nothing up, and is asked again
    with running(tsa):
        assert stamp_root(vendor.database, tsa.client, 60)
        assert not stamp_root(vendor.database, tsa.client, 60)
        age(vendor)
        sealed(vendor)
        assert not stamp_root(vendor.database, tsa.client, 60)  # the last is young enough
    data, pinned = vendor.export(tenant_id), vendor.pinned(tenant_id)
    bundle = parse_bundle(data)
    assert bundle.stamped is not None
    assert bundle.place is not None
    assert verdict(data, pinned)
    assert "not looked at" in texts(verify_bundle(data, pinned))
    report = verify_bundle(data, pinned, others=Others(tsa_roots=[tsa.root]))
    assert report.ok, texts(report)
    assert "says CN=Authority of tests" in texts(report)
    (stamp,) = bundle.stamps.values()
    moved = replace(bundle, stamps={bundle.place.checkpoint.encode(): stamp})
    report = verify_bundle(build_bundle(moved), pinned, others=Others(tsa_roots=[tsa.root]))
    assert "digest is another" in texts(report)


def test_entries_that_are_dated_after_their_log_was_stamped_are_caught(
    vendor: Vendor, tsa: SmallTsa
) -> None:
    """The vendor's clock, or its word, ran ahead of everybody's."""
    tenant_id, _ = vendor.enrol()
    vendor.database._clock = lambda: datetime.now(UTC) + timedelta(days=1)
    act(vendor, tenant_id, 1)
    sealed(vendor)
    with running(tsa):
        assert stamp_root(vendor.database, tsa.client, 60)
    data, pinned = vendor.export(tenant_id), vendor.pinned(tenant_id)
    assert verdict(data, pinned)
    report = verify_bundle(data, pinned, others=Others(tsa_roots=[tsa.root]))
    assert "after it was stamped" in texts(report)


def certified_log() -> Log:
    log = Log()
    log.record("snapshot.destroyed", "snp_a")
    log.issue("crt_a", "snp_a")
    return log


def test_a_certificates_timestamp_is_the_one_that_the_log_names(tsa: SmallTsa) -> None:
    log = certified_log()
    response = tsa.answer(make_request(log.envelopes[0]).as_bytes())
    stamps = {log.envelopes[0]: response}
    log.sign()
    assert not verdict(log.export(stamps=stamps), log.trusted), "invented"
    digest = hashlib.sha256(response).hexdigest()
    log.record("certificate.stamped", "crt_a", facts={"digest": digest})
    log.notes.clear()
    log.sign()
    data = log.export(stamps=stamps)
    assert parse_bundle(data).stamps == stamps
    assert verdict(data, log.trusted)
    assert not verdict(log.export(), log.trusted), "withheld"
    again = tsa.answer(make_request(log.envelopes[0]).as_bytes())
    assert not verdict(log.export(stamps={log.envelopes[0]: again}), log.trusted), "swapped"
    report = verify_bundle(data, log.trusted, others=Others(tsa_roots=[tsa.root]))
    assert report.ok, texts(report)
    assert "Certificate crt_a existed on" in texts(report)


def test_no_stamp_stands_where_none_belongs(tsa: SmallTsa) -> None:
    log = certified_log()
    log.sign()
    lines = log.export().splitlines()
    for at in range(1, len(lines)):
        spoilt = [*lines[:at], b'{"stamp":"AAAA"}', *lines[at:]]
        spoilt[-1] = b'{"lines":%d}' % (len(spoilt) - 1)
        assert not verdict(b"".join(line + b"\n" for line in spoilt), log.trusted)


def test_an_authority_is_set_with_its_root(tsa: SmallTsa, tmp_path: Path) -> None:
    root = tsa.folder / "root.pem"
    assert build_tsa(None, None) is None
    assert build_tsa("https://tsa.example", root) is not None
    (tmp_path / "x").write_text("no certificate")
    for url, file in [
        ("https://tsa.example", None),
        (None, root),
        ("ftp://tsa.example", root),
        ("https://tsa.example", tmp_path / "x"),
        ("https://tsa.example", tmp_path / "missing"),
    ]:
        with pytest.raises(SettingsError):
            build_tsa(url, file)


def test_nothing_to_stamp_asks_nobody(vendor: Vendor, tsa: SmallTsa) -> None:
    with running(tsa):
        assert stamp_certificates(vendor.database, tsa.client) == 0
    assert tsa.asked == []
