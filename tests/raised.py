"""Texts of errors and of findings of a preflight that a reader of the console may meet, read from
where they are made.

They stand in the code once, in English, and in the catalogues of the other languages: what an error
was filled with is a hole there, named by its place: `%(a)s`, `%(b)s` and on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).parents[1] / "broker"
# Of these each text must be there in each language. Of the others it may be.
_MUST = (
    *("web", "consents", "rights", "passkeys.py", "authenticators.py"),
    *(f"grants/{name}.py" for name in ("deciding", "narrowing", "approvals", "delegates")),
    *(f"grants/{name}.py" for name in ("reviews", "standing", "break_glass", "by_passkey")),
)
_MAY = ("grants", "registers", "retention", "third_parties", "snapshots", "audit", "")
_KINDS = {
    *("Conflict", "Denied", "Invalid", "GrantRefused", "BreakGlassRefused", "NotFound", "TooMany"),
    *("PasskeyRefused", "NotAuthenticated", "StateConflict", "VerificationFailed"),
}


def required() -> set[str]:
    return {text for place in _MUST for text in _raised_in(place)} | set(_found_by_preflights())


def allowed() -> set[str]:
    return {text for place in _MAY for text in _raised_in(place, deep=False)}


def _raised_in(place: str, *, deep: bool = True) -> Iterator[str]:
    path = _PACKAGE / place
    files = [path] if path.suffix else path.rglob("*.py") if deep else path.glob("*.py")
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                yield from _text_of(node.exc)


def _found_by_preflights() -> Iterator[str]:
    """What is wrong and why it matters: the third and fourth of a `Finding`."""
    for file in (_PACKAGE / "engines/postgres/preflight").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                for part in node.args[2:4]:
                    yield from _text_in(part)


def _text_of(error: ast.Call) -> Iterator[str]:
    known = isinstance(error.func, ast.Name) and error.func.id in _KINDS
    if known and error.args:
        yield from _text_in(error.args[0])


def _text_in(value: ast.expr) -> Iterator[str]:
    """A text, with a hole for each thing that is put in; nothing of what is computed whole."""
    holes = iter("abcdefgh")
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.JoinedStr):
        yield "".join(_piece(part, holes) for part in value.values)
    elif isinstance(value, ast.BinOp) and isinstance(value.left, ast.Constant | ast.JoinedStr):
        parts = value.left.values if isinstance(value.left, ast.JoinedStr) else [value.left]
        yield "".join(_piece(part, holes) for part in [*parts, value.right])


def _piece(part: ast.expr, holes: Iterator[str]) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else f"%({next(holes)})s"
