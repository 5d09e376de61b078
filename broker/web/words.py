"""How instants, lengths of time, numbers and states read on a page, in the reader's language."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from babel.numbers import format_decimal

from broker.audit.statements import KIND_WORDS
from broker.web.languages import current, gettext, mark

_UNITS = (
    (86400, mark("day"), mark("days")),
    (3600, mark("h"), mark("h")),
    (60, mark("min"), mark("min")),
    (1, mark("s"), mark("s")),
)
_MINUTE = mark("%Y-%m-%d %H:%M")
_SIZES = (mark("B"), mark("kB"), mark("MB"), mark("GB"))

# Bootstrap's contextual class for each state of a grant, lease or copy. The word always stands
# beside the colour.
BADGES = {
    mark("requested"): "warning",
    mark("proposed"): "warning",
    mark("given"): "success",
    mark("approved"): "success",
    mark("refused"): "secondary",
    mark("ended"): "secondary",
    mark("pending"): "info",
    mark("issued"): "success",
    mark("revoking"): "warning",
    mark("revoked"): "secondary",
    mark("ordered"): "info",
    mark("copying"): "info",
    mark("ready"): "success",
    mark("condemned"): "warning",
    mark("destroyed"): "secondary",
    mark("asked"): "warning",
    mark("in_force"): "warning",
    mark("over"): "secondary",
}
CATEGORIES = {
    "customer_report": mark("the customer reported it"),
    "vendor_finding": mark("the vendor found it"),
    "incident": mark("there is an incident"),
    "backup": mark("a backup is to be made or tried"),
    "legal": mark("the law demands it"),
}


# What rests on a consent (`config/purposes.toml`).
_RESTS = (
    *(mark("grants"), mark("logins"), mark("tokens"), mark("sessions"), mark("copies")),
    *(mark("standing approvals"), mark("disclosures"), mark("messages")),
    *(mark("publications"), mark("handovers")),
)

# What a person asks for (`rights.cases`), and what was done with a consent.
_SAID_ELSEWHERE = (
    *(mark("access"), mark("portability"), mark("rectification"), mark("erasure")),
    *(mark("restriction"), mark("objection"), mark("lapsed")),
    *(mark("done"), mark("partly")),
    *(mark("admin"), mark("auditor"), mark("engineer"), mark("lead"), mark("operator")),
    *(mark("privacy_officer"), mark("fatal"), mark("warning"), mark("note"), mark("lifted")),
)

# What a scope shows, by its kind, as signed statements say it.
KINDS = KIND_WORDS


def length(seconds: float) -> str:
    """The two largest units, e.g. `1 day 4 h`, `12 min`.

    >>> length(100_000), length(0)
    ('1 day 3 h', 'not at all')
    """
    rest = int(seconds)
    parts: list[str] = []
    for size, one, many in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {gettext(one if count == 1 else many)}")
    return " ".join(parts[:2]) or gettext("not at all")


def relative(at: datetime, now: datetime) -> str:
    """`in 3 h 12 min` or `3 h 12 min ago`; static/console.js says it with the same words."""
    seconds = (at - now).total_seconds()
    if abs(seconds) < 60:
        return gettext("in less than a minute") if seconds > 0 else gettext("just now")
    words = gettext("in %(time)s") if seconds > 0 else gettext("%(time)s ago")
    return words % {"time": length(abs(seconds) // 60 * 60)}


def for_script() -> str:
    """The words of `relative` as JSON, for static/console.js, which keeps them current."""
    words = {
        "units": [[size // 60, gettext(one), gettext(many)] for size, one, many in _UNITS[:3]],
        "soon": gettext("in less than a minute"),
        "now": gettext("just now"),
        "ahead": gettext("in %(time)s"),
        "past": gettext("%(time)s ago"),
    }
    return json.dumps(words, ensure_ascii=False)


def utc(at: datetime) -> str:
    return f"{at.astimezone(UTC).strftime(gettext(_MINUTE))} UTC"


def stated(instant: str | None) -> str | None:
    """An instant as a signed statement writes it, to the second."""
    return f"{datetime.fromisoformat(instant):%Y-%m-%d %H:%M:%S} UTC" if instant else None


def number(count: int) -> str:
    """In groups of three: 12,345."""
    return str(format_decimal(count, locale=current()))


def size(count: int) -> str:
    """Bytes in the unit that leaves one to three digits before the point."""
    value = float(count)
    for unit in _SIZES:
        if value < 1000:
            return _sized(value, unit)
        value /= 1000
    return _sized(value, mark("TB"))


def _sized(value: float, unit: str) -> str:
    digits = "0" if unit == "B" else "0.0"
    return f"{format_decimal(value, digits, locale=current())} {gettext(unit)}"
