"""All that is held of a person, as one file for them: JSON with its schema, and a page to read.

The zip holds `export.json`, `schema.json` (JSON Schema 2020-12) and `export.html`. Nothing in it is
a secret, and nothing in it is about anybody else than the person and what they did.
"""

from __future__ import annotations

import html
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from broker import people, trail
from broker.db import Json
from broker.errors import Conflict, NotFound
from broker.ids import PersonId
from broker.people import Person
from broker.rights.held import HOLDINGS, Found, list_entries, list_mentions, read_holding
from broker.tx import Tx

FORMAT = "support-access-broker/person/1"
_SHOWN = 1000  # rows of one part on the page to read; export.json has them all
SCHEMA: Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "What a support-access broker holds of one person",
    "type": "object",
    "required": ["format", "person", "made_at", "parts", "log", "mentions"],
    "properties": {
        "format": {"const": FORMAT},
        "person": {"type": "string", "description": "the id by which you are named in our tables"},
        "made_at": {"type": "string", "format": "date-time"},
        "parts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["table", "what", "at_erasure", "why", "rows"],
                "properties": {
                    "table": {"type": "string"},
                    "what": {"type": "string"},
                    "at_erasure": {"enum": ["erased", "nameless", "kept"]},
                    "why": {"type": "string", "description": "why it is kept"},
                    "rows": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["key", "named_in", "row"],
                            "properties": {
                                "key": {"type": "string"},
                                "named_in": {"type": "array", "items": {"type": "string"}},
                                "row": {"type": "object"},
                            },
                        },
                    },
                },
            },
        },
        "log": {
            "type": "array",
            "description": "entries of audit logs by you, about you, or that name your id",
            "items": {"type": "object", "required": ["key", "entry"]},
        },
        "mentions": {
            "type": "array",
            "description": "where your name or address stands in a text, maybe about others",
            "items": {"type": "object", "required": ["table", "key", "column"]},
        },
    },
}


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one table, and what is to be said of them."""

    table: str
    what: str
    fate: str
    why: str
    rows: Sequence[Found]


def export_person(tx: Tx, person_id: str) -> bytes:
    """The zip. For the person themselves, or a privacy officer who answers them.

    Raises Denied, NotFound; Conflict once the person was erased: nothing is left to export.
    """
    if tx.actor.person_id != person_id:
        people.check(tx, "rights:handle")
    person = tx.session.get(Person, person_id)
    if person is None:
        raise NotFound("there is no such person")
    if ":" in person.address_key:  # no address holds a colon: see `erasing`
        raise Conflict("this person was erased; nothing is left to export")
    made = _zip(read_document(tx, person_id))
    trail.record(tx, None, "person.exported", PersonId(person_id), {"bytes": len(made)})
    return made


def read_document(tx: Tx, person_id: str) -> Json:
    """What `export.json` says."""
    parts = [
        Part(one.table, one.what, one.fate, one.why if one.fate == "kept" else "", rows)
        for one in HOLDINGS
        if (rows := read_holding(tx, one, person_id))
    ]
    return {
        "format": FORMAT,
        "person": person_id,
        "made_at": tx.at.isoformat(),
        "parts": [_part(part) for part in parts],
        "log": [{"key": one.key, "entry": one.row} for one in list_entries(tx, person_id)],
        "mentions": [
            {"table": one.table, "key": one.key, "column": one.columns[0]}
            for one in list_mentions(tx, person_id)
        ],
    }


def _part(part: Part) -> Json:
    rows = [{"key": r.key, "named_in": list(r.columns), "row": r.row} for r in part.rows]
    return {
        "table": part.table,
        "what": part.what,
        "at_erasure": part.fate,
        "why": part.why,
        "rows": rows,
    }


def _zip(document: Json) -> bytes:
    made = io.BytesIO()
    # Compressed lightly: a part of millions of rows is written by the web, between other answers.
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        _write(archive, "export.json", _as_lines(document))
        _write(archive, "schema.json", [json.dumps(SCHEMA, indent=2)])
        _write(archive, "export.html", write_page(document))
    return made.getvalue()


def _write(archive: zipfile.ZipFile, name: str, blocks: Iterable[str]) -> None:
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.compress_type = archive.compression  # a ZipInfo made by hand is stored as it is
    with archive.open(member, "w") as file:
        for block in blocks:
            file.write(block.encode())


def _as_lines(document: Json) -> Iterator[str]:
    """The JSON with a row a line: readable, and each written by the encoder that is quick."""
    head = {name: value for name, value in document.items() if not isinstance(value, list)}
    yield _dumps(head)[:-1]
    yield ',\n"parts": ['
    for number, part in enumerate(document["parts"]):
        told = {name: value for name, value in part.items() if name != "rows"}
        yield (",\n" if number else "\n") + _dumps(told)[:-1] + ', "rows": ['
        yield from _listed(part["rows"])
        yield "]}"
    for name in ("log", "mentions"):
        yield f'],\n"{name}": ['
        yield from _listed(document[name])
    yield "]}\n"


def _listed(rows: Sequence[Json]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield (",\n" if number else "\n") + _dumps(row)


_dumps = json.JSONEncoder(ensure_ascii=False).encode  # without an indent: that would be in Python


_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>What is held of you</title>
<style>body{font-family:sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
dl{display:grid;grid-template-columns:max-content auto;gap:.2rem 1rem;border-top:1px solid #ccc;
padding-top:.5rem}dt{color:#555}dd{margin:0;overflow-wrap:anywhere}</style></head><body>
"""


def write_page(document: Json) -> Iterator[str]:
    """The same for reading: every value is escaped, nothing runs, nothing is fetched."""
    yield _HEAD + "<h1>What is held of you</h1>\n"
    yield f"<p>Made on {_text(document['made_at'])}. You are named by the id "
    yield f"{_text(document['person'])}. The same stands in export.json for programs.</p>\n"
    for part in document["parts"]:
        yield f"<h2>{_text(part['what'])} ({len(part['rows'])})</h2>\n"
        if part["why"]:
            yield f"<p>Kept without your name after an erasure: {_text(part['why'])}.</p>\n"
        yield from _shown([one["row"] for one in part["rows"]])
    yield f"<h2>Entries of audit logs ({len(document['log'])})</h2>\n"
    yield from _shown([one["entry"] for one in document["log"]])
    yield f"<h2>Where your name stands in a text ({len(document['mentions'])})</h2><ul>\n"
    for one in document["mentions"][:_SHOWN]:
        yield f"<li>{_text(one['table'])} {_text(one['key'])}: {_text(one['column'])}</li>\n"
    yield "</ul>\n"
    yield from _say_more(len(document["mentions"]))
    yield "</body></html>\n"


def _shown(rows: Sequence[Json]) -> Iterator[str]:
    yield from (_rows(row) for row in rows[:_SHOWN])
    yield from _say_more(len(rows))


def _say_more(count: int) -> Iterator[str]:
    if count > _SHOWN:
        yield f"<p>These are the first {_SHOWN} of {count}; export.json has them all.</p>\n"


def _rows(row: Json) -> str:
    pairs = [
        f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>"
        for name, value in row.items()
        if value not in (None, [], {})
    ]
    return f"<dl>{''.join(pairs)}</dl>"


def _text(value: Any) -> str:
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return html.escape(said)
