"""Kinds of a scope: what a request may ask to see of a database. Pure.

    structure   names, types and definitions: no row at all
    masked      rows, through the policy's masks; the usual one
    raw         the same, with columns that are named one by one in clear
    write       reserved: refused, with what to do instead

A copy is worked on as one of two: `use` reads and changes rows and owns nothing; `develop` is asked
besides, and may also change the definitions there.

What must stay true: a kind is asked, never given by itself. A decision takes raw columns away and
can't add one, for a `Narrowing` has no word for it; a copy is never raw.
"""

from __future__ import annotations

from dataclasses import dataclass

STRUCTURE, MASKED, RAW, WRITE = "structure", "masked", "raw", "write"
KINDS = (STRUCTURE, MASKED, RAW)
MOST_RAW = 100
_MOST_CHARS = 200
_NO_WRITING = (
    "writing is never given: ask for a copy and change that, or have the customer review and run "
    "the statement themselves"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """`raw` holds full names, `schema.table.column`, each once and in order; of the kind RAW.

    Of a copy, `develop`: logins that may change its definitions too; `dedicated`: a server of its
    own.
    """

    kind: str = MASKED
    raw: tuple[str, ...] = ()
    develop: bool = False
    dedicated: bool = False


@dataclass(frozen=True, slots=True)
class Ways:
    """By which ways a request asks to see it."""

    live: bool
    copy: bool
    platform: bool  # or a storage: both show rows or objects as they are there


def find_problems(wanted: Wanted, ways: Ways) -> dict[str, str]:
    """By field, what can't be asked like this; empty when all can."""
    if wanted.kind not in KINDS:
        return {"kind": _NO_WRITING if wanted.kind == WRITE else f"one of {', '.join(KINDS)}"}
    fields: dict[str, str] = {}
    if (wanted.kind == RAW) != bool(wanted.raw):
        fields["raw_columns"] = "name columns with the kind raw, and with no other"
    elif len(wanted.raw) > MOST_RAW:
        fields["raw_columns"] = f"at most {MOST_RAW} columns; ask for what the ticket needs"
    elif not all(name.count(".") >= 2 and len(name) <= _MOST_CHARS for name in wanted.raw):
        fields["raw_columns"] = "name each as schema.table.column"
    if wanted.kind == RAW and (ways.copy or not ways.live):
        fields["kind"] = "columns are raw in live access alone; ask for a copy by itself: masked"
    if wanted.kind == STRUCTURE and ways.platform:
        fields["kind"] = "applications and objects show values; ask for these by themselves"
    if wanted.develop and not ways.copy:
        fields["develop"] = "definitions are changed on a copy alone; ask for one too"
    if wanted.dedicated and not ways.copy:
        fields["dedicated"] = "a server of its own is for a copy; ask for one too"
    return fields
