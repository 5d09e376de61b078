"""What is kept to improve the product: counts of what went wrong, of no fewer than five customers.

A month that is over is read once. Each ended grant is one record without a name, an id or a text:
what its ticket was about (the ticket system's own category), how grave, the kind of reason, and how
long it was open. Rare values are grouped (`group`) until every row speaks of at least K customers;
what can't be grouped is left out, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from statistics import median

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import people, trail
from broker.db import Base
from broker.tx import Tx

K = 5
ANY = "any"


class ImprovementRow(Base):
    """`about`, `severity` and `kind` are ANY where they were too rare to be said."""

    __tablename__ = "improvement_row"
    month: Mapped[date] = mapped_column(primary_key=True)
    about: Mapped[str] = mapped_column(primary_key=True)
    severity: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    records: Mapped[int]
    median_hours: Mapped[int]


class ImprovementReport(Base):
    """Of one month: how many records there were, how many were kept, and how many left out."""

    __tablename__ = "improvement_report"
    month: Mapped[date] = mapped_column(primary_key=True)
    made_at: Mapped[datetime]
    records: Mapped[int]
    grouped: Mapped[int]
    left_out: Mapped[int]


@dataclass(frozen=True, slots=True)
class Incident:
    """One ended grant. `customer` is only counted, and never kept."""

    customer: str
    about: str
    severity: str
    kind: str
    hours: float


@dataclass(frozen=True, slots=True)
class Row:
    about: str
    severity: str
    kind: str
    records: int
    median_hours: int


@dataclass(frozen=True, slots=True)
class Grouped:
    """`grouped` records lost a value to stay; `left_out` were too few whatever they lost."""

    rows: tuple[Row, ...]
    grouped: int
    left_out: int


_Cell = tuple[str, str, str]
_LEVELS: tuple[Callable[[Incident], _Cell], ...] = (
    lambda one: (one.about, one.severity, one.kind),
    lambda one: (one.about, ANY, one.kind),
    lambda one: (ANY, ANY, one.kind),
    lambda _: (ANY, ANY, ANY),
)


def group(incidents: Sequence[Incident], k: int = K) -> Grouped:
    """Rows of at least `k` customers each: values are given up one after the other until it holds.

    Each record is in one row at most, so no row can be subtracted from another.
    """
    left, rows, grouped = list(incidents), list[Row](), 0
    for level, cell_of in enumerate(_LEVELS):
        cells: dict[_Cell, list[Incident]] = {}
        for one in left:
            cells.setdefault(cell_of(one), []).append(one)
        left = []
        for cell, held in sorted(cells.items()):
            if len({one.customer for one in held}) < k:
                left += held
                continue
            rows.append(Row(*cell, len(held), round(median(one.hours for one in held))))
            grouped += len(held) if level else 0
    return Grouped(tuple(rows), grouped, len(left))


def improve(tx: Tx) -> int:
    """Read each month that is over and was not read; returns how many rows were kept."""
    kept = 0
    for month in _list_unread(tx):
        incidents = _read_month(tx, month)
        found = group(incidents)
        for row in found.rows:
            values = {name: getattr(row, name) for name in Row.__dataclass_fields__}
            tx.session.add(ImprovementRow(month=month, **values))
        tx.session.add(
            ImprovementReport(
                month=month,
                made_at=tx.at,
                records=len(incidents),
                grouped=found.grouped,
                left_out=found.left_out,
            )
        )
        tx.session.flush()
        facts = {"records": len(incidents), "rows": len(found.rows), "left_out": found.left_out}
        trail.record(tx, None, "improvement.kept", f"{month:%Y-%m}", facts)
        kept += len(found.rows)
    return kept


def _list_unread(tx: Tx) -> list[date]:
    """Months, by their first day (UTC), in which a grant ended and that ended a week ago."""
    query = sa.text("""
        SELECT DISTINCT date_trunc('month', state_at AT TIME ZONE 'UTC')::date AS month
          FROM access_grant WHERE state = 'ended'
           AND date_trunc('month', state_at AT TIME ZONE 'UTC') + interval '1 month 7 days'
               <= CAST(:at AS timestamptz) AT TIME ZONE 'UTC'
        EXCEPT SELECT month FROM improvement_report ORDER BY 1
    """)
    return list(tx.session.scalars(query, {"at": tx.at}))


def _read_month(tx: Tx, month: date) -> list[Incident]:
    query = sa.text("""
        SELECT g.tenant_id AS customer, coalesce(nullif(t.category, ''), 'unsaid') AS about,
               coalesce(nullif(t.severity, ''), 'unsaid') AS severity, g.category AS kind,
               extract(epoch FROM g.state_at - g.requested_at)::float / 3600 AS hours
          FROM access_grant g JOIN ticket t ON t.id = g.ticket_id
         WHERE g.state = 'ended'
           AND date_trunc('month', g.state_at AT TIME ZONE 'UTC')::date = :month
    """)
    return [Incident(*row) for row in tx.session.execute(query, {"month": month})]


def list_rows(tx: Tx) -> list[ImprovementRow]:
    """Youngest month first; the largest number first in each."""
    people.check(tx, "improvement:read")
    order = (ImprovementRow.month.desc(), ImprovementRow.records.desc(), ImprovementRow.about)
    return list(tx.session.scalars(sa.select(ImprovementRow).order_by(*order)))


def list_reports(tx: Tx) -> list[ImprovementReport]:
    people.check(tx, "improvement:read")
    query = sa.select(ImprovementReport).order_by(ImprovementReport.month.desc())
    return list(tx.session.scalars(query))
