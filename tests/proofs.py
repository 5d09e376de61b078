"""`docs/guarantees.md`, made from the tests themselves: what is promised, and what shows it.

    python -m tests.proofs > docs/guarantees.md

A test's name is a sentence and its file's docstring says what it stands for, so the page is read
from the files' syntax trees; nothing is run, and nothing is written twice.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.matrix import CELLS, FAULTS, NO_TEST

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guarantees.md"
COMMAND = "python -m tests.proofs > docs/guarantees.md"
# Files outside tests/faults that stand for a fault or for an end as well.
ALSO_FAULTS = (
    "tests/snapshots/test_later_looks.py",
    "tests/test_alarms.py",
    "tests/test_what_ends_a_copy.py",
)

HEAD = f"""# Guarantees and faults, and the tests that show them

Made from the tests by `{COMMAND}`; a test fails when it is not current.
Each sentence is the name of a test that runs on real servers, with `make test`;
those marked long in their files run with `make test-system`.
"""

MATRIX_HEAD = """\
## Each place, each fault

Meanwhile a copy or a login is to end. In each case: nothing was called destroyed or revoked that
stood anywhere, the key died whatever else was stuck, and when the fault was over everything ended,
with one entry each and one certificate.

| place | fault | what held | file |
|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Proof:
    """A file of tests: its path, what its docstring says first, and its cases as sentences."""

    path: str
    stands_for: str
    cases: tuple[str, ...]


def read_proof(path: Path) -> Proof:
    tree = ast.parse(path.read_text())
    paragraph = (ast.get_docstring(tree) or "").partition("\n\n")[0]
    return Proof(
        path=str(path.relative_to(ROOT)),
        stands_for=" ".join(paragraph.split()),
        cases=tuple(_cases(tree)),
    )


def _cases(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            sentence = node.name.removeprefix("test_").replace("_", " ")
            yield sentence + _variants(node)


def _variants(test: ast.FunctionDef) -> str:
    """How many cases a parametrised test has, where the list stands there."""
    for mark in test.decorator_list:
        match mark:
            case ast.Call(func=ast.Attribute(attr="parametrize"), args=[_, ast.List(elts=items)]):
                return f" ({len(items)} cases)"
            case ast.Call(func=ast.Attribute(attr="parametrize"), args=[_, ast.Name(id=name), *_]):
                return f" (each of {name.lower().replace('_', ' ')})"
            case _:
                continue
    return ""


def make_page() -> str:
    guarantees = sorted((ROOT / "tests/guarantees").glob("test_g*.py"))
    faults = [*sorted((ROOT / "tests/faults").glob("test_*.py")), *(ROOT / p for p in ALSO_FAULTS)]
    sections = [
        ("Guarantees", "guarantee", guarantees),
        ("Faults, and what held", "fault", faults),
    ]
    parts = [HEAD]
    for title, noun, files in sections:
        parts.append(f"## {title}\n\n| {noun} | file | cases |\n|---|---|---|\n")
        parts += [_line(read_proof(path)) for path in files]
        parts.append("\n")
    parts.append(MATRIX_HEAD)
    parts += [_cell(place, fault) for place in CELLS for fault in FAULTS]
    return "\n".join(parts[:1]) + "\n" + "".join(parts[1:]).rstrip() + "\n"


def _cell(place: str, fault: str) -> str:
    """A test's own sentence, or why there is none."""
    told = CELLS[place][fault]
    if told.startswith(NO_TEST):
        return f"| {place} | {fault} | {told} | – |\n"
    path, _, name = told.partition("::test_")
    return f"| {place} | {fault} | {name.replace('_', ' ')} | `{path}` |\n"


def _line(proof: Proof) -> str:
    cases = "<br>".join(proof.cases).replace("|", "\\|")
    stands_for = proof.stands_for.replace("|", "\\|")
    return f"| {stands_for} | `{proof.path}` | {cases} |\n"


if __name__ == "__main__":
    sys.stdout.write(make_page())
