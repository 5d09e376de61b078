"""Who approved each grant is explained by the log alone, to both verifiers (G2, G10)."""

from __future__ import annotations

import pytest

from broker.entries import Json
from tests.audit.world import Log
from tests.verify.logs import TERMS, use
from tests.verify.standalone import verdict


def log_of(*steps: tuple[str, str, dict[str, Json], str]) -> Log:
    log = Log()
    for kind, subject, facts, side in steps:
        log.record(kind, subject, facts=facts, side=side)
    log.sign()
    return log


GIVEN = ("standing.given", "sta_a", TERMS, "tenant")
ENDED = ("standing.ended", "sta_a", {"why": "x", "kept": True}, "tenant")
USED = ("grant.approved", "grt_a", use("sta_a"), "system")


def test_a_grant_under_a_standing_approval_is_explained_by_the_entry_that_gave_it() -> None:
    log = log_of(GIVEN, USED, ENDED)
    assert verdict(log.export(), log.trusted)


@pytest.mark.parametrize(
    "steps",
    [
        (USED,),
        (USED, GIVEN),
        (GIVEN, ENDED, USED),
        (("standing.proposed", "sta_a", TERMS, "tenant"), USED),
        (GIVEN, ("grant.approved", "grt_a", use("sta_b"), "system")),
        (GIVEN, ("grant.approved", "grt_a", {"standing": "sta_a", "terms": "d2"}, "system")),
        (GIVEN, ("grant.approved", "grt_a", {"standing": ["sta_a"], "terms": "d1"}, "system")),
        (GIVEN, ("grant.approved", "grt_a", {}, "system")),
        (GIVEN, ("grant.approved", "grt_a", {}, "vendor")),
        (GIVEN, ("grant.approved", "grt_a", use("sta_b"), "tenant")),
        (("standing.given", "sta_a", {}, "tenant"), USED),
        (
            ("standing.given", "sta_a", {**TERMS, "ends_at": "2026-03-01T12:00:59Z"}, "tenant"),
            USED,
        ),
    ],
)
def test_a_grant_that_nothing_explains_is_a_finding(
    steps: tuple[tuple[str, str, dict[str, Json], str], ...],
) -> None:
    log = log_of(*steps)
    assert not verdict(log.export(), log.trusted)
