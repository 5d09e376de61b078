"""JSON by path: what no path names is gone, whatever the document looks like."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from broker.embedded import EmbeddedServer
from broker.engines import Column, Fate, Table
from broker.engines.json_paths import Node, read_paths
from broker.engines.postgres.connect import connect
from broker.engines.postgres.masks import SESSION_KEY, masked_select, session_options
from broker.errors import Invalid
from broker.secret import Secret
from tests.conftest import new_database, superuser

KEY = Secret(bytes(range(32)))
PATHS = (
    ("a", "keep"),
    ("b.mail", "email"),
    ("items[].a", "keep"),
    ("items[].b[]", "token"),
    ("by.*.a", "keep"),
    ("by.mail", "constant"),
)
EMPTY: dict[type, Any] = {dict: {}, list: [], str: "", int: 0, float: 0, bool: False}
JSON_TYPES = pytest.mark.parametrize("type_name", ["json", "jsonb"])


@pytest.fixture(scope="module")
def reader(live_server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    target = superuser(live_server, new_database(live_server))
    with connect(target, options=session_options(KEY)) as connection:
        for name in ("json", "jsonb"):
            connection.execute(f"CREATE TABLE public.{name}_t (n int, c {name})")
        yield connection


def mask_all(
    reader: psycopg.Connection, type_name: str, documents: list[str], paths: Any = PATHS
) -> list[Any]:
    name = f"{type_name}_t"
    columns = (Column("n", "integer", "integer"), Column("c", type_name, type_name))
    fates = {"n": Fate("keep", "", ""), "c": Fate("json_paths", "l", "", paths)}
    select, _ = masked_select(Table("public", name, "table", columns), fates, SESSION_KEY)
    with reader.transaction(force_rollback=True):
        table = sql.Identifier("public", name)
        for number, document in enumerate(documents):
            values = (number, document)
            reader.execute(sql.SQL("INSERT INTO {} VALUES (%s, %s)").format(table), values)
        return [made for _, made in sorted(reader.execute(select).fetchall())]


def code(path: str, what: str, text: str) -> str:
    message = f"l {what} {path}".encode() + b"\0" + text.encode()
    return hmac.new(KEY.reveal(), message, hashlib.sha256).hexdigest()


def masked(mask: str, path: str, text: str) -> str:
    digest = code(path, "value", text)
    made = {"email": f"u{digest[:16]}@example.invalid", "token": digest[:32], "constant": ""}
    return made[mask]


def project(value: Any, node: Node, path: tuple[str, ...] = ()) -> Any:
    """What the mask should give, told in Python."""
    if isinstance(value, dict):
        return project_object(value, node, path)
    if isinstance(value, list):
        items = node.items
        return [project(child, items, (*path, "[]")) for child in value] if items else []
    if value is None or node.mask == "keep":
        return value
    if node.mask is not None and isinstance(value, str):
        return masked(node.mask, "/".join(path), value)
    return EMPTY[type(value)]


def project_object(value: dict[str, Any], node: Node, path: tuple[str, ...]) -> dict[str, Any]:
    named = {k: project(value[k], n, (*path, k)) for k, n in node.fields.items() if k in value}
    if node.others is None:
        return named
    way = (*path, "*")
    return named | {
        code("/".join(way), "key", key)[:16]: project(child, node.others, way)
        for key, child in value.items()
        if key not in node.fields
    }


KEYS = st.sampled_from(["a", "b", "mail", "items", "by", "x", 'q"\\', "é"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@JSON_TYPES
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(DOCUMENTS, min_size=1, max_size=8))
def test_what_is_named_stays_or_is_masked_and_nothing_else(
    reader: psycopg.Connection, type_name: str, documents: list[Any]
) -> None:
    made = mask_all(reader, type_name, [json.dumps(document) for document in documents])
    assert made == [project(document, read_paths(PATHS)) for document in documents]


HIDDEN = ("marked-value", "4711", "marked-key")
PLACES = [
    '{"x": "marked-value", "marked-key": 1, "b": {"mail": "marked-value", "x": 4711}}',
    '{"a": {"marked-key": "marked-value"}, "b": "marked-value", "items": {"a": "marked-value"}}',
    '{"a": ["marked-value"], "items": ["marked-value", [{"a": "marked-value"}], {"x": 4711}]}',
    '{"items": [{"b": {"marked-key": 4711}}, {"b": ["marked-value", 4711, ["marked-value"]]}]}',
    '{"by": {"marked-key": {"x": 4711}, "mail": "marked-value"}, "b": {"mail": 4711}}',
    '"marked-value"', "4711", '["marked-value"]', '[[{"a": "marked-value"}]]',
]  # fmt: skip


@JSON_TYPES
def test_no_marked_value_or_key_stays(reader: psycopg.Connection, type_name: str) -> None:
    made = mask_all(reader, type_name, PLACES)
    assert not [word for word in HIDDEN for document in made if word in json.dumps(document)]


def test_json_keeps_no_earlier_value_of_a_key_that_stands_twice(reader: psycopg.Connection) -> None:
    made = mask_all(reader, "json", ['{"a": "marked-value", "a": "seen", "x": 1, "x": 4711}'])
    assert made == [{"a": "seen"}]


@pytest.mark.parametrize("escape", [r"\u0000", r"\ud800", r"\udc00\ud800", r"\ud83d\ud83d"])
def test_json_that_postgresql_takes_but_cannot_read_keeps_its_kind_alone(
    reader: psycopg.Connection, escape: str
) -> None:
    hidden = f'{{"a": "seen", "x": "{escape}"}}'
    assert mask_all(reader, "json", [hidden, '{"a": "\\ud83d\\ude00"}']) == [{}, {"a": "😀"}]


def test_a_path_may_name_hostile_keys(reader: psycopg.Connection) -> None:
    key = "a.b\"c\\d'; DROP TABLE x; -- %s"
    path = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    document = json.dumps({key: "seen", "a": {'b"c': 4711}})
    assert mask_all(reader, "jsonb", [document], ((path, "keep"),)) == [{key: "seen"}]


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a[0]", "a[", "[]x", 'a"b', "a\\b"])
def test_a_path_that_cannot_be_read_is_named(path: str) -> None:
    with pytest.raises(Invalid, match="JSON path"):
        read_paths([(path, "keep")])


def test_a_path_that_is_named_twice_is_an_error() -> None:
    with pytest.raises(Invalid, match="named twice"):
        read_paths([("a", "keep"), ('"a"', "token")])


def test_a_mask_that_gives_no_text_cannot_mask_a_string(reader: psycopg.Connection) -> None:
    with pytest.raises(Invalid, match="can't mask a string"):
        mask_all(reader, "jsonb", ["{}"], (("a", "year"),))
