"""When a standing approval answers a request, and what it gives then. Pure.

What must stay true: it gives no more than was shown to those who gave it, and no more than is asked
now (G2). A table that they were not shown has no rows, a column that they were not shown is masked,
whatever the masking policy would keep by now (G5). What does not fit waits for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from broker.errors import Invalid
from broker.grants.narrowing import Narrowing, Windows, narrow_plan
from broker.grants.plan import ColumnPlan, Plan, TablePlan

MOST_PER_TICKET = 20


@dataclass(frozen=True, slots=True)
class Conditions:
    """Windows are seconds, 0 is "not this kind". Words are as `tickets.find_word` gives them; an
    empty list asks nothing, and one of the two is never empty.
    """

    database_id: str
    severities: tuple[str, ...]
    categories: tuple[str, ...]
    live_max_s: int
    copy_max_s: int
    per_ticket: int
    ends_at: datetime

    def document(self, plan: Plan) -> dict[str, Any]:
        """What a person agrees to, by the digest of this."""
        return {
            "v": 1,
            "database": self.database_id,
            "severities": list(self.severities),
            "categories": list(self.categories),
            "live_max_s": self.live_max_s,
            "copy_max_s": self.copy_max_s,
            "per_ticket": self.per_ticket,
            "ends_at": self.ends_at.isoformat(),
            "plan": plan.digest(),
        }


@dataclass(frozen=True, slots=True)
class Wish:
    """A request as it is when its plan is made. `used` counts what the standing approval gave on
    this ticket before; `first_at` is when the windows would begin.
    """

    database_id: str
    requester_id: str
    severity: str | None
    category: str | None
    windows: Windows
    approvals_needed: int
    first_at: datetime
    used: int
    by_itself: bool  # reads of the database alone, none raw, and no extension of another grant


def find_misfit(conditions: Conditions, givers: frozenset[str], wish: Wish) -> str | None:
    """Why the standing approval of `givers`, who still may approve, does not answer; None if it
    does.
    """
    longest = timedelta(seconds=max(wish.windows.live_s, wish.windows.copy_s))
    misfits = (
        (wish.database_id != conditions.database_id, "it is for another database"),
        (
            not wish.by_itself,
            "an extension, a platform, a storage, raw columns or DDL are never given in advance",
        ),
        (not _is_named(wish.severity, conditions.severities), "not for tickets of this severity"),
        (not _is_named(wish.category, conditions.categories), "not for tickets of this category"),
        (wish.windows.live_s > conditions.live_max_s, "the live access asked is longer"),
        (wish.windows.copy_s > conditions.copy_max_s, "the copy asked lives longer"),
        (wish.first_at + longest > conditions.ends_at, "what is asked would outlive it"),
        (wish.used >= conditions.per_ticket, "it was used on this ticket as often as it may be"),
        (wish.requester_id in givers, "nobody approves what they ask themselves"),
        (len(givers) < wish.approvals_needed, "too few of those who gave it may still approve"),
    )
    return next((why for misfit, why in misfits if misfit), None)


def fits(conditions: Conditions, givers: frozenset[str], wish: Wish) -> bool:
    return find_misfit(conditions, givers, wish) is None


def _is_named(word: str | None, words: tuple[str, ...]) -> bool:
    return not words or word in words


def find_given(shown: Plan, asked: Plan) -> Plan | None:
    """What is asked, narrowed to what was shown; None when no row is left."""
    out: set[str] = set()
    masked: set[str] = set()
    for table in asked.tables:
        before = shown.find_table(table.full_name)
        if table.partition_of or not table.rows:
            continue
        fresh = [column for column in table.columns if column.kept and not _shows(before, column)]
        if before is None or not before.rows or not all(column.fallback for column in fresh):
            out.add(table.full_name)
        else:
            masked |= {f"{table.full_name}.{column.name}" for column in fresh}
    try:
        given = narrow_plan(asked, Narrowing(frozenset(out), frozenset(masked)))
    except Invalid:
        return None
    return given if any(table.rows for table in given.tables) else None


def _shows(before: TablePlan | None, column: ColumnPlan) -> bool:
    """Whether this column was shown as it is, in clear."""
    columns = before.columns if before is not None else ()
    return any((c.name, c.type, c.kept) == (column.name, column.type, True) for c in columns)


def check_conditions(conditions: Conditions, at: datetime, most_s: int) -> None:
    """Raises Invalid for one that is not narrow, or has no end in reach; `most_s` is seconds."""
    fields: dict[str, str] = {}
    latest = at + timedelta(seconds=most_s)
    if not (conditions.severities or conditions.categories):
        fields["severities"] = "name severities or categories of tickets, or every ticket would do"
    if conditions.live_max_s == 0 and conditions.copy_max_s == 0:
        fields["live_max_s"] = "give live access, a copy, or both"
    if not at < conditions.ends_at <= latest:
        fields["ends_at"] = f"after now, and by {latest:%Y-%m-%d}"
    if not 1 <= conditions.per_ticket <= MOST_PER_TICKET:
        fields["per_ticket"] = f"1 to {MOST_PER_TICKET} times"
    if fields:
        raise Invalid("a standing approval can't be like this", fields=fields)
