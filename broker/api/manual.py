"""`/api/docs`: the specification as a page to read, and `/api/openapi.json`, the same for programs.

Made from the code, on the server, without a script or anything of another host. Both say what the
API is and nothing of who uses it, so nobody need be signed in to read them (G12).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Flask, Response, redirect, render_template, url_for

from broker.api.examples import EXAMPLES
from broker.db import Json

_REF = "#/components/"


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: str
    says: str
    required: bool


@dataclass(frozen=True, slots=True)
class Described:
    """One operation: what it takes beside its path's ids, what it is sent, what it answers."""

    name: str
    method: str
    path: str
    says: str
    public: bool
    parameters: Sequence[Field]
    body: Sequence[Field]
    status: str
    answer: Sequence[Field]
    example: str | None


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    operations: Sequence[Described]


def register_manual(app: Flask, document: Json) -> None:
    blueprint = Blueprint("manual", __name__, url_prefix="/api", template_folder="templates")
    from broker.api.problem_types import list_types  # here: it is a program too

    groups, problems = list(read_groups(document)), list_types()
    text = json.dumps(document, ensure_ascii=False)

    @blueprint.get("/docs")
    def show() -> str:
        version = document["info"]["version"]
        return render_template("api/docs.html", groups=groups, problems=problems, version=version)

    @blueprint.get("/openapi.json")
    def specification() -> Response:
        return Response(text, mimetype="application/json")

    @app.get("/problems/<word>")
    def show_problem(word: str) -> Response:
        """Where the `type` of an error leads."""
        return redirect(url_for("manual.show", _anchor=f"problem-{word}"))  # type: ignore[return-value]  # it is one of Flask's

    app.register_blueprint(blueprint)


def read_groups(document: Json) -> Iterator[Group]:
    by_tag: dict[str, list[Described]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            if method != "parameters":
                by_tag[told["tags"][0]].append(_read(document, f"{method.upper()} {path}", told))
    for tag in document["tags"]:
        yield Group(tag["description"], by_tag[tag["name"]])


def _read(document: Json, route: str, told: Json) -> Described:
    method, path = route.split(" ")
    example = EXAMPLES.get(told["operationId"])
    status = next(code for code in told["responses"] if code.startswith("2"))
    parameters = [_resolve(document, one) for one in told.get("parameters", [])]
    return Described(
        name=told["operationId"],
        method=method,
        path=path,
        says=" ".join([told.get("summary", ""), told.get("description", "")]).strip(),
        public=not told["security"],
        parameters=[
            _field(document, one["name"], one["schema"], one.get("required"), one)
            for one in parameters
        ],
        body=_fields(document, _schema(document, told.get("requestBody", {}))),
        status=status,
        answer=_fields(document, _schema(document, told["responses"][status])),
        example=None if example is None else example.command(),
    )


def _resolve(document: Json, part: Json) -> Json:
    """What a `$ref` stands for."""
    while "$ref" in part:
        kind, name = part["$ref"].removeprefix(_REF).split("/")
        part = document["components"][kind][name]
    return part


def _schema(document: Json, told: Json) -> Json:
    content = _resolve(document, told).get("content", {})
    return _resolve(document, content.get("application/json", {}).get("schema", {}))


def _fields(document: Json, schema: Json) -> list[Field]:
    required = schema.get("required", [])
    return [
        _field(document, name, told, name in required)
        for name, told in schema.get("properties", {}).items()
    ]


def _field(
    document: Json, name: str, schema: Json, required: Any, told: Mapping[str, Any] = {}
) -> Field:
    says = told.get("description") or schema.get("description") or ""
    return Field(name, _type(document, schema), says, bool(required))


def _type(document: Json, schema: Json) -> str:
    """In a word or two: `text or null`, `list of object`, `one of asked, given`."""
    found = _resolve(document, schema)
    if "enum" in found:
        return "one of " + ", ".join(str(value) for value in found["enum"] if value is not None)
    for join in ("anyOf", "allOf", "oneOf"):
        if join in found:
            return " or ".join(_type(document, part) for part in found[join])
    kinds = found.get("type", "any")
    if "array" in kinds and "items" in found:
        return "list of " + _type(document, found["items"])
    words = {"string": found.get("format", "text"), "object": "object"}
    named = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(words.get(kind, kind) for kind in named)
