"""Quarantine: after a restore of the control database, or a jump of its clock, nothing is ended by
time and nothing is made until a person of the vendor says so.

    sound ──a beat differs from what the keyring knows──▶ quarantine ──a person lifts it──▶ sound

What must stay true: a lost decision is never guessed. Held are what the record alone would decide:
new logins and copies, ends by time, and what stands on servers without a row. Not held are a
person's own clicks, and whatever is past the end of its own label by the clock of the server where
it stands: the broker then does no more than `broker reap` would (G3, G14).

The mark is written after the beat is committed, so it is never ahead of a database that is whole.
It names the open quarantine, so that a lifted one that an older backup brings back lifts nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import mail, people, trail
from broker.db import Base, Database
from broker.errors import NOT_THERE, Conflict, NotFound, Unavailable
from broker.ids import new_id
from broker.letters import Letter, Phrase, phrase
from broker.logs import get_log
from broker.tide import WHY, Mark, Seen, Witness, judge
from broker.tx import Tx, system

_ACTOR = system("watch")
_log = get_log(__name__)


class Quarantined(Unavailable):
    """Nothing is made now; it is tried again when a person has lifted the quarantine."""

    type = "quarantined"


class Tide(Base):
    """One row: how many beats there were."""

    __tablename__ = "tide"
    singleton: Mapped[bool] = mapped_column(primary_key=True)
    serial: Mapped[int]


class Quarantine(Base):
    """`why` are words of `broker.tide.WHY`. What was decided after `known_until`, by the clock of
    the record that was lost, is not in this one. `grants` is what the person who lifted it said.
    """

    __tablename__ = "quarantine"
    id: Mapped[str] = mapped_column(primary_key=True)
    began_at: Mapped[datetime]
    why: Mapped[list[str]]
    last_seen_at: Mapped[datetime | None]
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str | None] = mapped_column(sa.ForeignKey("person.id"))
    grants: Mapped[str | None]


class MarkKeeper(Protocol):
    """The face of the key port that remembers the mark."""

    def find_mark(self) -> bytes | None:
        """Raises KeyUnavailable."""

    def swap_mark(self, old: bytes | None, new: bytes) -> None:
        """Raises Conflict if `old` is not the last, KeyUnavailable."""


@dataclass(frozen=True, slots=True)
class QuarantineView:
    id: str
    began_at: datetime
    why: Sequence[str]
    reasons: Sequence[str]
    last_seen_at: datetime | None


def beat(database: Database, keeper: MarkKeeper, witness: Witness, jump_s: int) -> bool:
    """Compare the control database with the mark, then move both on; False in quarantine."""
    old = keeper.find_mark()
    with database.begin(_ACTOR) as tx:
        tx.session.execute(sa.text("SELECT FROM tide FOR UPDATE"))  # one begins a quarantine
        seen = _see(tx)
        mark, why = _compare(old, seen, witness, timedelta(seconds=jump_s))
        held = _find_held(tx, mark, why)
        if held is None:
            seen = replace(seen, serial=seen.serial + 1)
            tx.session.execute(sa.update(Tide).values(serial=Tide.serial + 1))
            new = Mark(seen, witness)
        else:
            new = Mark(mark.seen, mark.witness, held) if mark else Mark(seen, witness, held)
    if old is None or new.to_bytes() != old:
        _keep(keeper, old, new)
    return held is None


def _compare(
    old: bytes | None, seen: Seen, witness: Witness, jump: timedelta
) -> tuple[Mark | None, list[str]]:
    if old is None:
        return None, ["mark-missing"] if seen.serial else []
    try:
        mark = Mark.from_bytes(old)
    except (ValueError, KeyError, TypeError):
        return None, ["mark-unreadable"]
    return mark, judge(mark, seen, witness, jump)


def _find_held(tx: Tx, mark: Mark | None, why: Sequence[str]) -> str | None:
    """The id of the quarantine that holds now, begun here if need be.

    One that the mark names and a person lifted is over, whatever made it.
    """
    standing = find_open(tx)
    if mark is not None and mark.quarantine is not None:
        named = tx.session.get(Quarantine, mark.quarantine)
        if named is not None and named.lifted_at is not None and standing is None:
            return None
    elif not why and standing is None:
        return None
    if standing is None:
        return _begin(tx, mark, why)
    return standing.id


def _begin(tx: Tx, mark: Mark | None, why: Sequence[str]) -> str:
    words = list(why) or ["restored"]  # the mark names a quarantine that this record never knew
    row = Quarantine(
        id=new_id("qrt"),
        began_at=tx.at,
        why=words,
        last_seen_at=mark.seen.at if mark else None,
    )
    tx.session.add(row)
    tx.session.flush()
    trail.record(tx, None, "quarantine.began", row.id, {"why": words})
    letter = Letter(
        phrase("The broker is in quarantine"),
        [
            phrase("Nothing is issued, copied or ended by time until one of you says so:"),
            phrase("%(reasons)s", reasons=[Phrase(WHY[word]) for word in words]),
            phrase(
                "What people end by hand ends as ever, and what is past its own end on a server is "
                "ended. See what stands there without a record, then lift it: the page Health, or "
                "broker quarantine show."
            ),
        ],
        kind="technical",
        page="/late",
    )
    mail.write_to_roles(tx, None, ["operator"], letter)
    _log.error("quarantine_began", id=row.id, why=words)
    return row.id


def _see(tx: Tx) -> Seen:
    """Raises when the server is a standby: nothing is decided there."""
    row = tx.session.execute(
        sa.text(
            "SELECT t.serial, c.system_identifier::text AS cluster,"
            " ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint AS line"
            " FROM tide t, pg_control_system() c"
        )
    ).one()
    return Seen(row.serial, row.cluster, row.line, tx.at)


def _keep(keeper: MarkKeeper, old: bytes | None, new: Mark) -> None:
    try:
        keeper.swap_mark(old, new.to_bytes())
    except Conflict:
        return  # another worker's beat came between; the next one compares again


def find_open(tx: Tx) -> Quarantine | None:
    return tx.session.scalar(sa.select(Quarantine).where(Quarantine.lifted_at.is_(None)))


_TIDE = sa.select(
    Tide.serial, sa.select(Quarantine.id).where(Quarantine.lifted_at.is_(None)).scalar_subquery()
)


def find_refusal(tx: Tx, keeper: MarkKeeper) -> Quarantined | None:
    """Why nothing may be made now, if so: also between two beats, right after a restore."""
    serial, held = tx.session.execute(_TIDE).one()
    if held is None and not _is_behind(keeper.find_mark(), serial):
        return None
    return Quarantined(
        "the broker is in quarantine after a restore or a jump of its clock: nothing is made until "
        "an operator has lifted it with: broker quarantine lift"
    )


def _is_behind(content: bytes | None, serial: int) -> bool:
    if content is None:
        return serial > 0
    try:
        mark = Mark.from_bytes(content)
    except (ValueError, KeyError, TypeError):
        return True
    return mark.quarantine is not None or mark.seen.serial > serial


def find_view(tx: Tx) -> QuarantineView | None:
    """The open quarantine, for who reads the broker's health."""
    people.check(tx, "health:read")
    row = find_open(tx)
    if row is None:
        return None
    reasons = [WHY[word] for word in row.why]
    return QuarantineView(row.id, row.began_at, row.why, reasons, row.last_seen_at)


def lift(tx: Tx, quarantine_id: str, grants: str) -> Quarantine:
    """A person's word that what the record says may be acted on. Raises NotFound, Denied, Conflict.

    `grants`: `keep` what the record says is open, or `end` all of it. `lifecycle.lift_quarantine`
    does that, and tells everybody.
    """
    people.check(tx, "quarantine:lift")
    row = tx.session.get(Quarantine, quarantine_id, with_for_update=True)
    if row is None:
        raise NotFound(NOT_THERE)
    if row.lifted_at is not None:
        raise Conflict(f"{row.id} was lifted at {row.lifted_at:%Y-%m-%d %H:%M:%S} UTC already")
    row.lifted_at, row.lifted_by, row.grants = tx.at, tx.actor.person_id, grants
    tx.session.flush()
    return row
