"""Audit entries: one meaning has one form, and a person can be erased from it (G13)."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.entries import (
    MAX_ENTRY_BYTES,
    EntryDraft,
    build_entry,
    canonical,
    commitment,
    decode_base64,
    encode_base64,
    new_salt,
    parse_canonical,
    parse_entry,
)
from broker.errors import Invalid, VerificationFailed

AT = datetime(2026, 3, 1, 12, 30, 0, 5, tzinfo=UTC)
ORIGIN = "broker.example/log/log_a"
DRAFT = EntryDraft(
    kind="grant.approved",
    at=AT,
    log_origin=ORIGIN,
    actor={"side": "tenant", "via": "password", "id": "psn_a"},
    subject="grt_a",
    facts={"tables": 3, "masked": True, "until": None, "kinds": ["live", "copy"]},
    personal={"name": "Zoë", "mail": "zoe@tenant.example"},
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(
    lambda value: unicodedata.normalize("NFC", value)
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


def test_keys_are_ordered_by_their_utf16_code_units() -> None:
    """RFC 8785, 3.2.3: U+1F600 is two surrogates there, which sort before U+FF41."""
    value = {"\uff41": 1, "€": 2, "\r": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "ö": 7}
    expected = '{"\\r":3,"1":4,"\x80":6,"ö":7,"€":2,"\U0001f600":5,"\uff41":1}'
    assert canonical(value) == expected.encode()


@given(st.dictionaries(text, values, max_size=5))
@settings(deadline=None)
def test_what_is_written_reads_back_as_the_same_value(value: dict[str, object]) -> None:
    assert parse_canonical(canonical(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        {"n": 1.0},
        {"n": float("nan")},
        {"n": 2**53},
        {"n": -(2**53)},
        {"s": "e\u0301"},
        {"e\u0301": 1},
        {"s": "\ud800"},
        {"b": b"bytes"},
        {"t": (1, 2)},
        {1: "number as a key"},
        {"at": AT},
    ],
    ids=repr,
)
def test_what_has_no_single_form_is_refused(value: object) -> None:
    with pytest.raises(Invalid):
        canonical(value)


def test_a_value_that_is_too_deep_or_too_large_is_refused() -> None:
    deep: object = 1
    for _ in range(40):
        deep = [deep]
    with pytest.raises(Invalid, match="nested"):
        canonical(deep)
    at_most = "x" * (MAX_ENTRY_BYTES - 2)
    assert len(canonical(at_most)) == MAX_ENTRY_BYTES
    with pytest.raises(Invalid, match="65535"):
        canonical(at_most + "x")


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":1}}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1.0}',
        b'{"a":1e2}',
        b'{"a":-0}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":9007199254740992}',
        b'{"a":"\\u0061"}',
        b'{"a":"\\/"}',
        b'{"a":"\\ud800"}',
        b'{"a":"e\xcc\x81"}',
        b'{"a":"\xff"}',
        b"[1]",
        b"1",
        b"",
        b'{"a":' * 60 + b"1" + b"}" * 60,
        b"[" * 200_000,
        b'{"a":' + b"9" * 5000 + b"}",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_json_that_is_not_canonical_is_not_read(data: bytes) -> None:
    with pytest.raises(VerificationFailed):
        parse_canonical(data)


def test_a_commitment_is_the_documented_hash() -> None:
    """Written out here a second time, so that another implementation can be made from it."""
    salt = bytes(range(32))
    message = (
        b"broker/commit/v1\x00"
        b"\0\0\0\0\0\0\0\x12broker.example/log"
        b"\0\0\0\0\0\0\0\x10"
        + b"n" * 16
        + b"\0\0\0\0\0\0\0\x04name"
        + salt
        + b'\0\0\0\0\0\0\0\x07{"a":1}'
    )
    made = commitment("broker.example/log", b"n" * 16, "name", salt, {"a": 1})
    assert made == hashlib.sha256(message).digest()


def test_a_commitment_changes_with_each_of_its_parts() -> None:
    salt, other_salt = new_salt(), new_salt()
    made = {
        commitment("ab", b"n", "f", salt, "v"),
        commitment("a", b"bn", "f", salt, "v"),
        commitment("ab", b"", "nf", salt, "v"),
        commitment("ab", b"n", "g", salt, "v"),
        commitment("ab", b"n", "f", other_salt, "v"),
        commitment("ab", b"n", "f", salt, "w"),
    }
    assert len(made) == 6
    with pytest.raises(Invalid, match="salt"):
        commitment("ab", b"n", "f", b"short", "v")


def test_an_entry_reads_back_as_what_was_recorded() -> None:
    data, opened = build_entry(DRAFT)
    entry = parse_entry(data)
    assert (entry.kind, entry.at, entry.log_origin) == (DRAFT.kind, AT, ORIGIN)
    assert (entry.actor, entry.subject, entry.facts) == (DRAFT.actor, DRAFT.subject, DRAFT.facts)
    assert json.loads(data)["at"] == "2026-03-01T12:30:00.000005Z"
    assert {o.field: o.value for o in opened} == DRAFT.personal
    for o in opened:
        remade = commitment(ORIGIN, entry.nonce, o.field, o.salt, o.value)
        assert entry.personal[o.field] == remade


def test_an_entry_holds_nothing_personal() -> None:
    data, opened = build_entry(DRAFT)
    assert "Zoë".encode() not in data
    assert b"zoe@" not in data
    assert all(o.salt not in data and encode_base64(o.salt).encode() not in data for o in opened)


def test_the_same_act_twice_gives_unlike_commitments() -> None:
    """Else equal names could be seen, and a guess tried."""
    first, second = (parse_entry(build_entry(DRAFT)[0]) for _ in range(2))
    assert first.nonce != second.nonce
    assert not set(first.personal.values()) & set(second.personal.values())


def test_a_name_typed_with_combining_accents_is_recorded_composed() -> None:
    draft = EntryDraft(
        "grant.ended",
        AT,
        ORIGIN,
        {"side": "system", "via": "worker"},
        "grt_a",
        personal={"name": ["Zoe\u0308"]},
    )
    assert build_entry(draft)[1][0].value == ["Zo\u00eb"]


def test_an_instant_of_another_zone_is_recorded_in_utc() -> None:
    paris = AT.astimezone(timezone(timedelta(hours=2)))
    data, _ = build_entry(EntryDraft("a.b", paris, ORIGIN, {"side": "s", "via": "v"}, "x"))
    assert parse_entry(data).at == AT


@pytest.mark.parametrize(
    "draft",
    [
        EntryDraft("Grant.approved", AT, ORIGIN, {"side": "s", "via": "v"}, "x"),
        EntryDraft("grant.approved\n", AT, ORIGIN, {"side": "s", "via": "v"}, "x"),
        EntryDraft("grant", AT, ORIGIN, {"side": "s", "via": "v"}, "x"),
        EntryDraft("a.b", AT.replace(tzinfo=None), ORIGIN, {"side": "s", "via": "v"}, "x"),
        EntryDraft("a.b", AT, ORIGIN, {"side": "s"}, "x"),
        EntryDraft("a.b", AT, ORIGIN, {"side": "s", "via": "v", "name": "Zoë"}, "x"),
        EntryDraft("a.b", AT, ORIGIN, {"side": "s", "via": "v"}, "\x1b[2J"),
        EntryDraft("a.b", AT, "", {"side": "s", "via": "v"}, "x"),
        EntryDraft("a.b", AT, ORIGIN, {"side": "s", "via": "v"}, "x", {"big": "x" * 66_000}),
    ],
)
def test_a_draft_that_could_not_be_read_back_is_refused(draft: EntryDraft) -> None:
    with pytest.raises(Invalid):
        build_entry(draft)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": True},
        {"kind": "grant"},
        {"at": "2026-03-01T12:30:00Z"},
        {"at": "2026-13-01T12:30:00.000000Z"},
        {"at": "2026-03-01T12:30:00.00000\u0665Z"},
        {"log": 5},
        {"log": ""},
        {"nonce": "AAAA"},
        {"nonce": "AAAAAAAAAAAAAAAAAAAAAB=="},
        {"actor": {"side": "tenant"}},
        {"actor": {"side": "tenant", "via": 1}},
        {"actor": "tenant"},
        {"subject": "two\nlines"},
        {"facts": []},
        {"personal": {"name": "Zoë"}},
        {"personal": {"name": "AAAA"}},
        {"more": 1},
    ],
    ids=repr,
)
def test_a_stored_entry_of_another_shape_is_not_read(change: dict[str, object]) -> None:
    entry = json.loads(build_entry(DRAFT)[0])
    assert parse_entry(canonical(entry))
    with pytest.raises(VerificationFailed):
        parse_entry(canonical(entry | change))


@pytest.mark.parametrize(
    "encoded", ["QQ", "QQ==\n", "QR==", "Q Q==", "QQ=", "Q-==", "é===", "QQ==QQ=="]
)
def test_base64_has_one_spelling(encoded: str) -> None:
    assert decode_base64("QQ==") == b"A"
    with pytest.raises(VerificationFailed):
        decode_base64(encoded)
