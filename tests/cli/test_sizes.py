"""Sizes as people write them."""

from __future__ import annotations

import click
import pytest

from broker.cli.sizes import Size


@pytest.mark.parametrize(
    ("text", "count"),
    [("200GB", 200 * 10**9), ("1500 MB", 15 * 10**8), ("2kb", 2000), ("7", 7), ("none", None)],
)
def test_a_size_is_read(text: str, count: int | None) -> None:
    assert Size().convert(text, None, None) == count


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5GB", "1 GiB", "GB", "None", "9" * 10, "1\n"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="200GB"):
        Size().convert(text, None, None)
