"""docs/copy-cases.md names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "copy-cases.md"
_NAMED = re.compile(r"`([a-z0-9_/]+\.py|…)(?:::([a-z0-9_]+)(…?))?`")


def test_each_case_of_copies_names_a_test_that_is_there() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \d", line)]
    numbers = [n for row in rows for n in re.findall(r"\d+", row.split("|")[1])]
    assert sorted(map(int, numbers)) == list(range(1, 51))
    for row in rows:
        file = ""
        for named, test, cut in _NAMED.findall(row):
            file = file if named == "…" else named
            begins = rf"^def {test}{'' if cut else '[(]'}" if test else "^def test_"
            assert re.search(begins, (TESTS / file).read_text(), re.MULTILINE), (row[:9], test)
        assert file or "–" in row or "the first of 1" in row
