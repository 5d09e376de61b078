"""What a mail says: phrases with named holes, put in its reader's language when written. Pure.

What must stay true: a phrase's own words stand in the code and in the catalogues, never in a fact;
an instant reads in UTC, and beside it in the reader's own zone where that is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.numbers import format_decimal

from broker.languages import mark, translate

# Kinds of notices, each with how it reads where a person chooses. What is owed can't be declined.
KINDS: Final[Mapping[str, str]] = {
    "waiting": mark("Requests that wait for you"),
    "reminder": mark("Reminders of requests that still wait"),
    "decision": mark("Decisions on what you asked for"),
    "opened": mark("What was opened"),
    "expiry": mark("What ends soon"),
    "ended": mark("What has ended"),
    "destroyed": mark("Copies destroyed, with their certificates"),
    "security": mark("Security notices"),
    "technical": mark("Technical notices"),
    "administrative": mark("Roles, policies, consents and what else is decided"),
    "summary": mark("Each week: a summary, and the last checkpoint of the log"),
}
DECLINABLE: Final = frozenset({"reminder", "decision", "opened", "expiry", "ended", "summary"})

Fact: TypeAlias = "str | int | date | Phrase | Sequence[str | Phrase]"


@dataclass(frozen=True, slots=True)
class Phrase:
    """`message` with `%(name)s` for each of `facts`; a sequence reads line by line."""

    message: str
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Letter:
    """`paragraphs` stand apart; `page` is a path on the console, `thread` what mails belong to."""

    subject: Phrase
    paragraphs: Sequence[Phrase]
    kind: str = "administrative"
    page: str = ""
    thread: str = ""
    invitation_id: str | None = None
    attachment: str | None = None
    about_rights: bool = False


@dataclass(frozen=True, slots=True)
class Reader:
    """`zone` is a name of the IANA's, or None where it is not known."""

    language: str = "en"
    zone: str | None = None


def phrase(message: str, /, **facts: Fact) -> Phrase:
    """A text for the catalogue, with what is put in it.

    >>> render(phrase("%(grant)s has ended", grant="grt_1"), Reader())
    'grt_1 has ended'
    """
    return Phrase(message, facts)


def own(words: str) -> Phrase:
    """What a person wrote, or a program: it is shown as it is."""
    return Phrase("%(words)s", {"words": words})


NOT_YOU: Final = phrase("If it was not you, tell your admin and the vendor's support at once.")


def render(said: Phrase, reader: Reader) -> str:
    text = translate(reader.language, said.message)
    if not said.facts:
        return text
    return text % {name: _render_fact(fact, reader) for name, fact in said.facts.items()}


def _render_fact(fact: Fact, reader: Reader) -> str:
    match fact:
        case str():
            return fact
        case Phrase():
            return render(fact, reader)
        case int():
            return str(format_decimal(fact, locale=reader.language))
        case datetime():
            return say_instant(fact, reader)
        case date():
            return fact.strftime(translate(reader.language, mark("%Y-%m-%d")))
        case _:
            return "\n".join(_render_fact(one, reader) for one in fact)


def say_instant(at: datetime, reader: Reader) -> str:
    """To the minute: `2026-11-24 17:05 (Europe/Paris), 16:05 UTC`.

    >>> say_instant(datetime(2026, 11, 24, 16, 5, tzinfo=UTC), Reader("fr", "Europe/Paris"))
    '24/11/2026 17:05 (Europe/Paris), 24/11/2026 16:05 UTC'
    """
    pattern = translate(reader.language, mark("%Y-%m-%d %H:%M"))
    utc = f"{at.astimezone(UTC).strftime(pattern)} UTC"
    if reader.zone in {None, "UTC"}:
        return utc
    try:
        zone = ZoneInfo(reader.zone or "UTC")
    except ZoneInfoNotFoundError:  # this host knows fewer zones than the one that took it
        return utc
    return f"{at.astimezone(zone).strftime(pattern)} ({reader.zone}), {utc}"
