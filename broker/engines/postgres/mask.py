"""What a mask is: a name, what it does, keeps and risks, for which columns, and its SQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from psycopg import sql

from broker.engines import Column

TIME_TYPES = frozenset({"date", "timestamp without time zone", "timestamp with time zone"})


@dataclass(frozen=True, slots=True)
class Mask:
    """`fits` says for which columns it is made, `chars` how many characters a text column must
    hold; `expression` gives SQL for a column and a label (see `expressions`).

    `injective` up to the collisions of a hash; `hides` is false where the value itself stays. With
    `may_coincide` one row's masked value may by chance be another's real one, so the look for
    canaries would cry wolf; but not for values that differ from all its `outputs`, a pattern.
    """

    name: str
    summary: str
    keeps: str
    risk: str
    fits: Callable[[Column], bool]
    expression: Callable[[Column, str], sql.Composed]
    chars: int = 0
    needs_key: bool = False
    keeps_join: bool = False
    injective: bool = False
    hides: bool = True
    may_coincide: bool = False
    outputs: str = ""
