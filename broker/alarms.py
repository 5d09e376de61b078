"""Alarms: a late promise is told by mail, at 15 minutes, an hour and a day.

First to the vendor's operators, who can mend it; from an hour on also to the admins of the tenant
whose copy or login it is, and at once where their own DBA can end it: then with the SQL. What must
stay true: each level is told once for each thing, a tenant hears of its own things only (G12), and
a mail to a tenant names no server of the vendor's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from broker import lateness, mail, people, sweeps
from broker.db import Base, Database
from broker.ids import PersonId, TenantId
from broker.languages import mark
from broker.lateness import Late
from broker.letters import Letter, Phrase, phrase
from broker.tx import Tx, system

LEVELS_S = (900, 3600, 86400)
_TENANT_FROM_S = 3600
_MOST = 20  # things named in one mail
_LONGEST_SQL = 2000
_SPANS = {900: mark("15 minutes"), 3600: mark("an hour"), 86400: mark("a day")}


class Alarm(Base):
    """A late promise that was told at a level; `since` is when it should have been kept."""

    __tablename__ = "alarm"
    what: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime] = mapped_column(primary_key=True)
    level_s: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A late thing with the highest level that was not told of it yet."""

    late: Late
    level_s: int


def sweep_alarms(database: Database, fence: int) -> int:
    """Tell what has become late; returns how many alarms were new."""
    with database.begin(system("alarms")) as tx:
        sweeps.check_fence(tx, fence)
        fresh = [found for late in lateness.list_late(tx) if (found := _note(tx, late)) is not None]
        _tell_operators(tx, fresh)
        _tell_tenants(tx, [one for one in fresh if one.level_s >= _TENANT_FROM_S or one.late.sql])
        sweeps.note_run(tx, "alarms", fence, len(fresh))
    return len(fresh)


def _note(tx: Tx, late: Late) -> _Fresh | None:
    """Write every level that is reached, and return the highest if it is new."""
    reached = [level for level in LEVELS_S if late.since_s >= level]
    told = tx.session.scalars(
        insert(Alarm)
        .values(
            [
                {
                    "what": late.what,
                    "id": late.id,
                    "since": late.since,
                    "level_s": level,
                    "at": tx.at,
                }
                for level in reached
            ]
        )
        .on_conflict_do_nothing()
        .returning(Alarm.level_s)
    ).all()
    return _Fresh(late, max(told)) if told else None


def _tell_operators(tx: Tx, fresh: Sequence[_Fresh]) -> None:
    to = people.list_recipients(tx, None, ["operator"])
    for mail_of, these in _sort(fresh):
        lines = [
            phrase("%(line)s\n  %(reason)s", line=_line(found), reason=found.late.reason)
            for found in these
        ]
        _write(tx, to, None, mail_of, lines)


def _tell_tenants(tx: Tx, fresh: Sequence[_Fresh]) -> None:
    """Without the reason: it may name a server of the vendor's."""
    for tenant_id in sorted({found.late.tenant_id for found in fresh if found.late.tenant_id}):
        to = people.list_recipients(tx, tenant_id, ["admin"])
        for mail_of, these in _sort([one for one in fresh if one.late.tenant_id == tenant_id]):
            _write(tx, to, tenant_id, mail_of, [_line_for_admins(found) for found in these])


def _sort(fresh: Sequence[_Fresh]) -> list[tuple[_Words, list[_Fresh]]]:
    """Ends, which the broker itself goes on trying, and reviews, which a person must close."""
    reviews = [found for found in fresh if found.late.what == "review"]
    ends = [found for found in fresh if found.late.what != "review"]
    return [(_ENDS, ends), (_REVIEWS, reviews)]


def _line(found: _Fresh) -> Phrase:
    return phrase(
        "%(what)s %(id)s: late for over %(span)s",
        what=Phrase(_WORDS[found.late.what]),
        id=found.late.id,
        span=Phrase(_SPANS[found.level_s]),
    )


def _line_for_admins(found: _Fresh) -> Phrase:
    if found.late.sql is None or len(found.late.sql) > _LONGEST_SQL:  # then the console has it
        return _line(found)
    return phrase(
        "%(line)s\n  It is on your own server, where your DBA can end it as superuser:\n  %(sql)s",
        line=_line(found),
        sql=found.late.sql,
    )


_WORDS = {
    "snapshot": mark("the destruction of copy"),
    "remnant": mark("the destruction of remnant"),
    "lease": mark("the end of login"),
    "look": mark("the look at destroyed copy"),
    "find": mark("the end of what was found of"),
    "review": mark("the review of break-glass"),
    "breach": mark("the notification of a breach"),
    "backup": mark("the regular backup"),
    "rights": mark("the answer to a person's request"),
    "ticket system": mark("the answer of ticket system"),
    "ticket": mark("the look at ticket"),
    "log": mark("the signature of log"),
}


@dataclass(frozen=True, slots=True)
class _Words:
    """How a mail about several of a kind begins, ends, and what it calls them."""

    first: str
    last: str
    several: str


_ENDS = _Words(
    mark("What was promised is late, and is tried again until it is done:"),
    mark("The console shows how it stands now."),
    mark("promised ends"),
)
_REVIEWS = _Words(
    mark("The glass was broken, and its review is not closed in time:"),
    mark(
        "An admin of the customer closes it, on the first page of the console. Until then no other "
        "glass is broken there."
    ),
    mark("reviews"),
)


def _write(
    tx: Tx,
    to: Sequence[PersonId],
    tenant_id: TenantId | None,
    words: _Words,
    lines: Sequence[Phrase],
) -> None:
    if not lines:
        return
    left = len(lines) - _MOST
    more = [phrase("and %(count)s more", count=left)] if left > 0 else []
    letter = Letter(
        phrase("Late: %(count)s %(what)s", count=len(lines), what=Phrase(words.several)),
        [Phrase(words.first), *lines[:_MOST], *more, Phrase(words.last)],
        kind="security",
        page="/" if tenant_id else "/late",
    )
    for person_id in to:
        mail.write(tx, person_id, tenant_id, letter)
