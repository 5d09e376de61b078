"""The export bundle: all that a customer needs to verify a log offline, as one JSON document.

Parsing says only that the form is right; `verify` says what holds. The form is canonical (RFC
8785), so that two different files never stand for one bundle. Keys in it are hints: whoever could
forge the bundle could forge them too.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.entries import (
    SALT_BYTES,
    Json,
    canonical,
    decode_base64,
    encode_base64,
    get_name,
    get_text,
    is_version_1,
    parse_canonical,
)
from broker.errors import VerificationFailed

_FIELDS = {"v", "origin", "entries", "openings", "checkpoints", "keys", "certificates"}
_OPENING_FIELDS = {"index", "field", "salt", "value"}


@dataclass(frozen=True, slots=True)
class Opening:
    """The salt and value behind one commitment: field `field` of entry `index`."""

    index: int
    field: str
    salt: bytes
    value: Json


@dataclass(frozen=True, slots=True)
class Bundle:
    """`entries` in order from 0; `checkpoints` are notes by increasing size; `keys` are verifier
    keys as text; `certificates` are DSSE envelopes.
    """

    origin: str
    entries: tuple[bytes, ...]
    openings: tuple[Opening, ...]
    checkpoints: tuple[str, ...]
    keys: tuple[str, ...]
    certificates: tuple[bytes, ...]


def build_bundle(bundle: Bundle) -> bytes:
    """Raises Invalid if a value has no canonical form."""
    document = {
        "v": 1,
        "origin": bundle.origin,
        "entries": [encode_base64(entry) for entry in bundle.entries],
        "openings": [
            {
                "index": opening.index,
                "field": opening.field,
                "salt": encode_base64(opening.salt),
                "value": opening.value,
            }
            for opening in bundle.openings
        ],
        "checkpoints": list(bundle.checkpoints),
        "keys": list(bundle.keys),
        "certificates": [encode_base64(envelope) for envelope in bundle.certificates],
    }
    return canonical(document, max_bytes=None)


def parse_bundle(data: bytes) -> Bundle:
    """Raises VerificationFailed unless `build_bundle` could have made exactly these bytes."""
    document = parse_canonical(data, max_bytes=None)
    if document.keys() != _FIELDS or not is_version_1(document):
        raise VerificationFailed("a bundle of version 1 has other fields")
    return Bundle(
        origin=get_name(document, "origin"),
        entries=tuple(decode_base64(text) for text in _texts(document, "entries")),
        openings=tuple(_opening(item) for item in _list(document, "openings")),
        checkpoints=_texts(document, "checkpoints"),
        keys=_texts(document, "keys"),
        certificates=tuple(decode_base64(text) for text in _texts(document, "certificates")),
    )


def find_origin(data: bytes) -> str | None:
    """Whose log the bundle says it is: to look up what its reader holds, never to believe."""
    try:
        return parse_bundle(data).origin
    except VerificationFailed:
        return None


def _opening(item: Json) -> Opening:
    if not isinstance(item, dict) or item.keys() != _OPENING_FIELDS:
        raise VerificationFailed("an opening has index, field, salt and value")
    index = item["index"]
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise VerificationFailed("an opening's index is not the number of an entry")
    salt = decode_base64(get_text(item, "salt"), SALT_BYTES)
    return Opening(index, get_text(item, "field"), salt, item["value"])


def _list(document: dict[str, Json], name: str) -> list[Json]:
    value = document[name]
    if not isinstance(value, list):
        raise VerificationFailed(f"{name!r} is not a list")
    return value


def _texts(document: dict[str, Json], name: str) -> tuple[str, ...]:
    items = _list(document, name)
    texts = tuple(item for item in items if isinstance(item, str))
    if len(texts) != len(items):
        raise VerificationFailed(f"{name!r} holds something that is not a string")
    return texts
