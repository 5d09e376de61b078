"""Two verifiers, written apart, give one verdict on every bundle, true or changed (I21).

A fault that both have is not found here; the vectors of RFC 6962 and C2SP in `tests/audit` and the
attacks in `test_attacks.py` are for that.
"""

from __future__ import annotations

import functools
import json
import os
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import broker.audit.verify as ours
from broker.audit import merkle
from broker.audit.bundle import Bundle, build_bundle
from broker.entries import Json, canonical, parse_canonical
from broker.errors import Invalid, VerificationFailed
from tests.audit.signing import SigningKey
from tests.audit.world import Log, small_log
from tests.verify.logs import mixed_log
from tests.verify.standalone import certificate_verdict, standalone, verdict

SOAK = bool(os.environ.get("SOAK"))
LISTS = ("entries", "openings", "checkpoints", "certificates", "keys")
OTHER_VALUES: list[Json] = [None, True, 0, 1, -1, 2**53 - 1, "", "A" * 43 + "=", "\x1b[2J", "snp_1"]
OTHER_VALUES += [[], [[]], {}, {"a": []}, "e\u0301"]


@pytest.fixture(autouse=True)
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading an entry is a pure function of its bytes: the thousands that no change touched are
    read once, so that whole runs fit into minutes.
    """
    monkeypatch.setattr(ours, "parse_entry", functools.cache(ours.parse_entry))
    monkeypatch.setattr(standalone, "read_entry", functools.cache(standalone.read_entry))


@pytest.mark.parametrize("entries", [1, 2, 3, 5, 8, 30, 65])
def test_both_accept_a_true_bundle(entries: int) -> None:
    log = mixed_log(entries)
    assert verdict(log.export(), log.trusted)
    assert verdict(log.export(), log.trusted, log.notes)


def test_both_refuse_a_log_of_nothing() -> None:
    log = Log()
    assert not verdict(log.export(), log.trusted)
    log.sign()
    assert verdict(log.export(), log.trusted)


def test_both_refuse_what_no_key_from_outside_vouches_for() -> None:
    log = mixed_log(5)
    for trusted in ((), log.trusted[:1], log.trusted[1:], Log().trusted):
        assert not verdict(log.export(), trusted)


def changed(data: bytes, place: int, choice: random.Random) -> bytes:
    """One byte is another, most often one that may stand in JSON or base64."""
    others = choice.choice([b'ABab019+/="{}[],:\\ \n', bytes(range(256))])
    other = choice.choice([byte for byte in others if byte != data[place]])
    return data[:place] + bytes([other]) + data[place + 1 :]


def test_every_changed_byte_of_a_bundle_of_30_entries_is_caught_by_both() -> None:
    """Each byte in `make soak`; otherwise every seventh."""
    log, choice = mixed_log(30), random.Random(20)  # noqa: S311  # a repeatable test, no secret
    data = log.export()
    for place in range(0, len(data), 1 if SOAK else 7):
        assert not verdict(changed(data, place, choice), log.trusted), place


@pytest.mark.long
def test_sampled_changes_of_a_bundle_of_1000_entries_are_caught_by_both() -> None:
    log, choice = mixed_log(1000), random.Random(21)  # noqa: S311  # a repeatable test, no secret
    data = log.export()
    for _ in range(20_000 if SOAK else 60):
        place = choice.randrange(len(data))
        assert not verdict(changed(data, place, choice), log.trusted), place


@pytest.mark.parametrize("part", LISTS)
def test_both_say_the_same_of_every_removal_swap_and_replay(part: str) -> None:
    log = mixed_log(20)
    bundle = log.bundle()
    items = getattr(bundle, part)
    for index in range(len(items)):
        rest = items[:index] + items[index + 1 :]
        others = [rest, items[: index + 1] + items[index:], (*rest, items[index])]
        for changed_items in others:
            if changed_items == items:
                continue
            data = build_bundle(replace(bundle, **{part: changed_items}))
            held = verdict(data, log.trusted, log.notes)
            # What may go unseen: an erased opening, a checkpoint fewer, keys, which are hints, and
            # the order of openings and certificates, which stands for nothing.
            may_hold = (
                part in {"openings", "keys"}
                or (part == "checkpoints" and changed_items == rest and index < len(items) - 1)
                or (part == "certificates" and len(changed_items) == len(items))
            )
            assert may_hold or not held, (part, index)


def test_both_refuse_every_truncation() -> None:
    log = mixed_log(20)
    data = log.export()
    for end in range(0, len(data), 1 if SOAK else 17):
        assert not verdict(data[:end], log.trusted)
    bundle = log.bundle()
    for size in range(20):
        cut = replace(bundle, entries=bundle.entries[:size])
        assert not verdict(build_bundle(cut), log.trusted)


@given(st.data())
@settings(max_examples=1000 if SOAK else 150, deadline=None)
def test_both_say_the_same_of_whatever_stands_in_a_bundle(data: st.DataObject) -> None:
    log = small_log()
    lines = log.export().splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    document: Json = json.loads(lines[number])
    parts: list[tuple[dict[str, Json] | list[Json], str | int]] = []

    def walk(value: Json) -> None:
        if isinstance(value, (dict, list)):
            for key, part in value.items() if isinstance(value, dict) else enumerate(value):
                parts.append((value, key))  # type: ignore[arg-type]  # each key is of its container
                walk(part)

    walk(document)
    container, key = data.draw(st.sampled_from(parts))
    container[key] = data.draw(st.sampled_from(OTHER_VALUES))  # type: ignore[index,call-overload]  # as above
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    lines[number] = text.encode()
    verdict(b"".join(line + b"\n" for line in lines), log.trusted)


ENTRY_FIELDS = ("v", "kind", "at", "log", "nonce", "actor", "subject", "facts", "personal")
ENTRY_VALUES: list[Json] = [
    *OTHER_VALUES,
    *("grant.ended", "grant", "2026-03-01T12:00:00.000000Z", "2026-02-30T12:00:00.000000Z"),
    *("2026-03-01T12:00:60.000000Z", "0000-03-01T12:00:00.000000Z", "2026-03-01T12:00:00Z"),
    *("1999-03-01T12:00:00.000000Z", "2026-03-01T12:00:00.000000Z\n", "AAAAAAAAAAAAAAAAAAAAAA=="),
    *("AAAAAAAAAAAAAAAAAAAAAB==", "٢٠٢٦-03-01T12:00:00.000000Z"),
    *(
        {"side": "vendor", "via": "x"},
        {"side": "vendor", "via": 1},
        {"side": "a", "via": "", "x": ""},
    ),
    *({"name": "A" * 43 + "="}, {"name": "AAAA"}),
]


@pytest.mark.parametrize("field", ENTRY_FIELDS)
def test_both_say_the_same_of_an_odd_entry_that_was_signed(field: str) -> None:
    """The vendor signs what it likes: form is checked, not only hashes."""
    for value in ENTRY_VALUES:
        log = small_log()
        entry = parse_canonical(log.entries[1])
        entry[field] = value
        log.entries[1] = json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode()
        log.notes.clear()
        log.sign()
        verdict(log.export(), log.trusted)


MOVES: list[Callable[[Log], None]] = [
    lambda log: log.record("grant.approved", "grt_x"),
    lambda log: log.record("grant.ended", "grt_x"),
    lambda log: log.record("snapshot.ordered", "snp_x"),
    lambda log: log.record("snapshot.destroyed", "snp_x"),
    lambda log: log.record("grant.ended", "grt_y", minutes=0),
    lambda log: log.issue("crt_x", "snp_x"),
    lambda log: log.issue("crt_y", "snp_x"),
    lambda log: log.record("certificate.issued", "crt_z", facts={"digest": 1}),
    lambda log: log.issue("crt_o", "snp_x", log.certificate("crt_o", "snp_x", log="a.example/b")),
    lambda log: log.issue("crt_v", "snp_x", log.certificate("crt_v", "snp_x", v=2)),
    lambda log: log.record("certificate.revoked", "crt_x"),
    lambda log: log.sign(),
]


@given(st.lists(st.sampled_from(MOVES), max_size=14))
@settings(max_examples=2000 if SOAK else 200, deadline=None)
def test_both_say_the_same_of_whatever_a_vendor_signs(moves: list[Callable[[Log], None]]) -> None:
    log = Log()
    for move in moves:
        move(log)
    log.sign()
    log.notes = list(dict.fromkeys(log.notes))
    verdict(log.export(), log.trusted)


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * depth + b"]" * depth + b"}"


TEXTS = [
    *(b"{}", b"[]", b"1", b"", b"{", b'{"a":1}', b'{"a":1}\n', b' {"a":1}', b'{"a": 1}'),
    *(b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1,"b":2}', b'{"a":-0}', b'{"a":01}', b'{"a":+1}'),
    *(b'{"a":1.0}', b'{"a":1e3}', b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-1}', b'{"a":null}'),
    *(b'{"a":9007199254740991}', b'{"a":9007199254740992}', b'{"a":-9007199254740992}'),
    *(b'{"a":' + b"9" * 5000 + b"}", b'\xef\xbb\xbf{"a":1}', b'{"a":"\xff"}', b'{"a":"\x7f"}'),
    *(b'{"a":"\\n"}', b'{"a":"\\u000a"}', b'{"a":"\\u001f"}', b'{"a":"\\u001F"}', b'{"a":"\\/"}'),
    *(b'{"a":"\\ud800"}', b'{"a":"\\u00e9"}', '{"a":"é"}'.encode(), '{"a":"e\u0301"}'.encode()),
    *('{"a":"\\n\u0303"}'.encode(), '{"\u0301":1}'.encode(), '{"e\u0301":1}'.encode()),
    *('{"\U0001f600":1,"\ufb33":2}'.encode(), '{"\ufb33":1,"\U0001f600":2}'.encode()),
    *('{"€":1,"\U0001f600":2}'.encode(), b'{"a":"\t"}', b'{"a":true,}', b"{a:1}", b"\x00"),
    *(nested(depth) for depth in (1, 29, 30, 31, 32, 33, 2000, 100_000)),
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_both_read_the_same_json(text: bytes) -> None:
    try:
        expected: Json = parse_canonical(text)
    except VerificationFailed:
        with pytest.raises((standalone.Refused, ValueError, RecursionError)):
            standalone.read_json(text)
    else:
        assert standalone.read_json(text) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def spell(value: Json) -> bytes:
    """Canonically where that can be."""
    try:
        return canonical({"a": value})
    except Invalid:
        return json.dumps({"a": value}, separators=(",", ":")).encode()


@given(JSON)
@settings(max_examples=2000 if SOAK else 300, deadline=None)
def test_both_read_and_write_the_same_json_of_any_value(value: Json) -> None:
    text = spell(value)
    try:
        expected: Json = parse_canonical(text)
    except VerificationFailed:
        with pytest.raises((standalone.Refused, ValueError, RecursionError)):
            standalone.read_json(text)
    else:
        read = standalone.read_json(text)
        assert read == expected
        assert standalone.write(read).encode() == text


@pytest.mark.long
def test_both_say_the_same_of_every_changed_character_of_a_checkpoint() -> None:
    log = small_log()
    data = log.export()
    note = log.notes[-1]
    for place in range(len(note)):
        for other in "A=+ \n\u2028\x85":
            kept = note[:place] + other + note[place + 1 :]
            assert verdict(data, log.trusted, [kept]) is (kept == note), place
    stranger = SigningKey(log.origin)
    text = note.partition("\n\n")[0] + "\n"
    line = ours.VerifierKey(stranger.name, stranger.public)
    blob = standalone.binascii.b2a_base64(line.id + stranger.sign(text.encode()), newline=False)
    both = f"{note}— {log.origin} {blob.decode()}\n"
    assert verdict(data, log.trusted, [both])
    assert not verdict(data, (*log.trusted, line), [both.replace(blob.decode()[-9:], "AAAAAAAA=")])
    assert not verdict(data, log.trusted, [both + both.split("\n")[-3] + "\n"])


def test_both_refuse_a_rewritten_or_shortened_past_that_a_reader_had_seen() -> None:
    log = mixed_log(12)
    other = Log(log_key=log.log_key, statements_key=log.statements_key)
    other.record("grant.approved", "grt_other")
    other.sign()
    assert verdict(other.export(), other.trusted)
    assert not verdict(other.export(), other.trusted, log.notes)
    assert not verdict(log.export(), log.trusted, other.notes)


def test_both_say_the_same_of_every_changed_byte_of_a_certificate() -> None:
    log = small_log()
    data = log.envelopes[0]
    assert certificate_verdict(data, log.trusted)
    assert not certificate_verdict(data, log.trusted[:1])
    assert not certificate_verdict(data, ())
    choice = random.Random(22)  # noqa: S311  # a repeatable test, no secret
    for place in range(len(data)):
        assert not certificate_verdict(changed(data, place, choice), log.trusted)


def test_one_vendors_key_certifies_for_its_own_logs_only_in_both() -> None:
    log = small_log()
    foreign = log.certificate("crt_b", "snp_b", log="other.example/log/log_b")
    for data in (foreign, log.certificate("crt_b", "snp_b", v=2), log.certificate("", "snp_b")):
        assert not certificate_verdict(data, log.trusted)


@pytest.mark.parametrize("size", range(40))
def test_both_give_a_tree_the_same_root(size: int) -> None:
    entries = [bytes([number]) * number for number in range(size)]
    root = merkle.root([merkle.leaf_hash(entry) for entry in entries])
    tree = standalone.Tree()
    for entry in entries:
        tree.append(merkle.leaf_hash(entry))
    assert tree.root() == root


def test_a_bundle_has_no_other_part() -> None:
    """The list of parts that the tests above change is whole; test_root_log.py has the places,
    test_timestamps.py the stamps.
    """
    assert {*LISTS, "origin", "place", "stamped", "stamps"} == set(Bundle.__dataclass_fields__)


@pytest.mark.parametrize(
    "changes", [{"log": "a.example/b"}, {"v": 2}, {"type": "other"}, {"v": True}]
)
def test_both_refuse_a_certificate_in_the_log_that_says_something_else(
    changes: dict[str, Json],
) -> None:
    log = Log()
    log.record("snapshot.destroyed", "snp_x")
    log.issue("crt_x", "snp_x", log.certificate("crt_x", "snp_x", **changes))
    log.sign()
    assert not verdict(log.export(), log.trusted)


@pytest.mark.parametrize(
    "noun", [("grant.approved", "grant.ended"), ("snapshot.ordered", "snapshot.destroyed")]
)
@pytest.mark.parametrize(
    ("order", "holds"),
    [
        ("be", True),
        ("b", True),
        ("e", True),
        ("bb", False),
        ("ee", False),
        ("eb", False),
        ("beb", False),
    ],
)
def test_both_hold_a_life_to_one_beginning_and_one_end(
    noun: tuple[str, str], order: str, *, holds: bool
) -> None:
    log = Log()
    for step in order:
        log.record(noun["be".index(step)], "the_one")
    log.sign()
    assert verdict(log.export(), log.trusted) is holds


def test_both_refuse_a_checkpoint_that_the_logs_key_signed_for_another_log() -> None:
    log = small_log()
    root = merkle.root([merkle.leaf_hash(entry) for entry in log.entries])
    log.notes = [log.log_key.checkpoint(len(log.entries), root, "broker.example/log/log_b")]
    assert not verdict(log.export(), log.trusted)
