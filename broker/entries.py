"""What one audit entry is, byte for byte: canonical JSON with salted commitments inside.

An entry is stored and hashed as the bytes that this module made (RFC 8785), never re-rendered. It
names nobody: what is personal stands in it as a commitment, SHA-256 over a random salt and the
value. The salt and the value, the *opening*, are kept apart, and erasing them erases the person
from the log while every hash, proof and signature still holds (G13).

What must stay true: one meaning has one form. Whatever JSON leaves open (order, spacing, escapes,
doubled keys, floats, Unicode forms) is refused on the way in and on the way out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

import rfc8785

from broker.errors import Invalid, VerificationFailed

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"

MAX_ENTRY_BYTES = 65_535  # the two-byte length of a C2SP tlog-tiles entry bundle
_MAX_INTEGER = 2**53 - 1  # above it, readers of JSON disagree
_MAX_DEPTH = 32
_KIND = re.compile(r"[a-z_]+\.[a-z_]+")
_INSTANT = re.compile(r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}\.[0-9]{6}Z")
_ENTRY_FIELDS = {"v", "kind", "at", "log", "nonce", "actor", "subject", "facts", "personal"}
_ACTOR_FIELDS = {"side", "via", "id"}
NONCE_BYTES = 16
SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
class EntryDraft:
    """What happened, before it is an entry.

    `actor` has `side` and `via`, and `id` (opaque) when it was a person. `facts` are ids, digests,
    numbers and instants. Names, addresses, titles and free text belong in `personal`.
    """

    kind: str
    at: datetime
    log_origin: str
    actor: Mapping[str, str]
    subject: str
    facts: Mapping[str, Json] = field(default_factory=dict)
    personal: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opened:
    """What opens one commitment. Kept apart from the entry, so that it can be erased."""

    field: str
    salt: bytes
    value: Json


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored entry as read back; `personal` holds the 32-byte commitments by field."""

    kind: str
    at: datetime
    log_origin: str
    nonce: bytes
    actor: Mapping[str, str]
    subject: str
    facts: Mapping[str, Json]
    personal: Mapping[str, bytes]


def new_salt() -> bytes:
    """One per commitment, never derived from the value: else a guess could be tried."""
    return secrets.token_bytes(SALT_BYTES)


def new_nonce() -> bytes:
    return secrets.token_bytes(NONCE_BYTES)


def canonical(value: object, *, max_bytes: int | None = MAX_ENTRY_BYTES) -> bytes:
    """RFC 8785 bytes of `value`. `max_bytes=None` is for a whole bundle.

    Raises Invalid for anything but objects, arrays, NFC strings, booleans, null and integers
    within ±(2^53-1), and for more than `max_bytes`.
    """
    _check_value(value, _MAX_DEPTH)
    data = rfc8785.dumps(value)  # type: ignore[arg-type]  # _check_value has just narrowed it
    if max_bytes is not None and len(data) > max_bytes:
        raise Invalid(f"the canonical form has {len(data)} bytes; {max_bytes} is the most")
    return data


def _check_value(value: object, depth: int) -> None:
    if depth == 0:
        raise Invalid(f"the value is nested deeper than {_MAX_DEPTH} levels")
    match value:
        case None | bool():
            pass
        case int() if abs(value) <= _MAX_INTEGER:
            pass
        case str():
            _check_string(value)
        case list():
            for item in value:
                _check_value(item, depth - 1)
        case dict() if all(isinstance(key, str) for key in value):
            for part in (*value.keys(), *value.values()):
                _check_value(part, depth - 1)
        case _:
            raise Invalid(
                f"this {type(value).__name__} has no canonical form: only objects with string keys,"
                " arrays, strings, booleans, null and integers within ±(2^53-1) have"
            )


def _check_string(text: str) -> None:
    if not unicodedata.is_normalized("NFC", text):
        raise Invalid("a string is not in Unicode's NFC form")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Invalid("a string holds a lone surrogate") from None


def _refuse_number(text: str) -> None:
    raise ValueError(f"{text[:20]} is no integer")


_DECODE = json.JSONDecoder(parse_float=_refuse_number, parse_constant=_refuse_number).decode
_ENCODE_PLAIN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
_MANY_DIGITS = re.compile(rb"[0-9]{16}")  # 15 are always less than 2^53


def parse_canonical(data: bytes, *, max_bytes: int | None = MAX_ENTRY_BYTES) -> dict[str, Json]:
    """Read one JSON object whose bytes are exactly its canonical form.

    Raises VerificationFailed for anything else. Writing it again is the whole check: what the
    reader of JSON smooths over (doubled keys, spacing, escapes, -0) comes out as other bytes.
    """
    try:
        value: object = _DECODE(data.decode())
        if _is_plain(data) and (max_bytes is None or len(data) <= max_bytes):
            again = _ENCODE_PLAIN(value).encode()
        else:
            again = canonical(value, max_bytes=max_bytes)
    except (ValueError, RecursionError, Invalid) as error:
        raise VerificationFailed(f"this is not canonical JSON: {error}") from None
    if again != data:
        raise VerificationFailed("this JSON is not in its canonical form")
    if not isinstance(value, dict):
        raise VerificationFailed("this JSON is not an object")
    return value


def _is_plain(data: bytes) -> bool:
    """Whether Python's own writer, in C, gives the canonical form: ASCII is in NFC, sorts alike as
    UTF-16, and there is too little of it to be nested too deeply or to name a number too large.
    """
    deep = data.count(b"[") + data.count(b"{") >= _MAX_DEPTH
    return data.isascii() and not deep and _MANY_DIGITS.search(data) is None


