"""Legal holds in a log: both verifiers name what is held, and what is not destroyed without one."""

from __future__ import annotations

import io

from broker.audit.verify import verify_bundle
from tests.audit.world import Log
from tests.verify.standalone import standalone, verdict

HOLD = {"snapshot": "snp_1", "basis": "customer", "ends_at": "2026-04-01T00:00:00+00:00"}


def log_of(*steps: str) -> Log:
    log = Log()
    for step in ("snapshot.ordered", "snapshot.condemned", *steps):
        if step.startswith("hold."):
            log.record(step, "hld_1", facts=HOLD)
        else:
            log.record(step, "snp_1")
    log.sign()
    return log


def texts(log: Log) -> list[str]:
    """What each of the two says of the copy, as one list."""
    keys = [standalone.read_key(key.format()) for key in log.trusted]
    ours = [finding.text for finding in verify_bundle(log.export(), log.trusted, ()).findings]
    theirs = [
        str(finding)
        for finding in standalone.verify_bundle(io.BytesIO(log.export()), keys).findings
    ]
    return [text for text in (*ours, *theirs) if "snp_1" in text]


def test_a_copy_that_is_condemned_and_not_destroyed_is_named() -> None:
    log = log_of()
    assert verdict(log.export(), log.trusted)
    assert sum("not destroyed yet" in text for text in texts(log)) == 2
    assert not any("held by law" in text for text in texts(log))


def test_a_held_one_is_told_apart_until_its_hold_ends() -> None:
    log = log_of("hold.begun")
    assert verdict(log.export(), log.trusted)
    assert sum("held by law" in text for text in texts(log)) == 2
    ended = log_of("hold.begun", "hold.ended")
    assert sum("not destroyed yet" in text for text in texts(ended)) == 2


def test_both_refuse_a_destruction_under_a_hold() -> None:
    assert not verdict((log := log_of("hold.begun", "snapshot.destroyed")).export(), log.trusted)
    log = log_of("hold.begun", "hold.ended", "snapshot.destroyed")
    assert verdict(log.export(), log.trusted)
