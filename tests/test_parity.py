"""Everything that a page does, the API and the command line do: no hole, and no wrong entry."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

import click
import pytest

from broker.api import BLUEPRINTS
from tests import parity
from tests.parity import COMMANDS, PAGES, Only, Operation

OURS = ("broker.web.", "broker.api", "broker.cli")
# Asked by nearly every view: it tells no two of them apart.
PLUMBING = ("broker.people", "broker.db", "broker.bootstrap", "broker.ids", "broker.signin.find")
SENT = {
    "get": "GET",
    "pages": "GET",
    "wait": "GET",
    "get_bytes": "GET",
    "post_for_bytes": "POST",
    "get_positioned": "GET",
    "get_pieces": "GET",
} | {
    "post": "POST",
    "delete": "DELETE",
}


def functions_of(function: Callable[..., Any]) -> Iterator[tuple[FunctionType, ast.AST]]:
    """The function and those that it names in its own layer, each with its tree."""
    waiting, seen = [inspect.unwrap(function)], set()
    while waiting:
        one = waiting.pop()
        if one in seen or not isinstance(one, FunctionType):
            continue
        seen.add(one)
        yield one, tree_of(one)
        waiting += [found for found in named_in(one) if found.__module__.startswith(OURS)]


@functools.cache
def tree_of(function: FunctionType) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


@functools.cache
def named_in(function: FunctionType) -> tuple[FunctionType, ...]:
    """Functions of ours that its text names: `request`, `deciding.approve`."""
    tree = tree_of(function)
    known = {**vars(sys.modules[function.__module__]), **imported_in(tree)}
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name):
                value = known.get(name)
            case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                owner = known.get(name)
                value = getattr(owner, attribute, None) if isinstance(owner, ModuleType) else None
            case _:
                continue
        if isinstance(value, click.Command):
            value = value.callback
        if isinstance(value, FunctionType):
            found.append(inspect.unwrap(value))
    return tuple(one for one in found if one.__module__.startswith("broker"))


def imported_in(tree: ast.AST) -> dict[str, Any]:
    """What a command imports when it runs."""
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("broker"):
            module = __import__(node.module, fromlist=["x"])
            for alias in node.names:
                found[alias.asname or alias.name] = getattr(module, alias.name, None)
    return found


def reached(function: Callable[..., Any]) -> set[str]:
    """Functions of the domain that a view calls."""
    found = {
        f"{one.__module__}.{one.__qualname__}"
        for inner, _ in functions_of(function)
        for one in named_in(inner)
    }
    return {name for name in found if not name.startswith((*OURS, *PLUMBING))}


def view_of(operation: Operation) -> Callable[..., Any]:
    for blueprint in BLUEPRINTS:
        for _, module in inspect.getmembers(sys.modules["broker.api"], inspect.ismodule):
            if getattr(module, "blueprint", None) is blueprint and hasattr(module, operation.name):
                view: Callable[..., Any] = getattr(module, operation.name)
                return view
    raise AssertionError(operation)


def sent_by(function: Callable[..., Any]) -> set[tuple[str, str]]:
    """(method, word) for each fixed word in what a command sends."""
    nodes = [node for _, tree in functions_of(function) for node in ast.walk(tree)]
    texts = [node.value for node in nodes if isinstance(node, ast.Constant)]
    words = {word for text in texts if isinstance(text, str) for word in text.split("/")}
    called = {name for node in nodes for name in method_of(node)}
    return {(SENT[name], word) for name in called & set(SENT) for word in words}


def method_of(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Call(func=ast.Attribute(attr=name)):
            yield name


# The same document, made on the reader's own machine.
BY_ITSELF = {"get_schemas"}
OPERATIONS = {operation.name: operation for operation in parity.list_operations()}


def test_every_page_has_its_operation() -> None:
    assert {page.name for page in parity.list_pages()} == set(PAGES)
    named = {name for names in PAGES.values() if isinstance(names, tuple) for name in names}
    assert named <= set(OPERATIONS)


def test_every_operation_has_its_command() -> None:
    assert set(OPERATIONS) == set(COMMANDS)
    missing = [
        command
        for command in COMMANDS.values()
        if not isinstance(command, Only) and parity.find_command(command) is None
    ]
    assert not missing


def test_a_page_and_its_operation_do_the_same() -> None:
    """They call a function of the domain in common, so a wrong entry in the table is seen."""
    views = parity.console().view_functions
    apart = [
        (page, name)
        for page, names in PAGES.items()
        if isinstance(names, tuple)
        for name in names
        if not reached(views[f"console.{page}"]) & reached(view_of(OPERATIONS[name]))
    ]
    assert not apart


def test_a_command_sends_what_its_operation_takes() -> None:
    """But for what a command knows by itself and asks nobody."""
    apart = []
    for name, words in COMMANDS.items():
        command = None if isinstance(words, Only) else parity.find_command(words)
        if name in BY_ITSELF:
            continue
        if command is not None and command.callback is not None:
            sent, operation = sent_by(command.callback), OPERATIONS[name]
            if missing := {(operation.method, word) for word in operation.words} - sent:
                apart.append((name, words, missing))
    assert not apart


@pytest.mark.parametrize("wrong", ["refuse_grant", "end_lease"])
def test_a_wrong_entry_would_be_seen(wrong: str) -> None:
    approve = parity.console().view_functions["console.grants.approve"]
    command = parity.find_command("grants approve")
    assert command is not None
    assert command.callback is not None
    operation = OPERATIONS[wrong]
    domain = "broker.grants.deciding.approve"
    assert domain in reached(approve)
    assert domain not in reached(view_of(operation))
    assert not {(operation.method, word) for word in operation.words} <= sent_by(command.callback)


def test_the_page_of_parity_is_current() -> None:
    page = parity.PAGE.read_text()
    assert page == parity.make_page(), f"run: {parity.COMMAND}"
