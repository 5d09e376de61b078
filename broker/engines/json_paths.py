"""Paths into JSON documents, as the masking policy names them: `status`, `customer.email`,
`items[].sku`, `rates.*`. Pure.

A path names scalars: strings, numbers, booleans. `[]` is every element of an array, `*` every key
that no other path names; `"a.b"` is a key with a dot in it. What no path names does not stay, nor
does an object or an array in a place where a scalar was named: it holds what nobody looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from broker.errors import Invalid

_STEP = re.compile(r'(?:"((?:[^"\\]|\\.)+)"|(\*)|([^."\[\]*\\]+))((?:\[\])*)(?:\.(?=.)|$)')
_ROOT = re.compile(r"((?:\[\])+)(?:\.(?=.)|$)")
_MAX_STEPS = 20


@dataclass(slots=True)
class Node:
    """What becomes of the value here: `mask` of a scalar, `fields` and `others` (all other keys) of
    an object, `items` of an array.
    """

    mask: str | None = None
    fields: dict[str, Node] = field(default_factory=dict)
    others: Node | None = None
    items: Node | None = None


def read_paths(paths: Iterable[tuple[str, str]]) -> Node:
    """The tree of (path, mask) pairs. Raises Invalid with the path that can't be read."""
    root = Node()
    for path, mask in paths:
        node = root
        for step in _steps(path):
            node = _enter(node, step)
        if node.mask is not None:
            raise Invalid(f"the JSON path {path!r} is named twice")
        node.mask = mask
    return root


def _enter(node: Node, step: str | None) -> Node:
    if step is None:
        node.items = node.items or Node()
        return node.items
    if step == "*":
        node.others = node.others or Node()
        return node.others
    return node.fields.setdefault(step.removeprefix("."), Node())


def _steps(path: str) -> list[str | None]:
    """None is every element, `*` every other key, and a key stands behind a dot."""
    steps: list[str | None] = []
    place = 0
    if root := _ROOT.match(path):
        steps += [None] * (len(root[1]) // 2)
        place = root.end()
    while place < len(path):
        step = _STEP.match(path, place)
        if step is None:
            raise Invalid(
                f"the JSON path {path!r} can't be read at its character {place + 1}; it looks like "
                'customer.email, items[].sku, rates.* or "a.b".c'
            )
        quoted, star, plain, elements = step.groups()
        key = re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        steps.append(star or f".{key}")
        steps += [None] * (len(elements) // 2)
        place = step.end()
    if not steps or len(steps) > _MAX_STEPS or "\0" in path:
        raise Invalid(f"the JSON path {path!r} has no step, or more than {_MAX_STEPS}")
    return steps
