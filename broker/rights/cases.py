"""What a person asks of us about their own data (GDPR 12, 15 to 21), and the month it may take.

    received ─▶ answered        received ─▶ extended, once, with a reason ─▶ answered

What must stay true: every ask has its end written down when it comes in; who answers says what was
done; the person is told each time. An objection to marketing needs nobody's answer: it takes effect
at once (`broker.rights.acting`).
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import mail, people, trail
from broker.db import Base
from broker.errors import NOT_THERE, Conflict, Denied, Invalid, NotFound
from broker.ids import PersonId, new_id
from broker.languages import mark
from broker.letters import Letter, Phrase, own, phrase
from broker.people import Person
from broker.tx import Tx

KINDS = ("access", "portability", "rectification", "erasure", "restriction", "objection")
OUTCOMES = ("done", "partly", "refused")
_EXTENDED_MONTHS = 2  # GDPR 12(3)
_REMIND = timedelta(days=7)
_OFFICER = "privacy_officer"


class RightsCase(Base):
    """One ask. `proof` is how we know that it is them; `by_id` wrote it down."""

    __tablename__ = "rights_case"
    id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    kind: Mapped[str]
    said: Mapped[str]
    proof: Mapped[str]
    by_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    received_at: Mapped[datetime]
    due_at: Mapped[datetime]
    extended_at: Mapped[datetime | None]
    extended_why: Mapped[str | None]
    reminded_at: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    answer: Mapped[str | None]


@dataclass(frozen=True, slots=True)
class CaseView:
    """For the person and the privacy officers; `person` is their name, or that it was erased."""

    id: str
    person_id: str
    person: str
    kind: str
    said: str
    proof: str
    received_at: datetime
    due_at: datetime
    extended_at: datetime | None
    extended_why: str | None
    answered_at: datetime | None
    outcome: str | None
    answer: str | None


def add_months(at: datetime, months: int) -> datetime:
    """The same day so many months later, or that month's last (Regulation 1182/71, 3(2)(c)).

    >>> add_months(datetime(2026, 1, 31), 1)
    datetime.datetime(2026, 2, 28, 0, 0)
    """
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return at.replace(year=year, month=month + 1, day=min(at.day, last))


def ask(tx: Tx, kind: str, said: str = "") -> str:
    """The signed-in person asks for themselves: that they signed in is the proof."""
    if tx.actor.person_id is None:
        raise Denied("sign in: only a person asks for themselves")
    return _receive(tx, tx.actor.person_id, kind, said, f"signed in by {tx.actor.via}")


def take_in(tx: Tx, person_id: str, kind: str, *, said: str, proof: str) -> str:
    """A privacy officer writes down what came by mail or by word, and how the person was known."""
    people.check(tx, "rights:handle")
    people.get_person(tx, person_id)
    if not 3 <= len(proof.strip()) <= 200:
        raise Invalid("say how you know that it is them", fields={"proof": "3 to 200 characters"})
    return _receive(tx, PersonId(person_id), kind, said, proof.strip())


def _receive(tx: Tx, person_id: PersonId, kind: str, said: str, proof: str) -> str:
    if kind not in KINDS:
        raise Invalid("there is no such right", fields={"kind": f"one of {', '.join(KINDS)}"})
    if len(said) > 4000:
        raise Invalid("that is too long", fields={"said": "4,000 characters at most"})
    row = RightsCase(
        id=new_id("rgt"),
        person_id=person_id,
        kind=kind,
        said=said.strip(),
        proof=proof,
        by_id=tx.actor.person_id,
        received_at=tx.at,
        due_at=add_months(tx.at, 1),
    )
    tx.session.add(row)
    tx.session.flush()
    facts = {"kind": kind, "person": person_id, "due_at": row.due_at.isoformat()}
    trail.record(tx, None, "rights.asked", row.id, facts)
    until = row.due_at.date()
    received = phrase("We received it and will answer by %(day)s at the latest.", day=until)
    _tell(tx, row, mark("received"), [received])
    letter = Letter(
        phrase("A person asks: %(kind)s", kind=Phrase(kind)),
        [
            phrase(
                "%(case)s: %(kind)s. Answer by %(day)s: it stands on your list, on the console.",
                case=row.id,
                kind=Phrase(kind),
                day=until,
            )
        ],
        page="/rights",
    )
    mail.write_to_roles(tx, None, [_OFFICER], letter)
    return row.id


def extend(tx: Tx, case_id: str, why: str) -> None:
    """Two more months, once, with a reason that the person is told (GDPR 12(3))."""
    row = _get_open(tx, case_id)
    if row.extended_at is not None:
        raise Conflict(f"{case_id} was extended already, and can be once")
    if not 10 <= len(why.strip()) <= 2000:
        raise Invalid("say why it takes longer", fields={"why": "10 to 2,000 characters"})
    row.extended_at, row.extended_why = tx.at, why.strip()
    row.due_at = add_months(row.due_at, _EXTENDED_MONTHS)
    row.reminded_at = None
    facts = {"kind": row.kind, "person": row.person_id, "due_at": row.due_at.isoformat()}
    trail.record(tx, None, "rights.extended", row.id, facts)
    longer = phrase(
        "We need until %(day)s, because: %(why)s", day=row.due_at.date(), why=why.strip()
    )
    _tell(tx, row, mark("takes longer"), [longer])


def answer(tx: Tx, case_id: str, outcome: str, text: str) -> None:
    """Say what was done. A refusal says why, and where the person can complain (GDPR 12(4))."""
    row = _get_open(tx, case_id)
    if outcome not in OUTCOMES:
        raise Invalid("say what became of it", fields={"outcome": f"one of {', '.join(OUTCOMES)}"})
    if not 3 <= len(text.strip()) <= 4000:
        raise Invalid("say what was done", fields={"answer": "3 to 4,000 characters"})
    close(tx, row, outcome, text.strip())


def close(tx: Tx, row: RightsCase, outcome: str, text: str) -> None:
    """The last word on it; told to the person unless they were erased meanwhile."""
    row.answered_at, row.outcome, row.answer = tx.at, outcome, text
    facts = {"kind": row.kind, "person": row.person_id, "outcome": outcome}
    trail.record(tx, None, "rights.answered", row.id, facts)
    complain = phrase("You can complain to your supervisory authority, or go to court.")
    _tell(tx, row, outcome, [own(text)] if outcome == "done" else [own(text), complain])


def _get_open(tx: Tx, case_id: str) -> RightsCase:
    people.check(tx, "rights:handle")
    row = tx.session.get(RightsCase, case_id, with_for_update=True)
    if row is None:
        raise NotFound(NOT_THERE)
    if row.answered_at is not None:
        raise Conflict(f"{case_id} was answered already, {row.answered_at:%Y-%m-%d}")
    return row


def _tell(tx: Tx, row: RightsCase, what: str, said: Sequence[Phrase]) -> None:
    person = people.get_person(tx, row.person_id)
    if person.email:  # an erased person has no address, and is not written to
        letter = Letter(
            phrase("Your request (%(kind)s): %(what)s", kind=Phrase(row.kind), what=Phrase(what)),
            [own(row.id), *said],
            page="/your-data",
            about_rights=True,
        )
        mail.write(tx, PersonId(row.person_id), None, letter)


def list_cases(tx: Tx, *, own: bool = False, open_only: bool = False) -> list[CaseView]:
    """Soonest due first: the officers' work list, or what the reader asked themselves."""
    query = sa.select(RightsCase, Person.name).join(Person, Person.id == RightsCase.person_id)
    if own:
        query = query.where(RightsCase.person_id == tx.actor.person_id)
    else:
        people.check(tx, "rights:handle")
    if open_only:
        query = query.where(RightsCase.answered_at.is_(None))
    order = (RightsCase.answered_at.is_not(None), RightsCase.due_at, RightsCase.id)
    return [_view(row, name) for row, name in tx.session.execute(query.order_by(*order))]


