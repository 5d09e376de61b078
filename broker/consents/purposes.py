"""Purposes: data with versions (`config/purposes.toml`), and what of them is shown to who agrees.

Each version that was ever loaded stays, so that a consent's text can be shown for as long as the
consent is kept. A text of a version that is loaded is never changed: loading refuses it.
"""

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

from broker import entries, trail
from broker.db import Base, Json
from broker.errors import NotFound, SettingsError
from broker.tx import Tx

LIVE_ACCESS = "live_access"
TEST_COPY = "test_copy"
SUPPORT_CONTACT = "support_contact"
THIRD_PARTY = "third_party"
REGULAR_BACKUPS = "regular_backups"
# In `about`, in place of words: each recipient of the register, or each backup that was declared to
# the organisation, by its id. What stands of it there is read with the text.
RECIPIENT, BACKUP = "recipient", "backup"
# By kind of access, as windows are named: what has to be consented to.
BY_KIND: Mapping[str, str] = {
    "live": LIVE_ACCESS,
    "platform": LIVE_ACCESS,
    "storage": LIVE_ACCESS,
    "copy": TEST_COPY,
}
LANGUAGES = ("en", "fr")
_BASES = ("consent", "contract", "legal_duty", "legitimate_interest")
_GIVERS = ("tenant", "person", "nobody")


class PurposeRow(Base):
    """One version of a purpose, as it was loaded."""

    __tablename__ = "purpose"
    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    counts_from: Mapped[int]
    document: Mapped[Json]
    loaded_at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class Text:
    """How a purpose reads in one language."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Purpose:
    """For the fields see `config/purposes.toml`; `texts` has one for each of LANGUAGES."""

    name: str
    version: int
    counts_from: int
    basis: str
    given_by: str
    max_days: int
    unlocks: tuple[str, ...]
    ends: tuple[str, ...]
    about: tuple[str, ...]
    texts: Mapping[str, Text]

    @property
    def is_asked(self) -> bool:
        """Whether it rests on somebody's consent at all."""
        return self.given_by != "nobody"

    def document(self) -> Json:
        listed = {name: list(getattr(self, name)) for name in ("unlocks", "ends", "about")}
        texts = {lang: {"name": one.name, "text": one.text} for lang, one in self.texts.items()}
        named = ("name", "version", "counts_from", "basis", "given_by", "max_days")
        return {**{name: getattr(self, name) for name in named}, **listed, **texts}

    @property
    def names(self) -> str | None:
        """RECIPIENT or BACKUP, where each of those is consented to by itself."""
        return next((word for word in (RECIPIENT, BACKUP) if word in self.about), None)

    def shown(self, language: str, named: Json | None = None) -> Json:
        """All that a person reads before they agree, and no more; `named` is what `names` says."""
        document = self.document()
        read = {name: value for name, value in document.items() if name not in LANGUAGES}
        more = {} if named is None or self.names is None else {self.names: named}
        return {**read, "language": language, **document[language], **more}

    def digest(self, language: str, named: Json | None = None) -> str:
        """SHA-256, hexadecimal, of what is shown in that language (RFC 8785)."""
        return hashlib.sha256(entries.canonical(self.shown(language, named))).hexdigest()

    def find_language(self, shown_digest: str, named: Json | None = None) -> str | None:
        """In which language that was read, or None when it is not what stands now."""
        found = [lang for lang in LANGUAGES if self.digest(lang, named) == shown_digest]
        return found[0] if found else None


def read_purposes(file: Path) -> list[Purpose]:
    """Raises SettingsError with one sentence."""
    try:
        data = tomllib.loads(file.read_text())
        found = [_read(name, values) for name, values in data.items()]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"{file} is no list of purposes: {error!r}") from None
    missing = {LIVE_ACCESS, TEST_COPY, SUPPORT_CONTACT} - {purpose.name for purpose in found}
    if missing:
        raise SettingsError(f"{file} lacks what access rests on: {', '.join(sorted(missing))}")
    return found


def _read(name: str, values: Mapping[str, Any]) -> Purpose:
    texts = {
        lang: Text(values[lang]["name"], " ".join(values[lang]["text"].split()))
        for lang in LANGUAGES
    }
    purpose = Purpose(
        name=name,
        version=values["version"],
        counts_from=values["counts_from"],
        basis=values["basis"],
        given_by=values["given_by"],
        max_days=values["max_days"],
        unlocks=tuple(values["unlocks"]),
        ends=tuple(values["ends"]),
        about=tuple(values["about"]),
        texts=texts,
    )
    unknown = set(values) - set(purpose.document())
    if unknown or purpose.basis not in _BASES or purpose.given_by not in _GIVERS:
        raise ValueError(f"{name}: {sorted(unknown) or (purpose.basis, purpose.given_by)}")
    if purpose.is_asked != (purpose.basis == "consent") or purpose.is_asked != (
        purpose.max_days > 0
    ):
        raise ValueError(f"{name}: only a consent is given by somebody, and it has a maximum life")
    if not 1 <= purpose.counts_from <= purpose.version:
        raise ValueError(f"{name}: counts_from is 1 to version")
    return purpose


def load_purposes(tx: Tx, file: Path) -> None:
    """Keep what is new of the file. Raises SettingsError when what was shown is to be changed."""
    for purpose in read_purposes(file):
        row = tx.session.get(PurposeRow, (purpose.name, purpose.version))
        newest = find_purpose(tx, purpose.name)
        if row is not None and row.document != purpose.document():
            raise SettingsError(
                f"{file}: version {purpose.version} of {purpose.name} was loaded with another "
                "text, and people may have agreed to it; raise its version"
            )
        if newest is not None and newest.version > purpose.version:
            raise SettingsError(
                f"{file}: {purpose.name} is at version {newest.version} already; go on from there"
            )
        if row is None:
            _add(tx, purpose)


def _add(tx: Tx, purpose: Purpose) -> None:
    tx.session.add(
        PurposeRow(
            name=purpose.name,
            version=purpose.version,
            counts_from=purpose.counts_from,
            document=purpose.document(),
            loaded_at=tx.at,
        )
    )
    tx.session.flush()
    facts = {"purpose": purpose.name, "version": purpose.version, "digest": purpose.digest("en")}
    trail.record(tx, None, "purpose.published", purpose.name, facts)


def list_purposes(tx: Tx) -> list[Purpose]:
    """The newest version of each, by name."""
    newest = sa.select(PurposeRow.name, sa.func.max(PurposeRow.version)).group_by(PurposeRow.name)
    query = sa.select(PurposeRow).where(sa.tuple_(PurposeRow.name, PurposeRow.version).in_(newest))
    return [_from_row(row) for row in tx.session.scalars(query.order_by(PurposeRow.name))]


def find_purpose(tx: Tx, name: str, version: int | None = None) -> Purpose | None:
    """That version, or the newest."""
    query = sa.select(PurposeRow).where(PurposeRow.name == name)
    if version is not None:
        query = query.where(PurposeRow.version == version)
    row = tx.session.scalar(query.order_by(PurposeRow.version.desc()).limit(1))
    return None if row is None else _from_row(row)


def get_purpose(tx: Tx, name: str) -> Purpose:
    """The newest version. Raises NotFound."""
    purpose = find_purpose(tx, name)
    if purpose is None:
        raise NotFound(f"there is no purpose {name}; see the list of purposes")
    return purpose


def _from_row(row: PurposeRow) -> Purpose:
    return _read(row.name, {key: value for key, value in row.document.items() if key != "name"})
