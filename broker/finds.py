"""What the janitor found: its intent before it acts, and its memory of what it must not touch.

    not there ─▶ open ─▶ over ─▶ open again, if it comes back

An *orphan* is a login or a scope, a *remnant* a part of a copy, that carries our label and that no
live row explains: found, then ended. A *stranger* stands in our places without a label of ours:
found, told once, never touched. What must stay true: nothing is ended before its find is committed,
so a crash in between leaves an open find, and each opening and closing leaves one audit entry,
however many janitors look.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from broker import trail
from broker.db import Base, Json
from broker.ids import TenantId
from broker.logs import redact
from broker.trail import Personal
from broker.tx import Tx

# Open strangers of one place that are written down; beyond it they are only counted in our own
# log: a store on the wrong bucket must not fill somebody's audit log.
MOST_STRANGERS = 100


class Find(Base):
    """`place` is a server's `host:port`, `store` or `keyring`: the broker's own, told to nobody."""

    __tablename__ = "find"
    place: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    noun: Mapped[str]
    subject: Mapped[str]
    tenant_id: Mapped[str | None] = mapped_column(sa.ForeignKey("tenant.id"))
    facts: Mapped[Json]
    found_at: Mapped[datetime]
    over_at: Mapped[datetime | None]
    stuck_reason: Mapped[str | None]


@dataclass(frozen=True, slots=True)
class Found:
    """`noun` is `orphan`, `remnant` or `stranger`; `kind` says what it is, e.g. `lease`, `role`.

    `subject` is an id (of a lease, a copy, a server), `facts` are ids and words of ours: the name
    of a stranger may be a person's, and is none of them.
    """

    noun: str
    place: str
    kind: str
    name: str
    subject: str
    tenant_id: TenantId | None
    facts: dict[str, str]


def open_find(tx: Tx, found: Found) -> None:
    """Note what was found, with the entry `<noun>.found` unless it is open already."""
    values = {
        "noun": found.noun,
        "subject": found.subject,
        "tenant_id": found.tenant_id,
        "facts": {"kind": found.kind, **found.facts},
        "found_at": tx.at,
        "over_at": None,
        "stuck_reason": None,
    }
    fresh = tx.session.execute(
        insert(Find)
        .values(place=found.place, kind=found.kind, name=found.name, **values)
        .on_conflict_do_update(
            index_elements=[Find.place, Find.kind, Find.name],
            set_=values,
            where=Find.over_at.is_not(None),
        )
        .returning(Find)
    ).scalar()
    if fresh is not None:
        _tell(tx, fresh, "found")


def close_find(tx: Tx, found: Found) -> bool:
    """Note that it is over, once; False when another was first. The caller has looked."""
    return _close(tx, found.place, found.kind, found.name)


def close_vanished(
    tx: Tx, place: str, seen: Collection[tuple[str, str]], listed_at: datetime
) -> None:
    """Close what a whole listing of `place`, begun at `listed_at`, did not show as (kind, name).

    It is gone by another hand, or by a janitor that died before it said so.
    """
    rows = tx.session.execute(
        sa.select(Find.kind, Find.name).where(
            Find.place == place, Find.over_at.is_(None), Find.found_at < listed_at
        )
    ).all()
    for kind, name in rows:
        if (kind, name) not in seen:
            _close(tx, place, kind, name)


def note_stuck(tx: Tx, found: Found, reason: str) -> None:
    """Why it could not be ended now; the next round tries again, for ever."""
    tx.session.execute(
        sa.update(Find)
        .where(Find.place == found.place, Find.kind == found.kind, Find.name == found.name)
        .values(stuck_reason=redact(reason)[:1000])
    )


def tell_strangers(tx: Tx, strangers: Collection[Found]) -> None:
    """Open a find for each that is new, up to MOST_STRANGERS open ones in their one place."""
    places = {found.place for found in strangers}
    known = {
        (kind, name)
        for kind, name in tx.session.execute(
            sa.select(Find.kind, Find.name).where(
                Find.place.in_(places), Find.noun == "stranger", Find.over_at.is_(None)
            )
        )
    }
    fresh = [found for found in strangers if (found.kind, found.name) not in known]
    for found in fresh[: max(0, MOST_STRANGERS - len(known))]:
        open_find(tx, found)


def list_unended(tx: Tx, before: float = 0) -> list[Find]:
    """What carries our label, has no live row, and stands, found `before` seconds ago or earlier;
    strangers are not ours to end.
    """
    query = sa.select(Find).where(
        Find.over_at.is_(None),
        Find.noun.in_(("orphan", "remnant")),
        Find.found_at <= tx.at - timedelta(seconds=before),
    )
    return list(tx.session.scalars(query.order_by(Find.found_at, Find.kind, Find.name).limit(500)))


def _close(tx: Tx, place: str, kind: str, name: str) -> bool:
    row = tx.session.execute(
        sa.update(Find)
        .where(Find.place == place, Find.kind == kind, Find.name == name, Find.over_at.is_(None))
        .values(over_at=tx.at, stuck_reason=None)
        .returning(Find)
    ).scalar()
    if row is None:
        return False
    _tell(tx, row, "gone" if row.noun == "stranger" else "ended")
    return True


def _tell(tx: Tx, row: Find, participle: str) -> None:
    personal = [Personal("name", row.name)] if row.noun == "stranger" else []
    log_of = TenantId(row.tenant_id) if row.tenant_id else None
    trail.record(tx, log_of, f"{row.noun}.{participle}", row.subject, row.facts, personal)
