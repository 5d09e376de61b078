"""The closed list of what a log can say: each kind of entry, its facts, what is personal in it.

`trail.record` writes nothing that is not listed here, so the page that is made from this list is
whole (`python -m broker.kinds > docs/audit-events.md`). A fact is an id, a digest, an instant, a
number or a word of ours; whatever a person wrote, or is called, is personal: committed to in the
entry, opened beside it.

A kind is never taken away and a fact never changes its meaning: old logs must stay readable.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from broker.kinds.access import ACCESS
from broker.kinds.copies import COPIES
from broker.kinds.forms import TYPES, Kind
from broker.kinds.organisations import ORGANISATIONS
from broker.kinds.purposes import PURPOSES

__all__ = ["KINDS", "TYPES", "Kind", "Unlisted", "check"]

KINDS: Mapping[str, Kind] = {**ORGANISATIONS, **PURPOSES, **ACCESS, **COPIES}


class Unlisted(ValueError):
    """An entry says something that `KINDS` does not list: a defect of the code that writes it."""


def check(kind: str, facts: Mapping[str, object], personal: Collection[str]) -> None:
    """Raises Unlisted for a kind, fact or personal field that is not in the list above."""
    known = KINDS.get(kind)
    if known is None:
        raise Unlisted(f"{kind} is no kind of entry; list it in broker/kinds")
    for name, value in facts.items():
        if type(value) is not TYPES.get(known.facts.get(name, "")):  # True is no number
            raise Unlisted(f"{kind} has no fact {name} that is a {type(value).__name__}")
    for name in personal:
        if name not in known.personal:
            raise Unlisted(f"{kind} has no personal field {name}")
