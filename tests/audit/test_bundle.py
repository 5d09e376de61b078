"""The export bundle has one form."""

from __future__ import annotations

import json

from broker.audit.bundle import build_bundle, parse_bundle
from broker.entries import canonical
from broker.errors import VerificationFailed
from tests.audit.world import small_log


def test_a_bundle_reads_back_as_what_was_exported() -> None:
    bundle = small_log().bundle()
    assert parse_bundle(build_bundle(bundle)) == bundle


def test_a_bundle_may_be_larger_than_an_entry() -> None:
    log = small_log()
    log.entries *= 100
    assert len(log.export()) > 65_535
    assert parse_bundle(log.export()).entries == tuple(log.entries)


def test_a_bundle_of_another_form_is_not_read() -> None:
    """Whatever line is changed to what `write_lines` never makes of it."""
    lines = small_log().export().splitlines()
    first, opening, last = (json.loads(lines[number]) for number in (0, 2, -1))
    changes: list[tuple[int, dict[str, object]]] = [
        (0, first | {"v": 1}),
        (0, first | {"v": True}),
        (0, first | {"more": 1}),
        (0, {key: value for key, value in first.items() if key != "keys"}),
        (0, first | {"origin": "\x1b[2J"}),
        (0, first | {"origin": ""}),
        (0, first | {"checkpoints": [None]}),
        (0, first | {"keys": {}}),
        (2, opening | {"salt": "AAAA"}),
        (2, opening | {"value": 1, "more": 1}),
        (2, {"field": "name"}),
        (-1, {"lines": last["lines"] + 1}),
        (-1, {"lines": True}),
    ]
    for number, changed in changes:
        assert not is_read([*lines[:number], canonical(changed), *lines[number:][1:]]), changed
    for others in (
        [*lines, b"{}"],
        lines[:-1],
        lines[:-2] + lines[-1:],
        [lines[0], lines[2], *lines[1:]],
        [*lines[:3], lines[2], *lines[3:]],
        [*lines[:-2], lines[-2], lines[1], canonical({"lines": len(lines)})],
        [line + b"\r" for line in lines],
    ):
        assert not is_read(others), others


def is_read(lines: list[bytes]) -> bool:
    try:
        parse_bundle(b"".join(line + b"\n" for line in lines))
    except VerificationFailed:
        return False
    return True
