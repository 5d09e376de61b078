"""The list of what a log can say is closed, used as a whole, and documented."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import broker
from broker import kind_schemas, kinds, trail
from broker.audit.bundle import parse_bundle
from broker.kinds.__main__ import write_page
from broker.tx import system
from tests.verify.vendor import Vendor

ROOT = Path(broker.__file__).parent
DOCS = ROOT.parent / "docs" / "audit-events.md"
PARTS = ("actor", "facts", "personal")
KIND = re.compile(r"[a-z_]+\.[a-z_]+")
WRITERS = {"record", "record_all", "record_each", "record_birth", "Move", "record_for_all"}
WRITERS |= {"_tell", "_note"}
# Made of two words at run time: a find's noun, and what became of it.
MADE = {f"{noun}.{end}" for noun in ("orphan", "remnant") for end in ("found", "ended")}
MADE |= {"stranger.found", "stranger.gone"}


def written_in(tree: ast.AST) -> Iterator[str]:
    """Kinds among the arguments of what writes entries, as defaults, and assigned to `kind`."""
    for node in ast.walk(tree):
        parts: list[ast.expr | None] = []
        match node:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in WRITERS:
                parts = list(node.args)
            case ast.keyword(arg="kind"):
                parts = [node.value]
            case ast.arguments():
                named = dict(zip(node.kwonlyargs, node.kw_defaults, strict=True))
                parts = [default for arg, default in named.items() if arg.arg == "kind"]
            case ast.Assign(targets=[ast.Name(id="kind")]):
                parts = [node.value]
        for part in parts:
            for leaf in ast.walk(part) if part is not None else ():
                if isinstance(leaf, ast.Constant) and KIND.fullmatch(str(leaf.value)):
                    yield str(leaf.value)


def test_every_kind_that_is_written_is_listed_and_every_listed_one_is_written() -> None:
    found = set(MADE)
    for path in ROOT.rglob("*.py"):
        if path.parent.name != "kinds":
            found |= set(written_in(ast.parse(path.read_text())))
    assert found - kinds.KINDS.keys() == set(), "list them in broker/kinds"
    assert kinds.KINDS.keys() - found == set(), "nothing writes these"


def test_the_rule_sees_a_kind_wherever_it_is_written() -> None:
    source = (
        "trail.record(tx, None, 'a.one', x)\nM = Move(('s',), 't', 'a.two')\n"
        "add(kind='a.three')\ndef f(*, kind: str = 'a.four'): ...\n"
        "kind = 'a.five' if x else 'a.six'\nother('a.seven')"
    )
    assert set(written_in(ast.parse(source))) == {
        *("a.one", "a.two", "a.three", "a.four", "a.five", "a.six")
    }


def test_the_page_of_kinds_is_the_one_that_the_list_makes() -> None:
    command = "python -m broker.kinds > docs/audit-events.md"
    assert DOCS.read_text() == write_page(), f"make it afresh: {command}"


def test_each_entry_has_the_form_of_its_kinds_schema(vendor: Vendor) -> None:
    """Each entry of a true log has the fields of its kind's schema, and no other."""
    known = json.loads(json.dumps(kind_schemas.write_schemas()))["$defs"]
    assert known.keys() == kinds.KINDS.keys()
    tenant_id, _ = vendor.enrol()
    vendor.integrate()
    for entry in map(json.loads, parse_bundle(vendor.export(tenant_id)).entries):
        schema = known[entry["kind"]]
        for part, form in ((entry, schema), *((entry[p], schema["properties"][p]) for p in PARTS)):
            assert set(form["required"]) <= part.keys() <= form["properties"].keys()
        assert all(
            len(value) == schema["properties"]["personal"]["properties"][name]["maxLength"]
            for name, value in entry["personal"].items()
        )


def test_each_kind_says_something_in_a_sentence_and_types_each_fact() -> None:
    for name, kind in kinds.KINDS.items():
        assert KIND.fullmatch(name)
        assert kind.says.endswith(".")
        assert set(kind.facts.values()) <= kinds.TYPES.keys()
        assert not kind.facts.keys() & set(kind.personal)


@pytest.mark.parametrize(
    ("kind", "facts", "personal"),
    [
        ("grant.dreamt", {}, []),
        ("grant.ended", {"whose": "x"}, []),
        ("grant.ended", {"why": 1}, []),
        ("grant.ended", {"why": None}, []),
        ("person.erased", {"openings": True}, []),
        ("grant.ended", {"why": "x"}, ["note"]),
    ],
)
def test_what_is_not_listed_is_not_recorded(
    vendor: Vendor,
    kind: str,
    facts: dict[str, object],
    personal: list[str],
) -> None:
    with pytest.raises(kinds.Unlisted), vendor.as_(system("tests")) as tx:
        trail.record(tx, None, kind, "x", facts, [trail.Personal(field, "x") for field in personal])


def test_a_listed_entry_is_recorded(vendor: Vendor) -> None:
    with vendor.as_(system("tests")) as tx:
        trail.record(tx, None, "grant.ended", "grt_x", {"why": "over"})
    assert vendor.integrate() > 0
