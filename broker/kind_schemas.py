"""A JSON Schema for each kind of entry, made from the list of kinds: for whoever reads a log by
program (`broker log schemas`, `GET /log/schemas`).

An entry's `v` is the version of its form. Within one version kinds and facts are only added, so a
reader takes a kind that it does not know for one of a younger release, never for damage.
"""

from __future__ import annotations

from collections.abc import Collection

from broker.entries import Json
from broker.kinds import KINDS, Kind

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ID = "urn:support-access-broker:audit-events:1"
_TEXT: dict[str, Json] = {"type": "string"}
_INSTANT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$"
_FACTS: dict[str, dict[str, Json]] = {
    "id": _TEXT,
    "word": _TEXT,
    "digest": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "instant": {"type": "string", "format": "date-time"},
    "number": {"type": "integer"},
    "yes or no": {"type": "boolean"},
    "words": {"type": "array", "items": {"type": "string"}},
    "numbers": {"type": "array", "items": {"type": "integer"}},
}


def write_schemas() -> dict[str, Json]:
    """One document: an entry is one of its `$defs`, which are named by kind."""
    return {
        "$schema": _DIALECT,
        "$id": _ID,
        "title": "An entry of a log",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in sorted(KINDS)],
        "$defs": {name: _write(name, kind) for name, kind in sorted(KINDS.items())},
    }


def _write(name: str, kind: Kind) -> Json:
    facts: dict[str, Json] = {fact: _FACTS[form] for fact, form in kind.facts.items()}
    personal: dict[str, Json] = {
        field: _base64(32, "a salted commitment") for field in kind.personal
    }
    return _object(
        {
            "v": {"const": 1},
            "kind": {"const": name},
            "at": {"type": "string", "pattern": _INSTANT},
            "log": _TEXT,
            "nonce": _base64(16, "drawn for this entry"),
            "actor": _object({"side": _TEXT, "via": _TEXT, "id": _TEXT}, optional=("id",)),
            "subject": {"type": "string", "description": kind.subject},
            "facts": _object(facts, optional=facts),
            "personal": _object(personal, optional=personal),
        },
        description=kind.says,
    )


def _object(
    fields: dict[str, Json], optional: Collection[str] = (), description: str = ""
) -> dict[str, Json]:
    said: dict[str, Json] = {"description": description} if description else {}
    return said | {
        "type": "object",
        "properties": fields,
        "required": [name for name in fields if name not in optional],
        "additionalProperties": False,
    }


def _base64(size: int, description: str) -> dict[str, Json]:
    length = (size + 2) // 3 * 4
    return {
        "type": "string",
        "contentEncoding": "base64",
        "minLength": length,
        "maxLength": length,
        "description": description,
    }
