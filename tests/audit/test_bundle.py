"""The export bundle has one form."""

from __future__ import annotations

import json

import pytest

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
    document = json.loads(small_log().export())
    opening = document["openings"][0]
    for changed in (
        document | {"v": 2},
        document | {"v": True},
        document | {"more": 1},
        {key: value for key, value in document.items() if key != "keys"},
        document | {"origin": "\x1b[2J"},
        document | {"origin": ""},
        document | {"entries": "AAAA"},
        document | {"entries": [1]},
        document | {"entries": ["AAA"]},
        document | {"openings": [1]},
        document | {"openings": [opening | {"index": -1}]},
        document | {"openings": [opening | {"index": True}]},
        document | {"openings": [opening | {"index": "0"}]},
        document | {"openings": [opening | {"salt": "AAAA"}]},
        document | {"openings": [opening | {"more": 1}]},
        document | {"checkpoints": [None]},
        document | {"certificates": {}},
    ):
        with pytest.raises(VerificationFailed):
            parse_bundle(canonical(changed, max_bytes=None))
    for data in (json.dumps(document).encode(), canonical(document, max_bytes=None) + b"\n"):
        with pytest.raises(VerificationFailed):
            parse_bundle(data)
