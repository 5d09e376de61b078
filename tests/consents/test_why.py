"""Why an act was allowed, from the entries of a log alone. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from broker.consents import why
from broker.consents.why import CONSENT, NONE, Reason, find_ground
from broker.kinds import KINDS

START = datetime(2026, 1, 1, tzinfo=UTC)
LONG = (START + timedelta(days=300)).isoformat()


def entry(kind: str, subject: str, *, at: int = 0, **facts: object) -> dict:
    instant = (START + timedelta(hours=at)).isoformat()
    return {"kind": kind, "at": instant, "subject": subject, "facts": facts}


def agreed(purpose: str, act: str = "given", *, at: int = 0, end: str = LONG) -> dict:
    more = {"lapses_at": end} if act in {"given", "renewed"} else {}
    return entry(f"consent.{act}", f"cns_{act}", at=at, purpose=purpose, version=1, **more)


def read(*entries: dict, began_at: datetime = START) -> list[Reason]:
    return list(why.explain(enumerate(entries), began_at))


def test_an_act_rests_on_the_consent_that_was_live_then() -> None:
    *_, asked, issued, copy = read(
        agreed("live_access"),
        entry("lease.asked", "lse_1", at=1, on="dbs_1", grant="grt_1"),
        entry("lease.issued", "lse_1", at=2),
        entry("snapshot.ordered", "snp_1", at=2, grant="grt_1"),
    )
    assert (asked.ground, asked.consents) == (CONSENT, ("cns_given",))
    assert issued.ground == CONSENT
    assert (copy.ground, copy.says) == (NONE, "no ground was found")


def test_a_login_on_a_copy_rests_on_the_consent_to_copies() -> None:
    on_copy = entry("lease.asked", "lse_1", on="snp_1")
    assert read(agreed("live_access"), on_copy)[-1].ground == NONE
    assert read(agreed("test_copy"), on_copy)[-1].ground == CONSENT


def test_nothing_is_explained_by_a_consent_that_was_over() -> None:
    asked = entry("lease.asked", "lse_1", at=9, on="dbs_1")
    soon = (START + timedelta(hours=9)).isoformat()
    for over in (agreed("live_access", "withdrawn", at=5), agreed("live_access", "lapsed", at=5)):
        assert read(agreed("live_access"), over, asked)[-1].ground == NONE
        assert read(agreed("live_access"), over, agreed("live_access"), asked)[-1].ground == CONSENT
        assert read(agreed("live_access"), asked, over)[-2].ground == CONSENT
    assert read(agreed("live_access", end=soon), asked)[-1].ground == NONE


def test_a_persons_own_consent_opens_nothing_of_the_organisations() -> None:
    own = entry("consent.given", "cns_1", purpose="live_access", person="psn_1", lapses_at=LONG)
    assert read(own, entry("lease.asked", "lse_1", on="dbs_1"))[-1].ground == NONE


def test_a_grant_needs_a_consent_for_each_kind_that_it_gives() -> None:
    both = entry("grant.approved", "grt_1", live_s=60, copy_s=60)
    assert read(agreed("live_access"), both)[-1].ground == NONE
    assert read(agreed("live_access"), agreed("test_copy"), both)[-1].ground == CONSENT
    only = entry("grant.approved", "grt_1", live_s=60, copy_s=0, platform_s=60)
    assert read(agreed("live_access"), only)[-1].ground == CONSENT


def test_what_was_done_before_the_ledger_began_rests_on_the_approval() -> None:
    asked = entry("lease.asked", "lse_1", on="dbs_1")
    assert read(asked, began_at=START + timedelta(hours=1))[-1].ground == why.APPROVAL


def test_every_kind_of_entry_has_a_ground() -> None:
    """A kind that is new says in `why` what it rests on: an act on data, or one of the others."""
    assert [kind for kind in KINDS if find_ground(kind) == NONE] == []
    assert set(KINDS) >= why.ACTS


_ACTS = st.sampled_from(["given", "renewed", "withdrawn", "lapsed", "use"])


@given(st.lists(_ACTS, max_size=12))
def test_a_use_is_explained_just_when_the_last_word_before_it_was_yes(acts: list[str]) -> None:
    entries = [
        entry("lease.asked", "lse_1", on="dbs_1") if act == "use" else agreed("live_access", act)
        for act in acts
    ]
    for number, reason in enumerate(read(*entries)):
        if acts[number] == "use":
            said = [act for act in acts[:number] if act != "use"]
            assert (reason.ground == CONSENT) == (said[-1:] in (["given"], ["renewed"]))