def commitment(origin: str, nonce: bytes, field: str, salt: bytes, value: Json) -> bytes:
    """32 bytes that bind `value` to this log, entry and field, and say nothing without the salt.

    Each part carries its length, so no two different tuples give the same input. Raises Invalid.
    """
    if len(salt) != SALT_BYTES:
        raise Invalid(f"a salt has {SALT_BYTES} bytes")
    parts = [b"broker/commit/v1\0", _sized(origin.encode()), _sized(nonce), _sized(field.encode())]
    return hashlib.sha256(b"".join([*parts, salt, _sized(canonical(value))])).digest()


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(8, "big") + part


def build_entry(draft: EntryDraft) -> tuple[bytes, list[Opened]]:
    """The entry's bytes, and what opens each of its personal fields.

    Strings are brought to NFC first: how somebody's keyboard composed a name must not be a reason
    for an act to fail. Raises Invalid.
    """
    if not _KIND.fullmatch(draft.kind):
        raise Invalid(f"{draft.kind!r} is no kind of entry: <noun>.<participle>")
    if draft.at.tzinfo is None:
        raise Invalid("an entry's instant carries no time zone")
    if not {"side", "via"} <= draft.actor.keys() <= _ACTOR_FIELDS:
        raise Invalid("an actor has side and via, and may have an id")
    if not is_name(draft.log_origin) or not is_name(draft.subject):
        raise Invalid("an entry's log and subject are printable names")
    nonce = new_nonce()
    opened = [Opened(name, new_salt(), _nfc(value)) for name, value in draft.personal.items()]
    entry: dict[str, Json] = {
        "v": 1,
        "kind": draft.kind,
        "at": draft.at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
        + "Z",
        "log": draft.log_origin,
        "nonce": encode_base64(nonce),
        "actor": dict(draft.actor),
        "subject": draft.subject,
        "facts": _nfc(dict(draft.facts)),
        "personal": {
            o.field: encode_base64(commitment(draft.log_origin, nonce, o.field, o.salt, o.value))
            for o in opened
        },
    }
    return canonical(entry), opened


def _nfc(value: Json) -> Json:
    match value:
        case str():
            return unicodedata.normalize("NFC", value)
        case list():
            return [_nfc(item) for item in value]
        case dict():
            return {key: _nfc(item) for key, item in value.items()}
        case _:
            return value


def parse_entry(data: bytes) -> Entry:
    """Read a stored entry. Raises VerificationFailed unless `build_entry` could have made it."""
    entry = parse_canonical(data)
    if entry.keys() != _ENTRY_FIELDS or not is_version_1(entry):
        raise VerificationFailed("an entry of version 1 has other fields")
    kind, at = get_text(entry, "kind"), get_text(entry, "at")
    if not _KIND.fullmatch(kind) or not _INSTANT.fullmatch(at):
        raise VerificationFailed("an entry's kind or instant is malformed")
    try:
        instant = datetime.fromisoformat(at)
    except ValueError:
        raise VerificationFailed(f"{at} is no instant") from None
    actor, personal = _get_texts(entry, "actor"), _get_texts(entry, "personal")
    if not {"side", "via"} <= actor.keys() <= _ACTOR_FIELDS:
        raise VerificationFailed("an entry's actor is malformed")
    facts = entry["facts"]
    if not isinstance(facts, dict):
        raise VerificationFailed("an entry's facts are not an object")
    return Entry(
        kind=kind,
        at=instant,
        log_origin=get_name(entry, "log"),
        nonce=decode_base64(get_text(entry, "nonce"), NONCE_BYTES),
        actor=actor,
        subject=get_name(entry, "subject"),
        facts=facts,
        personal={name: decode_base64(text, 32) for name, text in personal.items()},
    )


def is_version_1(fields: Mapping[str, Json]) -> bool:
    """Whether `v` is the number 1; Python's True equals 1 and is not it."""
    version = fields.get("v")
    return version == 1 and version is not True


def get_text(fields: Mapping[str, Json], name: str) -> str:
    """The string `name` of a parsed object. Raises VerificationFailed."""
    value = fields.get(name)
    if not isinstance(value, str):
        raise VerificationFailed(f"{name!r} is not a string")
    return value


def get_name(fields: Mapping[str, Json], name: str) -> str:
    """The string `name`, not empty and printable: it may be shown on a terminal as it is.

    Raises VerificationFailed.
    """
    text = get_text(fields, name)
    if not is_name(text):
        raise VerificationFailed(f"{name!r} is empty or holds a character that can't be shown")
    return text


def is_name(text: str) -> bool:
    return bool(text) and text.isprintable()


def _get_texts(fields: Mapping[str, Json], name: str) -> dict[str, str]:
    value = fields.get(name)
    if not isinstance(value, dict):
        raise VerificationFailed(f"{name!r} is not an object")
    return {key: get_text(value, key) for key in value}


def encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def decode_base64(text: str, size: int | None = None) -> bytes:
    """Standard base64 in its one canonical spelling, of `size` bytes. Raises VerificationFailed."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise VerificationFailed("this is not base64") from None
    if encode_base64(data) != text:
        raise VerificationFailed("this base64 is not in its canonical form")
    if size is not None and len(data) != size:
        raise VerificationFailed(f"{size} bytes were due, {len(data)} stand there")
    return data
