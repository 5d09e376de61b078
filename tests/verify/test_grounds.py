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


ALLOWS: dict[str, Json] = {"version": 1, "break_glass": True}
BROKEN: dict[str, Json] = {"policy": 1, "break_glass": True}
Told = tuple[str, str, dict[str, Json], str, str]

POLICY: Told = ("policy.changed", "tnt_a", ALLOWS, "tenant", "psn_admin")
OFF: Told = ("policy.changed", "tnt_a", {"version": 2, "break_glass": False}, "tenant", "psn_admin")
ASKED: Told = ("grant.requested", "grt_a", {}, "vendor", "psn_asks")
FIRST: Told = ("approval.given", "grt_a", {}, "vendor", "psn_one")
OWED: Told = ("review.owed", "rev_a", {"grant": "grt_a"}, "vendor", "psn_two")
SECOND: Told = ("grant.approved", "grt_a", BROKEN, "vendor", "psn_two")


def told(*steps: Told) -> bool:
    log = Log()
    for kind, subject, facts, side, who in steps:
        log.record(kind, subject, facts=facts, side=side, who=who)
    log.sign()
    return verdict(log.export(), log.trusted)


def test_break_glass_is_explained_by_a_policy_two_people_and_a_review_that_is_owed() -> None:
    assert told(POLICY, ASKED, FIRST, OWED, SECOND, OFF)


@pytest.mark.parametrize(
    "steps",
    [
        (ASKED, FIRST, OWED, SECOND),
        (ASKED, FIRST, OWED, SECOND, POLICY),
        (POLICY, OFF, ASKED, FIRST, OWED, SECOND),
        (OFF, ASKED, FIRST, OWED, SECOND),
        (POLICY, ASKED, FIRST, OWED, (*SECOND[:2], {**BROKEN, "policy": 2}, *SECOND[3:])),
        (POLICY, ASKED, FIRST, OWED, (*SECOND[:2], {**BROKEN, "policy": ""}, *SECOND[3:])),
        (POLICY, ASKED, FIRST, OWED, (*SECOND[:2], {**BROKEN, "policy": [1]}, *SECOND[3:])),
        (POLICY, ASKED, FIRST, OWED, (*SECOND[:2], {"policy": 1}, *SECOND[3:])),
        (POLICY, ASKED, FIRST, OWED, (*SECOND[:3], "tenant", "psn_two")),
        (POLICY, ASKED, FIRST, OWED, (*SECOND[:3], "system", "psn_two")),
        (POLICY, ASKED, FIRST, OWED, (*SECOND[:4], "psn_one")),
        (POLICY, ASKED, FIRST, OWED, (*SECOND[:4], "psn_asks")),
        (POLICY, ASKED, (*FIRST[:4], "psn_asks"), OWED, SECOND),
        (POLICY, ASKED, (*FIRST[:3], "tenant", "psn_one"), OWED, SECOND),
        (POLICY, ASKED, ("approval.given", "grt_b", {}, "vendor", "psn_one"), OWED, SECOND),
        (POLICY, ASKED, OWED, SECOND),
        (POLICY, ASKED, FIRST, SECOND),
        (POLICY, ASKED, FIRST, SECOND, OWED),
        (POLICY, ASKED, FIRST, ("review.owed", "rev_a", {"grant": "grt_b"}, "vendor", "x"), SECOND),
        (("policy.changed", "tnt_a", {**ALLOWS, "break_glass": 1}, "tenant", "x"), ASKED, FIRST,
         OWED, SECOND),
    ],
)  # fmt: skip
def test_break_glass_that_lacks_one_of_them_is_a_finding(steps: tuple[Told, ...]) -> None:
    assert not told(*steps)
