"""What is due, of many kinds of thing, in one question.

A sweep asks of some twenty kinds whether anything is due, and mostly it is none; a statement for
each was most of what a sweep cost. Each kind is asked by the index in whose order it is listed, so
that neither what lives nor what has long ended is read. The rows are asked, every time: nothing
here remembers what was due, so nothing can be lost.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.sql.visitors import replacement_traverse

from broker.db import Base
from broker.tx import Tx

R = TypeVar("R", bound=Base)
AT: sa.BindParameter[Any] = sa.bindparam("at", type_=sa.DateTime(timezone=True))


@dataclass(frozen=True, slots=True, eq=False)
class Due(Generic[R]):
    """Rows of `model` for which `where` holds at `AT`, in the order of `by`."""

    model: type[R]
    where: sa.ColumnElement[bool]
    by: Any

    def list(self, tx: Tx, limit: int) -> Sequence[R]:
        query = sa.select(self.model).where(plain(self.where)).order_by(self.by).limit(limit)
        return tx.session.scalars(query, {"at": tx.at}).all()


def find_due(tx: Tx, *kinds: Due[Any]) -> frozenset[Due[Any]]:
    """Those of which at least one row is due now."""
    row = tx.session.execute(_question(kinds), {"at": tx.at}).one()
    return frozenset(kind for kind, found in zip(kinds, row, strict=True) if found)


@functools.cache
def _question(kinds: tuple[Due[Any], ...]) -> sa.Select[Any]:
    """Not EXISTS: that is free to read a table from its beginning, in the hope of an early find."""
    firsts = [
        sa.select(sa.true())
        .select_from(kind.model)
        .where(plain(kind.where))
        .order_by(kind.by)
        .limit(sa.literal_column("1"))
        .scalar_subquery()
        for kind in kinds
    ]
    return sa.select(*(first.label(f"due_{number}") for number, first in enumerate(firsts)))


def plain(where: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """With all values but `AT` in the text. A session that asks the same again may get a plan for
    whatever values, and such a plan uses no partial index whose values it is not told.
    """

    def written(element: Any, **_: Any) -> Any:
        if isinstance(element, sa.BindParameter) and element is not AT:
            return element.render_literal_execute()
        return None

    return replacement_traverse(where, {}, written)
