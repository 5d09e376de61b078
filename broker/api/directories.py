"""Directories: where an organisation's people come from (SCIM), and their tokens."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from broker.api.operations import new_blueprint, operation
from broker.api.shapes import Answer, Sent, identity, list_of, text, whole
from broker.db import Json
from broker.directories import registering
from broker.ids import TenantId
from broker.people import TENANT_ROLES
from broker.tx import Tx

blueprint = new_blueprint("directories", "Directories that make and end people (SCIM)")


class DirectoryQuery(Sent):
    tenant = identity("tnt")


class DirectoryBody(Sent):
    tenant = identity("tnt")
    name = text(200)
    role = fields.String(
        load_default="auditor",
        validate=validate.OneOf(TENANT_ROLES),
        metadata={"description": "of people for whom the directory names none"},
    )


class DirectoryAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    name = fields.String()
    role = fields.String()
    registered_at = fields.AwareDateTime()
    used_at = fields.AwareDateTime(allow_none=True)


class NewDirectoryAnswer(DirectoryAnswer):
    token = fields.String(metadata={"description": "for `/scim/v2` alone; shown once"})


class DirectoryTokenAnswer(Answer):
    id = fields.String()
    token = fields.String(metadata={"description": "shown once; the one before it is void"})


@operation(blueprint, "GET /directories", query=DirectoryQuery, answer=list_of(DirectoryAnswer))
def list_directories(tx: Tx, query: Json) -> Json:
    """The directories of a tenant."""
    return whole(registering.list_directories(tx, TenantId(query["tenant"])))


@operation(
    blueprint,
    "POST /directories",
    takes=DirectoryBody,
    answer=NewDirectoryAnswer,
    status=201,
    secret=True,
)
def register_directory(tx: Tx, body: Json) -> dict[str, Any]:
    """Let a directory make and end people of a tenant; its token is in this answer alone."""
    row, token = registering.register(tx, TenantId(body["tenant"]), body["name"], body["role"])
    shown = {name: getattr(row, name) for name in ("id", "tenant_id", "name", "role", "used_at")}
    return {**shown, "registered_at": row.registered_at, "token": token.reveal()}


@operation(
    blueprint,
    "POST /directories/<id:directory_id>/token",
    answer=DirectoryTokenAnswer,
    secret=True,
)
def replace_directory_token(tx: Tx, directory_id: str) -> Json:
    """Another token in place of the one before, which is void at once."""
    return {"id": directory_id, "token": registering.replace_token(tx, directory_id).reveal()}


@operation(blueprint, "DELETE /directories/<id:directory_id>", status=204)
def remove_directory(tx: Tx, directory_id: str) -> None:
    """Its token opens nothing any more; the people stay as they are."""
    registering.remove(tx, directory_id)
