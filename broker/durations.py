"""Durations as people write them: `2h`, `90m`, `7d`, `1h30m`; seconds inside."""

from __future__ import annotations

import re

from broker.errors import Invalid

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_SHAPE = re.compile(r"0|(?:[0-9]{1,6}[dhms])+", re.ASCII)
_PART = re.compile(r"([0-9]+)([dhms])", re.ASCII)


def parse_duration(text: str) -> int:
    """Seconds. `0` is none at all. Raises Invalid for a number without a unit."""
    if _SHAPE.fullmatch(text.strip()) is None:
        raise Invalid(f"{text!r} is no duration; write for example 90m, 2h or 7d")
    return sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """The two largest units: `1d2h`, `45s`."""
    rest, parts = int(seconds), []
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"
