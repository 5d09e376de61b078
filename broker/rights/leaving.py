"""What an erasure takes out of texts, and the list of what it leaves: rows, each with its ground.

Copies of what was said elsewhere (mails, mirrored titles, asks) lose the name; an opening
of a log that holds it is deleted. What people wrote into the record of a decision stays as written,
and is named in the list: changing it would change what was decided on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import sqlalchemy as sa

from broker.db import Json
from broker.rights.held import (
    HOLDINGS,
    KEPT,
    Found,
    list_entries,
    list_mentions,
    list_names,
    read_holding,
)
from broker.tx import Tx

GONE = "[erased]"
_CHANGED = {"mail", "ticket", "ticket_comment", "rights_case"}
_TEXT = "written by people into the record of a decision (GDPR 17(3)(e)); not about this person"
_LOG = "an entry of a log that customers verify: an opaque id, no name (GDPR 17(3)(b) and (e))"
REPORT = "this list itself (GDPR 5(2))"
_NAMELESS = "acts point to it: an opaque id, no name and no address"


def take_out_of_texts(tx: Tx, person_id: str) -> int:
    """Before the name itself goes. Returns how many openings of logs were deleted."""
    names, openings = list_names(tx, person_id), 0
    for found in list_mentions(tx, person_id):
        if found.table in _CHANGED:
            _rewrite(tx, found, names)
        elif found.table == "audit_opening":
            tx.session.execute(
                sa.text("DELETE FROM audit_opening WHERE entry_id || ' ' || field = :key"),
                {"key": found.key},
            )
            openings += 1
    return openings


def _rewrite(tx: Tx, found: Found, names: Sequence[str]) -> None:
    column = found.columns[0]
    asked = f"SELECT {column} FROM {found.table} WHERE id::text = :key"  # noqa: S608  # names are the list's own
    text = tx.session.scalar(sa.text(asked), {"key": found.key})
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(re.escape(name), GONE, str(text), flags=re.IGNORECASE)
    change = f"UPDATE {found.table} SET {column} = :text WHERE id::text = :key"  # noqa: S608  # names are the list's own
    tx.session.execute(sa.text(change), {"text": text, "key": found.key})


def list_left_texts(tx: Tx, person_id: str) -> list[Json]:
    """Texts in which the name stays; asked while the name is known."""
    left = [one for one in list_mentions(tx, person_id) if one.table not in _own_tables()]
    return [_line(one, _TEXT) for one in left]


def list_left_rows(tx: Tx, person_id: str) -> list[Json]:
    """Rows that hold the opaque id still; asked when all else is gone."""
    left = []
    for holding in HOLDINGS:
        why = holding.why if holding.fate == KEPT else _NAMELESS
        left += [_line(one, why) for one in read_holding(tx, holding, person_id)]
    return left + [_line(one, _LOG) for one in list_entries(tx, person_id)]


def _own_tables() -> set[str]:
    """Tables whose rows lose the name with the person, or go."""
    return {one.table for one in HOLDINGS if one.fate != KEPT}


def _line(found: Found, why: str) -> Json:
    return {
        "table": found.table,
        "key": found.key,
        "columns": list(found.columns),
        "why": why,
    }
