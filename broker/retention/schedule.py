"""The schedule: data (`config/retention.toml`), known by its digest, carried out once confirmed."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import entries, mail, people, trail
from broker.db import Base, Json
from broker.errors import Conflict, SettingsError
from broker.letters import Letter, phrase
from broker.retention.records import RECORDS
from broker.tx import Tx

ERASE, ANONYMISE, KEEP, ELSEWHERE = "erase", "anonymise", "keep", "elsewhere"
AFTER_CONTRACT = "after_contract"  # carried out by `broker.departures`
FATES = (ERASE, ANONYMISE, AFTER_CONTRACT, KEEP, ELSEWHERE)
LANGUAGES = ("en", "fr")


class ScheduleRow(Base):
    """A schedule as it was loaded; the youngest is the one that stands."""

    __tablename__ = "retention_schedule"
    digest: Mapped[str] = mapped_column(primary_key=True)
    document: Mapped[Json]
    loaded_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    confirmed_by: Mapped[str | None] = mapped_column(sa.ForeignKey("person.id"))


@dataclass(frozen=True, slots=True)
class Term:
    """Of one kind of record. `days` run from the instant that `records` names; 0 where `fate` is
    `keep` (to the end of the contract) or `elsewhere` (a shorter term of its own module's).
    """

    name: str
    tables: tuple[str, ...]
    days: int
    fate: str
    what: Mapping[str, str]
    basis: Mapping[str, str]

    def document(self) -> Json:
        return {
            "tables": list(self.tables),
            "days": self.days,
            "fate": self.fate,
            "what": dict(self.what),
            "basis": dict(self.basis),
        }


def read_schedule(file: Path) -> list[Term]:
    """Raises SettingsError with one sentence."""
    try:
        data = tomllib.loads(file.read_text())
        return [_read(name, values) for name, values in data.items()]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"{file} is no retention schedule: {error!r}") from None


def _read(name: str, values: Mapping[str, Any]) -> Term:
    term = Term(
        name=name,
        tables=tuple(values["tables"]),
        days=values["days"],
        fate=values["fate"],
        what={language: values["what"][language] for language in LANGUAGES},
        basis={language: values["basis"][language] for language in LANGUAGES},
    )
    if set(values) != set(term.document()) or term.fate not in FATES:
        raise ValueError(f"{name}: {sorted(values)}, {term.fate}")
    acts = term.fate in {ERASE, ANONYMISE}
    if (acts or term.fate == AFTER_CONTRACT) != (term.days > 0):
        raise ValueError(f"{name}: what is erased or anonymised has a term, and nothing else has")
    if acts and name not in RECORDS:
        raise ValueError(f"{name}: it is not known how; one of {', '.join(RECORDS)}")
    return term


def digest(terms: list[Term]) -> str:
    """SHA-256, hexadecimal, of what is confirmed (RFC 8785)."""
    return hashlib.sha256(entries.canonical(_document(terms))).hexdigest()


def _document(terms: list[Term]) -> Json:
    return {term.name: term.document() for term in terms}


def load_schedule(tx: Tx, file: Path) -> None:
    """Keep what is new; privacy officers are asked to look at it and confirm it."""
    terms = read_schedule(file)
    identity = digest(terms)
    standing = find_standing(tx)
    if standing is not None and standing.digest == identity:
        return
    row = tx.session.get(ScheduleRow, identity)
    if row is not None:
        raise SettingsError(f"{file}: that schedule stood before; change a word of it to go back")
    tx.session.add(ScheduleRow(digest=identity, document=_document(terms), loaded_at=tx.at))
    tx.session.flush()
    trail.record(tx, None, "retention.loaded", identity, {"records": len(terms)})
    letter = Letter(
        phrase("A retention schedule waits for you"),
        [
            phrase(
                "The retention schedule %(digest)s was loaded. Nothing is erased by it before you "
                "looked at what it would take, and confirmed it: on the console under Retention.",
                digest=identity[:16],
            )
        ],
        page="/retention",
    )
    mail.write_to_roles(tx, None, ["privacy_officer"], letter)


def find_standing(tx: Tx) -> ScheduleRow | None:
    """The youngest."""
    query = sa.select(ScheduleRow).order_by(ScheduleRow.loaded_at.desc(), ScheduleRow.digest)
    return tx.session.scalar(query.limit(1))


def list_terms(row: ScheduleRow) -> list[Term]:
    return [_read(name, values) for name, values in sorted(row.document.items())]


def confirm(tx: Tx, identity: str) -> None:
    """From tonight on it is carried out. Raises Conflict when another schedule stands by now."""
    people.check(tx, "retention:confirm")
    row = find_standing(tx)
    if row is None or row.digest != identity:
        raise Conflict("another schedule stands by now; look at what it would take")
    tx.session.refresh(row, with_for_update=True)
    if row.confirmed_at is not None:
        raise Conflict(f"that schedule was confirmed already, {row.confirmed_at:%Y-%m-%d}")
    row.confirmed_at, row.confirmed_by = tx.at, tx.actor.person_id
    tx.session.flush()
    trail.record(tx, None, "retention.confirmed", identity)
