"""Reading what a form sent: a narrowing, a window, a request. Raises Invalid naming the field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from werkzeug.datastructures import MultiDict

from broker.errors import Invalid
from broker.grants.narrowing import Narrowing
from broker.grants.requests import Ask
from broker.grants.scope_kinds import MASKED, Wanted
from broker.restricting import parse
from broker.web.words import length

Form = MultiDict[str, str]
_ROWS_MAX = 20_000
_STEPS = (900, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 172800, 259200, 432000, 604800)


@dataclass(frozen=True, slots=True)
class Choice:
    """An option of a select: `seconds`, how it reads, and whether it is the one chosen."""

    seconds: int
    label: str
    chosen: bool


def choices(most: int, chosen: int, *, none: bool) -> Sequence[Choice]:
    """Windows up to `most` seconds, longest first; `none` adds "not at all"."""
    steps = [most, *sorted((step for step in _STEPS if step < most), reverse=True)]
    steps += [chosen] if 0 < chosen < most and chosen not in steps else []
    offered = sorted(set(steps), reverse=True) + ([0] if none else [])
    return [Choice(step, length(step), step == chosen) for step in offered]


def read_seconds(form: Form, name: str) -> int | None:
    """A window in whole seconds; None when the form has no such field."""
    text = form.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 8):
        raise Invalid(f"{name} is no number of seconds", fields={name: "a number of seconds"})
    return int(text)


def read_narrowing(form: Form) -> Narrowing:
    return Narrowing(
        tables_out=frozenset(form.getlist("out")),
        columns_masked=frozenset(form.getlist("mask")),
        rows_only=parse(form.get("rows_only", "")[:_ROWS_MAX]),
        live_s=read_seconds(form, "live_s"),
        copy_s=read_seconds(form, "copy_s"),
        platform_s=read_seconds(form, "platform_s"),
        storage_s=read_seconds(form, "storage_s"),
        starts_at=read_instant(form, "starts_at"),
        no_develop="no_develop" in form,
    )


def read_ask(form: Form, ticket_id: str) -> Ask:
    return Ask(
        ticket_id=ticket_id,
        database_id=form.get("database_id", ""),
        category=form.get("category", ""),
        reason=form.get("reason", ""),
        live_s=read_seconds(form, "live_s") or 0,
        copy_s=read_seconds(form, "copy_s") or 0,
        starts_at=read_instant(form, "starts_at"),
        extends=form.get("extends") or None,
        platform_s=read_seconds(form, "platform_s") or 0,
        storage_s=read_seconds(form, "storage_s") or 0,
        platform_id=form.get("platform") or None,
        storage_id=form.get("storage") or None,
        wanted=_read_wanted(form),
        break_glass="break_glass" in form,
    )


def _read_wanted(form: Form) -> Wanted:
    """Columns in clear stand one a line."""
    lines = (line.strip() for line in form.get("raw_columns", "").splitlines())
    raw = tuple(sorted({line for line in lines if line}))
    return Wanted(form.get("kind", MASKED), raw, "develop" in form, "dedicated" in form)


def read_instant(form: Form, name: str) -> datetime | None:
    """What a field of date and time holds, in UTC; None when it is empty."""
    text = form.get(name, "")
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M").replace(tzinfo=UTC)
    except ValueError:
        problem = "a date and a time, such as 2027-01-31T06:00"
        raise Invalid(f"{name} is no instant", fields={name: problem}) from None
