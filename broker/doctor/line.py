"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Line:
    """`todo` is empty for what is ok. `bad`: a promise can't be kept like this."""

    what: str
    verdict: Verdict
    says: str
    todo: str = ""


def ok(what: str, says: str) -> Line:
    return Line(what, "ok", says)


def warn(what: str, says: str, todo: str) -> Line:
    return Line(what, "warn", says, todo)


def bad(what: str, says: str, todo: str) -> Line:
    return Line(what, "bad", says, todo)
