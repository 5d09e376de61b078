"""Codes of authenticator apps: RFC 6238's own vectors, and what is taken when. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from broker.authenticators import STEP_S, SeedBox, match_step
from broker.errors import VerificationFailed
from broker.secret import Secret

SEED = b"12345678901234567890"  # of RFC 6238, appendix B


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert match_step(SEED, code, at, 0) == seconds // STEP_S


def test_a_code_holds_one_step_around_its_own_and_never_again_once_taken() -> None:
    at = datetime.fromtimestamp(1111111109, UTC)
    step = 1111111109 // STEP_S
    around = {
        n: match_step(SEED, "081804", at + timedelta(seconds=n * STEP_S), 0) for n in range(-2, 3)
    }
    assert around == {-2: None, -1: step, 0: step, 1: step, 2: None}
    assert match_step(SEED, "081804", at, step) is None
    assert match_step(SEED, "081804", at, step - 1) == step


@pytest.mark.parametrize("code", ["", "28708", "2870820", "28708x", "２８７０８２"])
def test_what_is_no_six_digits_is_none(code: str) -> None:
    assert match_step(SEED, code, datetime.fromtimestamp(59, UTC), 0) is None


def test_a_seed_opens_for_its_person_and_under_its_secret_alone() -> None:
    box = SeedBox(Secret("one"))
    sealed = box.seal(SEED, "psn_a")
    assert box.open(sealed, "psn_a") == SEED
    assert SEED not in sealed
    for other, person in ((box, "psn_b"), (SeedBox(Secret("two")), "psn_a")):
        with pytest.raises(VerificationFailed):
            other.open(sealed, person)
