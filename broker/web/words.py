"""How instants, lengths of time, numbers and states read on a page. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from broker.audit.statements import KIND_WORDS

_UNITS = ((86400, "day", "days"), (3600, "h", "h"), (60, "min", "min"), (1, "s", "s"))

# Bootstrap's contextual class for each state of a grant, lease or copy. The word always stands
# beside the colour.
BADGES = {
    "requested": "warning",
    "proposed": "warning",
    "given": "success",
    "approved": "success",
    "refused": "secondary",
    "ended": "secondary",
    "pending": "info",
    "issued": "success",
    "revoking": "warning",
    "revoked": "secondary",
    "ordered": "info",
    "copying": "info",
    "ready": "success",
    "condemned": "warning",
    "destroyed": "secondary",
    "asked": "warning",
    "in_force": "warning",
    "over": "secondary",
}
CATEGORIES = {
    "customer_report": "the customer reported it",
    "vendor_finding": "the vendor found it",
    "incident": "there is an incident",
    "backup": "a backup is to be made or tried",
    "legal": "the law demands it",
}


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
            parts.append(f"{count} {one if count == 1 else many}")
    return " ".join(parts[:2]) or "not at all"


def relative(at: datetime, now: datetime) -> str:
    """`in 3 h 12 min` or `3 h 12 min ago`; static/console.js says it with the same words."""
    seconds = (at - now).total_seconds()
    if abs(seconds) < 60:
        return "in less than a minute" if seconds > 0 else "just now"
    words = length(abs(seconds) // 60 * 60)
    return f"in {words}" if seconds > 0 else f"{words} ago"


def utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def stated(instant: str | None) -> str | None:
    """An instant as a signed statement writes it, to the second."""
    return f"{datetime.fromisoformat(instant):%Y-%m-%d %H:%M:%S} UTC" if instant else None


def number(count: int) -> str:
    """With commas: 12,345."""
    return f"{count:,}"


def size(count: int) -> str:
    """Bytes in the unit that leaves one to three digits before the point."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