def get_case(tx: Tx, case_id: str) -> CaseView:
    """For the person, or a privacy officer; to others there is none."""
    found = tx.session.execute(
        sa.select(RightsCase, Person.name)
        .join(Person, Person.id == RightsCase.person_id)
        .where(RightsCase.id == case_id)
    ).first()
    if found is None or (
        found.RightsCase.person_id != tx.actor.person_id and not people.may(tx, "rights:handle")
    ):
        raise NotFound(NOT_THERE)
    return _view(found.RightsCase, found.name)


def _view(row: RightsCase, name: str) -> CaseView:
    return CaseView(
        id=row.id,
        person_id=row.person_id,
        person=name,
        kind=row.kind,
        said=row.said,
        proof=row.proof,
        received_at=row.received_at,
        due_at=row.due_at,
        extended_at=row.extended_at,
        extended_why=row.extended_why,
        answered_at=row.answered_at,
        outcome=row.outcome,
        answer=row.answer,
    )


def list_overdue(tx: Tx) -> Sequence[RightsCase]:
    """Past their day and not answered: told as any other late promise is."""
    query = sa.select(RightsCase).where(
        RightsCase.answered_at.is_(None), RightsCase.due_at <= tx.at
    )
    return tx.session.scalars(query.order_by(RightsCase.due_at)).all()


def remind_due(tx: Tx) -> int:
    """A week before its day, once, to every privacy officer."""
    query = sa.select(RightsCase).where(
        RightsCase.answered_at.is_(None),
        RightsCase.reminded_at.is_(None),
        RightsCase.due_at <= tx.at + _REMIND,
    )
    rows = tx.session.scalars(query.with_for_update(skip_locked=True)).all()
    for row in rows:
        row.reminded_at = tx.at
        kind = Phrase(row.kind)
        letter = Letter(
            phrase("Soon due: %(kind)s", kind=kind),
            [
                phrase(
                    "%(case)s (%(kind)s) must be answered by %(end)s.",
                    case=row.id,
                    kind=kind,
                    end=row.due_at,
                )
            ],
            page="/rights",
        )
        mail.write_to_roles(tx, None, [_OFFICER], letter)
    return len(rows)
