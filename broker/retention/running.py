"""Counting what is past its term, and taking it: every night, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import people, trail
from broker.db import Base, Database, Json
from broker.retention import schedule
from broker.retention.records import RECORDS
from broker.retention.schedule import Term
from broker.tx import Tx, system

_ACTOR = system("sweep")
_BATCH = 1000
_ACTS = (schedule.ERASE, schedule.ANONYMISE)


class RetentionRun(Base):
    """One night: `counts` by record. `tried`: nothing was taken, for nobody had confirmed."""

    __tablename__ = "retention_run"
    id: Mapped[int] = mapped_column(sa.Identity(always=True), primary_key=True)
    digest: Mapped[str] = mapped_column(sa.ForeignKey("retention_schedule.digest"))
    at: Mapped[datetime]
    tried: Mapped[bool]
    counts: Mapped[Json]


@dataclass(frozen=True, slots=True)
class TermView:
    """`past` is how many rows are past their term now; None where no term runs."""

    name: str
    tables: tuple[str, ...]
    days: int
    fate: str
    what: dict[str, str]
    basis: dict[str, str]
    past: int | None


@dataclass(frozen=True, slots=True)
class ScheduleView:
    digest: str
    loaded_at: datetime
    confirmed_at: datetime | None
    terms: tuple[TermView, ...]


@dataclass(frozen=True, slots=True)
class RunView:
    at: datetime
    digest: str
    tried: bool
    counts: Json


def read(tx: Tx) -> ScheduleView | None:
    """The schedule that stands, with what it would take now: the dry run. None before any."""
    people.check(tx, "retention:read")
    row = schedule.find_standing(tx)
    if row is None:
        return None
    terms = tuple(_view(tx, term) for term in schedule.list_terms(row))
    return ScheduleView(row.digest, row.loaded_at, row.confirmed_at, terms)


def _view(tx: Tx, term: Term) -> TermView:
    past = _count(tx, term) if term.fate in _ACTS else None
    said = (dict(term.what), dict(term.basis))
    return TermView(term.name, term.tables, term.days, term.fate, *said, past)


def _count(tx: Tx, term: Term) -> int:
    query = sa.text(RECORDS[term.name].count)
    return tx.session.scalar(query, {"days": term.days, "at": tx.at}) or 0


def list_runs(tx: Tx, most: int = 100) -> list[RunView]:
    """Youngest first."""
    people.check(tx, "retention:read")
    rows = tx.session.scalars(sa.select(RetentionRun).order_by(RetentionRun.id.desc()).limit(most))
    return [RunView(row.at, row.digest, row.tried, row.counts) for row in rows]


def run(database: Database) -> Json:
    """Take what is past its term, or count it while nobody confirmed; returns counts by record.

    Each batch is a transaction of its own: a night that is cut short goes on with the next.
    """
    with database.begin(_ACTOR) as tx:
        row = schedule.find_standing(tx)
        if row is None:
            return {}
        identity, confirmed = row.digest, row.confirmed_at is not None
        terms = [term for term in schedule.list_terms(row) if term.fate in _ACTS]
    counts = {
        term.name: _take(database, term, identity) if confirmed else _try(database, term)
        for term in terms
    }
    with database.begin(_ACTOR) as tx:
        tx.session.add(RetentionRun(digest=identity, at=tx.at, tried=not confirmed, counts=counts))
    return counts


def _try(database: Database, term: Term) -> int:
    with database.begin(_ACTOR) as tx:
        return _count(tx, term)


def _take(database: Database, term: Term, identity: str) -> int:
    taken = 0
    while True:
        with database.begin(_ACTOR) as tx:
            asked = {"days": term.days, "at": tx.at, "most": _BATCH}
            done = tx.session.execute(sa.text(RECORDS[term.name].take), asked)
            count: int = getattr(done, "rowcount", 0)
            if count:
                facts = {"record": term.name, "fate": term.fate, "rows": count}
                trail.record(tx, None, "retention.taken", identity, facts)
        taken += count
        if count < _BATCH:
            return taken
