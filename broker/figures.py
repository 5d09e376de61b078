"""How the machinery does, in numbers: for the operator's page, the API, and a monitoring system.

Counts, ages and words of ours alone: nothing says of which tenant, person or database. Each is read
by an index over what is open, or from the copies that were ordered last; none grows with the past.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from broker import lateness, people
from broker.alarms import LEVELS_S
from broker.audit import unlogged
from broker.grants.states import LEASE_OPEN
from broker.snapshots import holds
from broker.snapshots.states import NOT_DESTROYED
from broker.tx import Tx

LATELY = timedelta(days=30)
_OF_THE_LAST = 1000  # copies that were ordered

_STATES = """
    SELECT state, count(*) AS many, count(stuck_since) AS stuck, min(state_at) AS oldest
      FROM {table} WHERE state = ANY(:states) GROUP BY state
"""
_ENDS = sa.text("""
    SELECT count(*) AS many,
           percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY
               extract(epoch FROM destroyed_at - condemned_at)) AS shares
      FROM (SELECT condemned_at, destroyed_at FROM snapshot
             ORDER BY ordered_at DESC LIMIT :most) AS last
     WHERE destroyed_at >= :since
""")
_SWEEPS = sa.text("SELECT kind, at, found FROM sweep_run ORDER BY kind")
_FINDS = sa.text("""
    SELECT noun, kind, count(*) FROM find WHERE over_at IS NULL
     GROUP BY noun, kind ORDER BY noun, kind
""")


@dataclass(frozen=True, slots=True)
class Kept:
    """What is in a state: how many, of them `stuck`, and the age of the oldest in it."""

    state: str
    count: int
    stuck: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Ran:
    kind: str
    age_s: float
    found: int


@dataclass(frozen=True, slots=True)
class Open:
    """Finds of the janitor that are not over."""

    noun: str
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class LateOf:
    """How many things of a kind are late by more than `over_s`."""

    what: str
    over_s: int
    count: int


@dataclass(frozen=True, slots=True)
class Figures:
    """`closed_*`: from a copy's condemnation to its destruction, of `closed` copies that were
    destroyed within 30 days, among the last thousand; None where there is none.
    """

    copies: Sequence[Kept]
    held: int
    logins: Sequence[Kept]
    closed: int
    closed_p50_s: float | None
    closed_p99_s: float | None
    sweeps: Sequence[Ran]
    finds: Sequence[Open]
    late: Sequence[LateOf]
    unlogged: int
    unlogged_oldest_s: float | None


def read_figures(tx: Tx) -> Figures:
    """Raises Denied for who may not look at the broker's health."""
    people.check(tx, "health:read")
    ends = tx.session.execute(_ENDS, {"most": _OF_THE_LAST, "since": tx.at - LATELY}).one()
    median, slowest = ends.shares or (None, None)
    waiting = unlogged.list_waiting(tx)
    return Figures(
        copies=_count(tx, "snapshot", NOT_DESTROYED),
        held=holds.count_held(tx),
        logins=_count(tx, "lease", LEASE_OPEN),
        closed=ends.many,
        closed_p50_s=median,
        closed_p99_s=slowest,
        sweeps=[
            Ran(kind, _age_s(tx, at), found) for kind, at, found in tx.session.execute(_SWEEPS)
        ],
        finds=[Open(*row) for row in tx.session.execute(_FINDS)],
        late=_count_late(tx),
        unlogged=sum(one.count for one in waiting),
        unlogged_oldest_s=max((_age_s(tx, one.since) for one in waiting), default=None),
    )


def _count(tx: Tx, table: str, states: Sequence[str]) -> list[Kept]:
    """Every state is there, also one that nothing is in: a line that vanishes alarms nobody."""
    query = sa.text(_STATES.format(table=table))
    rows = {row.state: row for row in tx.session.execute(query, {"states": list(states)})}
    return [
        Kept(state, rows[state].many, rows[state].stuck, _age_s(tx, rows[state].oldest))
        if state in rows
        else Kept(state, 0, 0, 0.0)
        for state in states
    ]


def _count_late(tx: Tx) -> list[LateOf]:
    late = lateness.list_late(tx)
    counts: Mapping[tuple[str, int], int] = {
        (what, level): sum(one.what == what and one.since_s >= level for one in late)
        for what in sorted({one.what for one in late})
        for level in LEVELS_S
    }
    return [LateOf(what, level, count) for (what, level), count in counts.items()]


def _age_s(tx: Tx, at: datetime) -> float:
    return max((tx.at - at).total_seconds(), 0.0)
