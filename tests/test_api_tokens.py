"""What a token looks like: a scanner finds it, and a slip of a finger is no token."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from broker.api_tokens import checksum, may_exist, with_checksum

# As docs/api.md gives it to secret scanners.
PATTERN = re.compile(r"brk_[A-Za-z0-9_-]{43}[0-9A-Za-z]{6}")
RANDOM = st.text(st.sampled_from("AZaz09_-"), min_size=43, max_size=43)


@given(RANDOM, st.integers(4, 52), st.sampled_from("AZaz09_-"))
def test_one_wrong_sign_is_no_token(random: str, place: int, sign: str) -> None:
    token = with_checksum(random)
    assert PATTERN.fullmatch(token)
    assert may_exist(token)
    wrong = token[:place] + sign + token[place + 1 :]
    assert may_exist(wrong) == (wrong == token)


def test_the_checksum_is_crc32_in_base_62() -> None:
    assert checksum("brk_") == "2pihUZ"
    for text in ("", "brk_", "brk_x", "ghp_" + "a" * 43, "brk_" + "é" * 43):
        assert not may_exist(text)
    assert may_exist("brk_" + "a" * 43)  # of the form before there was one
