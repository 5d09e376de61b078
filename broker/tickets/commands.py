"""`/access` in an internal comment of a ticket: what an engineer asks for there, and which comments
were answered.

    /access read 2h [on DATABASE] REASON        live access, masked
    /access structure 2h [on DATABASE] REASON   live, without any row
    /access copy 2d [on DATABASE] REASON        a masked copy

What must stay true: a comment asks, and does nothing else. It never approves, and what only a form
can ask (values in clear, changes, break-glass, an extension) it can't. Each comment is answered
once, also when it is edited afterwards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker.db import Base
from broker.durations import parse_duration
from broker.errors import Invalid
from broker.tickets import WORD, Remark
from broker.tx import Tx

USAGE = f"write {WORD} read 2h and why, or {WORD} structure 2h … or {WORD} copy 2d …"
_SHAPE = re.compile(
    rf"{WORD}\s+(read|structure|copy)\s+(\S+)(?:\s+on\s+(\S+))?\s+(\S.*)", re.ASCII | re.DOTALL
)
# A clock of theirs may be wrong by as much as this; what is older waits for no answer any more.
HEARD_FOR = timedelta(days=1)
_PROMPT = timedelta(hours=1)
_KEPT = timedelta(days=3)  # longer than any comment is heard


@dataclass(frozen=True, slots=True)
class Command:
    """`way` is `read`, `structure` or `copy`; `database` is a name or id, where one was said."""

    way: str
    lasts_s: int
    database: str | None
    reason: str


class TicketCommand(Base):
    """A comment that was answered."""

    __tablename__ = "ticket_command"
    system: Mapped[str] = mapped_column(primary_key=True)
    remark_id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]


def parse(text: str) -> Command:
    """Raises Invalid, which says how it is written."""
    found = _SHAPE.fullmatch(text.strip())
    if found is None:
        raise Invalid(f"this can't be understood; {USAGE}")
    way, lasts, database, reason = found.groups()
    try:
        lasts_s = parse_duration(lasts)
    except Invalid as error:
        raise Invalid(f"{error.message}; {USAGE}") from None
    return Command(way, lasts_s, database, reason.strip())


def is_heard(remark: Remark, at: datetime) -> bool:
    return abs(at - remark.at) <= HEARD_FOR


def check_prompt(remark: Remark, at: datetime) -> None:
    """Raises Invalid for what was written long ago: nobody waits for it any more."""
    if abs(at - remark.at) > _PROMPT:
        raise Invalid("this was written more than an hour ago; write it again")


def claim(tx: Tx, system: str, remark_id: str) -> bool:
    """Whether this comment has not been answered yet; who is told so answers it."""
    made = tx.session.scalar(
        sa.text(
            "INSERT INTO ticket_command (system, remark_id, at) VALUES (:s, :r, :at) "
            "ON CONFLICT DO NOTHING RETURNING 1"
        ),
        {"s": system, "r": remark_id, "at": tx.at},
    )
    return made is not None


def forget_old(tx: Tx) -> None:
    tx.session.execute(sa.delete(TicketCommand).where(TicketCommand.at < tx.at - _KEPT))
