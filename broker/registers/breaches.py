"""Breaches of personal data (GDPR 33 and 34): known, 72 hours, who was hit, told.

    known ─▶ notified to the authority (or: why not) ─▶ customers told

Who was hit is computed from the logs: the tenants in whose log an entry of that window names one of
the things that were breached (a server, a database, a copy, a login, a person). What must stay
true: the clock starts when the breach was known and is never moved; each customer that was hit is
told in their own log too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import mail, people, trail
from broker.db import Base
from broker.errors import NOT_THERE, Conflict, Invalid, NotFound
from broker.ids import TenantId, new_id
from broker.letters import Letter, own, phrase
from broker.trail import Personal
from broker.tx import Tx

CLOCK = timedelta(hours=72)
_FIRST = timedelta(days=366)  # the longest window that is looked through


class Breach(Base):
    """`things` are ids; `unnotified_why`: it is unlikely to be a risk to anybody (33(1))."""

    __tablename__ = "breach"
    id: Mapped[str] = mapped_column(primary_key=True)
    said: Mapped[str]
    things: Mapped[list[str]]
    since: Mapped[datetime]
    until: Mapped[datetime]
    known_at: Mapped[datetime]
    due_at: Mapped[datetime]
    recorded_by: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    notified_at: Mapped[datetime | None]
    authority_reference: Mapped[str | None]
    unnotified_why: Mapped[str | None]
    told_at: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class Known:
    """A breach as it became known: what happened, in which window, to which things."""

    said: str
    things: tuple[str, ...]
    since: datetime
    until: datetime
    known_at: datetime


@dataclass(frozen=True, slots=True)
class BreachView:
    """`tenants` are those that the logs say were hit, now."""

    id: str
    said: str
    things: tuple[str, ...]
    since: datetime
    until: datetime
    known_at: datetime
    due_at: datetime
    notified_at: datetime | None
    authority_reference: str | None
    unnotified_why: str | None
    told_at: datetime | None
    tenants: tuple[str, ...]


def record(tx: Tx, known: Known) -> str:
    """Write it down; the clock runs from when it was known. Raises Invalid."""
    people.check(tx, "register:keep")
    _check(tx, known)
    row = Breach(
        id=new_id("brc"),
        said=known.said.strip(),
        things=list(known.things),
        since=known.since,
        until=known.until,
        known_at=known.known_at,
        due_at=known.known_at + CLOCK,
        recorded_by=tx.actor.person_id,
    )
    tx.session.add(row)
    tx.session.flush()
    facts = {"known_at": row.known_at.isoformat(), "due_at": row.due_at.isoformat()}
    trail.record(tx, None, "breach.recorded", row.id, facts, [Personal("said", row.said)])
    letter = Letter(
        phrase("A breach was recorded: %(breach)s", breach=row.id),
        [
            phrase(
                "The authority is notified by %(due)s, or it is written down why not. The register "
                "says which customers the logs name.",
                due=row.due_at,
            )
        ],
        page="/breaches",
    )
    mail.write_to_roles(tx, None, ["privacy_officer", "operator"], letter)
    return row.id


def _check(tx: Tx, known: Known) -> None:
    fields: dict[str, str] = {}
    if not 10 <= len(known.said.strip()) <= 4000:
        fields["said"] = "what happened, in 10 to 4,000 characters"
    if not 1 <= len(known.things) <= 50:
        fields["things"] = "1 to 50 ids of what was breached"
    if not known.since < known.until <= tx.at or known.until - known.since > _FIRST:
        fields["until"] = "after its beginning, not in the future, within a year of it"
    if not known.since <= known.known_at <= tx.at:
        fields["known_at"] = "after its beginning, and not in the future"
    if fields:
        raise Invalid("the breach can't be recorded like this", fields=fields)


def notify(tx: Tx, breach_id: str, *, reference: str = "", why_not: str = "") -> None:
    """The authority was notified, under its reference; or why it need not be. Once."""
    row = _get(tx, breach_id)
    if bool(reference.strip()) == bool(why_not.strip()):
        raise Invalid("either the authority's reference, or why it is not notified")
    if row.notified_at is not None or row.unnotified_why is not None:
        raise Conflict(f"{breach_id} was settled already")
    if reference.strip():
        row.notified_at, row.authority_reference = tx.at, reference.strip()
    else:
        row.unnotified_why = why_not.strip()
    tx.session.flush()
    trail.record(tx, None, "breach.notified", row.id, {"notified": row.notified_at is not None})


def tell(tx: Tx, breach_id: str, text: str) -> int:
    """Tell the admins of each customer that was hit; returns how many customers. Once."""
    row = _get(tx, breach_id)
    if not 10 <= len(text.strip()) <= 4000:
        raise Invalid(
            "say what happened, and what to do", fields={"text": "10 to 4,000 characters"}
        )
    if row.told_at is not None:
        raise Conflict(f"customers were told already, {row.told_at:%Y-%m-%d}")
    row.told_at = tx.at
    hit = list_hit(tx, row)
    letter = Letter(
        phrase("A breach that touches your organisation: %(breach)s", breach=row.id),
        [
            own(text.strip()),
            phrase("Between %(since)s and %(until)s.", since=row.since, until=row.until),
        ],
    )
    for tenant_id in hit:
        facts = {"since": row.since.isoformat(), "until": row.until.isoformat()}
        trail.record(tx, tenant_id, "breach.told", row.id, facts, [Personal("text", text.strip())])
        mail.write_to_roles(tx, tenant_id, ["admin"], letter)
    return len(hit)


def list_hit(tx: Tx, row: Breach) -> list[TenantId]:
    """Tenants in whose log an entry of the window is about, by, or names one of the things."""
    query = sa.text("""
        SELECT DISTINCT log.tenant_id
          FROM audit_log log JOIN audit_entry e ON e.log_id = log.id,
               LATERAL (SELECT convert_from(e.entry, 'UTF8')::jsonb AS said) AS read
         WHERE log.tenant_id IS NOT NULL
           AND CAST(said ->> 'at' AS timestamptz) BETWEEN :since AND :until
           AND (e.subject = ANY (:things) OR said #>> '{actor,id}' = ANY (:things)
                OR EXISTS (SELECT FROM jsonb_each_text(said -> 'facts') AS fact
                            WHERE fact.value = ANY (:things)))
        UNION
        SELECT tenant_id FROM tenant_database WHERE id = ANY (:things)
        ORDER BY 1
    """)
    asked = {"since": row.since, "until": row.until, "things": row.things}
    return [TenantId(one) for one in tx.session.scalars(query, asked)]


def _get(tx: Tx, breach_id: str) -> Breach:
    people.check(tx, "register:keep")
    row = tx.session.get(Breach, breach_id, with_for_update=True)
    if row is None:
        raise NotFound(NOT_THERE)
    return row


def list_late(tx: Tx) -> Sequence[Breach]:
    """Past their 72 hours, and neither notified nor settled: a late promise as any other."""
    query = sa.select(Breach).where(
        Breach.notified_at.is_(None), Breach.unnotified_why.is_(None), Breach.due_at <= tx.at
    )
    return tx.session.scalars(query.order_by(Breach.due_at)).all()


def list_views(tx: Tx) -> list[BreachView]:
    """Youngest first."""
    people.check(tx, "register:read")
    rows = tx.session.scalars(sa.select(Breach).order_by(Breach.known_at.desc(), Breach.id))
    return [_view(tx, row) for row in rows]


def get_view(tx: Tx, breach_id: str) -> BreachView:
    return _view(tx, _get(tx, breach_id))


def _view(tx: Tx, row: Breach) -> BreachView:
    named = set(BreachView.__dataclass_fields__) - {"things", "tenants"}
    values = {name: getattr(row, name) for name in named}
    return BreachView(**values, things=tuple(row.things), tenants=tuple(list_hit(tx, row)))
