"""Small tables share an object: how they are put together, and cut apart again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import VerificationFailed
from broker.snapshots.batches import MAX_BYTES, MAX_TABLES, SMALL_BYTES, cut, group


@given(st.lists(st.integers(0, 3 * SMALL_BYTES), max_size=300))
def test_every_table_is_in_one_group_and_a_large_one_alone(sizes: list[int]) -> None:
    groups = group(sizes, lambda size: size)
    assert [size for one in groups for size in one] == sorted(sizes, reverse=True)
    for one in groups:
        assert len(one) == 1 or (max(one) < SMALL_BYTES and sum(one) <= MAX_BYTES)
        assert len(one) <= MAX_TABLES


def test_many_empty_tables_share_few_objects() -> None:
    assert [len(one) for one in group([0] * 250, lambda size: size)] == [100, 100, 50]


@given(st.lists(st.binary(max_size=9), max_size=9), st.integers(1, 5))
def test_what_was_put_together_is_cut_apart(parts: list[bytes], step: int) -> None:
    whole = b"".join(parts)
    blocks = iter([whole[n : n + step] for n in range(0, len(whole), step)])
    lengths = [len(part) for part in parts]
    assert [b"".join(part) for part in cut(blocks, lengths)] == parts


def test_an_object_without_lengths_is_one_table() -> None:
    assert [b"".join(part) for part in cut(iter([b"ab", b"c"]), [None])] == [b"abc"]


@pytest.mark.parametrize(("lengths", "words"), [([2, 2], "ends before"), ([1, 1], "goes on")])
def test_lengths_that_do_not_add_up_are_an_error(lengths: list[int], words: str) -> None:
    with pytest.raises(VerificationFailed, match=words):
        list(map(list, cut(iter([b"ab", b"c"]), lengths)))
