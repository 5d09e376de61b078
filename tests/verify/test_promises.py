"""A signed decision promises to be in the log: what a vendor loses, it has signed the proof of."""

from __future__ import annotations

import hashlib
import io
from datetime import timedelta

import pytest

from broker.audit import dsse
from broker.audit.promises import MERGE_DELAY, Promised
from broker.audit.statements import DECISION, TYPES, read_promise
from broker.audit.verify import Others, verify_bundle
from broker.entries import canonical
from broker.errors import VerificationFailed
from tests.audit.world import AT, Log
from tests.verify.standalone import standalone, with_root

DECIDED = AT + timedelta(minutes=1)
DUE = DECIDED + MERGE_DELAY


def sealed(signer: Log, **changes: object) -> bytes:
    """The statement of an approval, as a worker signs it."""
    said = {
        "v": 1,
        "type": "decision",
        "log": signer.origin,
        "decision": "dec_a",
        "grant": "grt_a",
        "verdict": "approved",
        "at": {"decided": DECIDED.isoformat()},
        "promise": {"log_by": DUE.isoformat()},
        **changes,
    }
    key = signer.statements_key
    return dsse.seal(TYPES[DECISION], canonical(said), key.name, key.public, key.sign)


def grown(statement: bytes | None, *, acted: bool = True, until: float = 30) -> Log:
    """A log with the decision, its statement, and something later."""
    log = Log()
    log.record("grant.requested", "grt_a", 0)
    if acted:
        log.record("grant.approved", "grt_a", 1)
    if statement is not None:
        digest = hashlib.sha256(statement).hexdigest()
        log.record("decision.signed", "dec_a", 1, {"grant": "grt_a", "digest": digest})
    log.record("person.signed_in", "psn_a", until)
    log.sign()
    return log


def verdict(log: Log, statement: bytes) -> bool:
    """Of both verifiers, which must be one."""
    bundle, trusted = log.export(), [*log.trusted]
    ours = verify_bundle(bundle, trusted, (), Others(promised=[read_promise(statement, trusted)]))
    holding = type("Holding", (with_root.Placed,), {"promised": [statement]})
    keys = [standalone.read_key(key.format()) for key in trusted]
    theirs = standalone.verify_bundle(io.BytesIO(bundle), keys, (), holding)
    assert ours.ok is theirs.ok, (ours.findings, theirs.findings)
    return ours.ok


@pytest.fixture
def signer() -> Log:
    """Whose keys sign everything here."""
    return Log()


def with_keys_of(signer: Log, log: Log) -> Log:
    """The same entries under the same vendor's keys."""
    log.log_key, log.statements_key, log.notes = signer.log_key, signer.statements_key, []
    log.sign()
    return log


def test_a_kept_promise_holds_for_both(signer: Log) -> None:
    statement = sealed(signer)
    assert verdict(with_keys_of(signer, grown(statement)), statement)


@pytest.mark.parametrize("acted", [True, False])
def test_a_decision_that_was_lost_is_shown_to_be_withheld(signer: Log, acted: bool) -> None:  # noqa: FBT001  # a case
    """Its statement's entry, or the act's, or both are gone from the log that a customer gets."""
    statement = sealed(signer)
    assert not verdict(with_keys_of(signer, grown(None, acted=acted)), statement)
    assert not verdict(with_keys_of(signer, grown(statement, acted=False)), statement)


def test_before_it_is_due_nothing_is_missing(signer: Log) -> None:
    due = MERGE_DELAY / timedelta(minutes=1) + 1
    statement = sealed(signer)
    assert verdict(with_keys_of(signer, grown(None, until=due - 0.1)), statement)
    assert not verdict(with_keys_of(signer, grown(None, until=due)), statement)


def test_another_statement_of_the_same_decision_is_no_keeping_of_it(signer: Log) -> None:
    mine, other = sealed(signer), sealed(signer, verdict="refused")
    assert not verdict(with_keys_of(signer, grown(other)), mine)


def test_a_promise_of_another_log_says_nothing_of_this_one(signer: Log) -> None:
    other = sealed(signer, log="broker.example/log/log_b")
    assert not verdict(with_keys_of(signer, grown(other)), other)


def test_a_promise_is_read_from_what_the_vendor_signed_alone(signer: Log) -> None:
    statement = sealed(signer)
    digest = hashlib.sha256(statement).hexdigest()
    assert read_promise(statement, signer.trusted) == Promised(
        signer.origin, "dec_a", "grt_a", digest, DECIDED, DUE
    )
    for refused in (
        sealed(Log()),  # by other keys
        sealed(signer, promise=None),  # by an older release
        sealed(signer, promise={"log_by": "soon"}),
        sealed(signer, log="another.example/log/log_a"),
    ):
        with pytest.raises(VerificationFailed):
            read_promise(refused, signer.trusted)
