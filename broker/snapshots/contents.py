"""What a copy's artifact holds, as its manifest says it: enough to rebuild the sandbox from it.

Pure. Names are the tenant's text and may hold any character, so they stand in JSON, never joined.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from broker.engines.postgres.copying import ObjectId
from broker.engines.postgres.copying.sequences import SequenceState
from broker.errors import VerificationFailed

DEFINITIONS = "definitions"
_FORM = 2  # in the first, definitions were two objects


@dataclass(frozen=True, slots=True)
class SealedTable:
    """`objects` hold its rows in COPY's text or binary form; `columns` in their order, none
    generated. Of several in one object each has its next `size_bytes`, in the manifest's order;
    None is all of it.
    """

    objects: tuple[str, ...]
    schema: str
    name: str
    columns: tuple[str, ...]
    rows: int
    binary: bool = False
    size_bytes: int | None = None

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Contents:
    """`left_out` are ids of entries that were not restored, for their rows are not in the copy."""

    plan: str  # digest
    encoding: str
    tables: tuple[SealedTable, ...]
    sequences: tuple[SequenceState, ...]
    left_out: tuple[ObjectId, ...]

    def to_facts(self) -> dict[str, str | int]:
        """The manifest's facts; `from_facts` is the inverse."""
        facts: dict[str, str | int] = {
            "form": _FORM,
            "plan": self.plan,
            "encoding": self.encoding,
            "left_out": json.dumps(self.left_out),
        }
        for number, table in enumerate(self.tables):
            row = [
                *(table.objects, table.schema, table.name, table.columns, table.rows),
                *(table.binary, table.size_bytes),
            ]
            facts[f"table:{number}"] = json.dumps(row)
        for number, state in enumerate(self.sequences):
            facts[f"sequence:{number}"] = json.dumps(state)
        return facts

    @classmethod
    def from_facts(cls, facts: Mapping[str, str | int]) -> Contents:
        """Raises VerificationFailed."""
        try:
            _check_form(facts)
            return cls(
                plan=str(facts["plan"]),
                encoding=str(facts["encoding"]),
                tables=tuple(
                    SealedTable(tuple(objects), schema, name, tuple(columns), rows, *form)
                    for objects, schema, name, columns, rows, *form in _read_all(facts, "table:")
                ),
                sequences=tuple(SequenceState(*row) for row in _read_all(facts, "sequence:")),
                left_out=tuple(ObjectId(*pair) for pair in json.loads(str(facts["left_out"]))),
            )
        except (KeyError, TypeError, ValueError):
            raise VerificationFailed(
                "the manifest was written by another version of the broker"
            ) from None


def _check_form(facts: Mapping[str, str | int]) -> None:
    if facts["form"] != _FORM:
        msg = "another form"
        raise ValueError(msg)


def _read_all(facts: Mapping[str, str | int], prefix: str) -> list[Any]:
    keys = [key for key in facts if key.startswith(prefix)]
    return [json.loads(str(facts[f"{prefix}{number}"])) for number in range(len(keys))]
