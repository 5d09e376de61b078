"""What was pruned is told apart from what is withheld, by both verifiers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from broker.audit.bundle import Bundle, Pruned, build_bundle, parse_bundle
from broker.audit.merkle import leaf_hash
from broker.audit.verify import verify_bundle
from broker.entries import encode_base64
from tests.audit.world import AT, Log
from tests.verify.standalone import verdict

DAY = 24 * 60  # minutes


def aged_log(pruned_on: int = 300, until: int = 8, *, said: bool = True) -> Log:
    """Ten sign-ins, a day each; then, `pruned_on` days after the first, what says they are gone."""
    log = Log()
    for day in range(10):
        log.record("person.signed_in", f"psn_{day}", minutes=day * DAY)
    if said:
        facts = {"until": until, "pruned": until, "kinds": ["person.signed_in"]}
        log.record("log.pruned", "log_a", minutes=pruned_on * DAY, facts=facts)
    log.sign()
    return log


def without(log: Log, *gone: int) -> Bundle:
    """The log's bundle with hashes in place of those entries."""
    parts: list[bytes | Pruned] = []
    for index, entry in enumerate(log.entries):
        if index not in gone:
            parts.append(entry)
        elif parts and isinstance(parts[-1], Pruned) and len(parts[-1].hashes) < 256:
            parts[-1] = replace(parts[-1], hashes=(*parts[-1].hashes, leaf_hash(entry)))
        else:
            parts.append(Pruned(index, (leaf_hash(entry),)))
    return replace(log.bundle(), entries=tuple(parts))


def test_what_the_log_says_was_pruned_may_be_gone_and_the_rest_is_proved() -> None:
    log = aged_log()
    for gone in [(0, 1, 2), (2, 3, 7), (0,), tuple(range(8))]:
        bundle = without(log, *gone)
        data = build_bundle(bundle)
        assert parse_bundle(data) == bundle
        assert verdict(data, log.trusted, log.notes)
        texts = [finding.text for finding in verify_bundle(data, log.trusted).findings]
        assert any(f"{len(gone)} entries before entry {gone[-1] + 1}" in text for text in texts)


@pytest.mark.parametrize(
    ("log", "gone"),
    [
        (aged_log(said=False), (0,)),  # nobody says so
        (aged_log(), (8,)),  # it says so of earlier ones
        (aged_log(until=11), (9,)),  # what follows is too young: this one may be as well
        (aged_log(pruned_on=150), (0,)),  # not half a year old
    ],
    ids=["unsaid", "beyond", "young", "early"],
)
def test_what_is_withheld_does_not_pass_for_pruned(log: Log, gone: tuple[int, ...]) -> None:
    assert verdict(log.export(), log.trusted)
    assert not verdict(build_bundle(without(log, *gone)), log.trusted)


def test_a_hash_that_is_not_the_entrys_is_caught() -> None:
    log = aged_log()
    bundle = without(log, 0, 1)
    entries = (Pruned(0, (leaf_hash(b"x"), leaf_hash(b"y"))), *bundle.entries[1:])
    assert not verdict(build_bundle(replace(bundle, entries=entries)), log.trusted)


def test_hashes_are_written_in_one_way() -> None:
    log = aged_log()
    first, _, *rest = build_bundle(without(log, 0, 1)).splitlines()
    hashes = [leaf_hash(entry) for entry in log.entries[:2]]
    for lines in (
        [b'{"hashes":"%b"}' % encode_base64(one).encode() for one in hashes],
        [b'{"hashes":"%b"}' % encode_base64(b"".join(hashes)[:-1]).encode()],
        [b'{"hashes":""}', b'{"hashes":"%b"}' % encode_base64(b"".join(hashes)).encode()],
    ):
        spoilt = [first, *lines, *rest[:-1]]
        spoilt.append(b'{"lines":%d}' % len(spoilt))
        assert not verdict(b"".join(line + b"\n" for line in spoilt), log.trusted)


def test_long_gaps_are_lines_of_256() -> None:
    log = Log()
    for number in range(700):
        log.record("person.signed_in", "psn_a", minutes=number)
    log.record("log.pruned", "log_a", minutes=300 * DAY, facts={"until": 650, "pruned": 640})
    log.sign()
    assert AT + timedelta(days=300) > AT
    data = build_bundle(without(log, *range(5, 645)))
    assert data.count(b'{"hashes":') == 3
    assert verdict(data, log.trusted)
