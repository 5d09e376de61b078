"""Entries for other systems: JSON Lines, CSV, and OCSF 1.3 events for a SIEM. Pure.

Every form names the log, the position and the leaf hash, so that what a SIEM holds can be proved
later and a gap is seen. Personal values are left out: they can be erased here, not there.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from broker.audit.selecting import Chosen
from broker.entries import Json

_COLUMNS = (
    *("log", "position", "at", "kind", "subject", "side", "via", "person", "facts", "leaf_hash"),
)
_MEDIA = {"jsonl": "application/jsonl", "csv": "text/csv", "ocsf": "application/jsonl"}
FORMATS = tuple(_MEDIA)

# OCSF classes: https://schema.ocsf.io, category 3 is Identity & Access Management, 6 Application.
_AUTHENTICATION, _SESSION, _ENTITY, _ACCESS = 3002, 3003, 3004, 3005
_DATASTORE = 6005
_CLASSES: Mapping[str, int] = {
    "person": _AUTHENTICATION,
    "grant": _ACCESS,
    "approval": _ACCESS,
    "standing": _ACCESS,
    "member": _ACCESS,
    "lease": _SESSION,
    "snapshot": _DATASTORE,
    "plan": _DATASTORE,
}
# An activity is a number of its class; 99 is "other", and `activity_name` then says which.
_ACTIVITIES: Mapping[str, tuple[int, int]] = {
    "person.signed_in": (_AUTHENTICATION, 1),
    "grant.approved": (_ACCESS, 1),
    "grant.ended": (_ACCESS, 2),
    "snapshot.ordered": (_DATASTORE, 4),
    "snapshot.destroyed": (_ENTITY, 4),
    "person.erased": (_ENTITY, 4),
}
_OTHER = 99


def media_type(form: str) -> str:
    return _MEDIA[form]


def write_entries(form: str, origin: str, chosen: Sequence[Chosen]) -> bytes:
    """`form` is one of FORMATS."""
    writers: Mapping[str, Callable[[str, Sequence[Chosen]], str]] = {
        "jsonl": lambda log, rows: _lines(plain(log, row) for row in rows),
        "ocsf": lambda log, rows: _lines(_ocsf(log, row) for row in rows),
        "csv": _csv,
    }
    return writers[form](origin, chosen).encode()


def _lines(items: Iterable[Json]) -> str:
    return "".join(f"{json.dumps(item, ensure_ascii=False)}\n" for item in items)


def plain(origin: str, row: Chosen) -> dict[str, Json]:
    entry = row.entry
    return {
        "log": origin,
        "position": row.position,
        "at": entry.at.isoformat(),
        "kind": entry.kind,
        "subject": entry.subject,
        "side": entry.actor["side"],
        "via": entry.actor["via"],
        "person": entry.actor.get("id"),
        "facts": dict(entry.facts),
        "leaf_hash": row.leaf_hash.hex(),
    }


def _csv(origin: str, chosen: Sequence[Chosen]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, lineterminator="\r\n")  # RFC 4180
    writer.writeheader()
    for row in chosen:
        said = plain(origin, row)
        facts = json.dumps(said["facts"], ensure_ascii=False, sort_keys=True)
        writer.writerow({**said, "facts": facts, "person": said["person"] or ""})
    return out.getvalue()


def _ocsf(origin: str, row: Chosen) -> dict[str, Json]:
    entry = row.entry
    noun = entry.kind.partition(".")[0]
    kind, activity = _ACTIVITIES.get(entry.kind, (_CLASSES.get(noun, _ENTITY), _OTHER))
    user: dict[str, Json] = {"uid": entry.actor.get("id") or f"broker/{entry.actor['via']}"}
    return {
        "class_uid": kind,
        "category_uid": kind // 1000,
        "activity_id": activity,
        "activity_name": entry.kind,
        "type_uid": kind * 100 + activity,
        "time": int(entry.at.timestamp() * 1000),
        "severity_id": 1,
        "metadata": {
            "version": "1.3.0",
            "uid": f"{origin}/{row.position}",
            "product": {"name": "support-access broker", "vendor_name": origin.partition("/")[0]},
        },
        "actor": {"user": {**user, "type": entry.actor["side"]}},
        "user": user,
        "entity": {"uid": entry.subject, "type": noun},
        "unmapped": {
            "facts": dict(entry.facts),
            "log": {"origin": origin, "position": row.position, "leaf_hash": row.leaf_hash.hex()},
        },
    }
