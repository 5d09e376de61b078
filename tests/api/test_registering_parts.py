"""A part of a database is registered through the API: each form, and each thing that is wrong."""

from __future__ import annotations

import base64
import secrets

from tests.api.conftest import Api
from tests.world import enrol

ROWS = {"form": "rows", "columns": ["tenant"], "type": "integer", "value": "7"}


def body(api: Api, **more: object) -> dict:
    return {
        "tenant": api.world.tenant,
        "name": "Shop",
        "host": "127.0.0.1",
        "port": 5432,
        "dbname": f"shop_{secrets.token_hex(3)}",
        "login": f"sab_broker_{secrets.token_hex(3)}",
        "schemas": ["shop"],
        "sealed_password": base64.b64encode(b"sealed").decode(),
        **more,
    }


def test_each_form_is_registered_and_read_back_and_wrong_ones_name_their_field(api: Api) -> None:
    whole = ROWS | {
        "tables": [{"table": "shop.old", "column": "code", "type": "text", "value": "seven"}],
        "shared": ["shop.plans"],
    }
    for tenancy in ({"form": "schema"}, whole):
        made = api.post(api.world.operator, "/databases", body(api, tenancy=tenancy))
        assert made.status_code == 201, made.json
        assert made.json["tenancy"] == tenancy
    plain = api.post(api.world.operator, "/databases", body(api))
    assert plain.json["tenancy"] == {"form": "database"}
    other, _ = enrol(api.world, "Another tenant")
    same = body(api, tenant=other, tenancy={"form": "schema"}, dbname=plain.json["dbname"])
    assert api.post(api.world.operator, "/databases", same).status_code == 409
    for tenancy, field in WRONG:
        answer = api.post(api.world.operator, "/databases", body(api, tenancy=tenancy))
        assert answer.status_code == 422, tenancy
        assert field in str(answer.json["fields"]), answer.json


WRONG = (
    ({"form": "world"}, "form"),
    ({}, "form"),
    ({"form": "schema", "value": "7"}, "value"),
    (ROWS | {"value": "007"}, "value"),
    (ROWS | {"type": "uuid"}, "value"),
    (ROWS | {"type": "money"}, "type"),
    (ROWS | {"columns": []}, "columns"),
    (ROWS | {"columns": ["tenant", "tenant"]}, "columns"),
    (ROWS | {"shared": ["plans"]}, "tables"),
    (ROWS | {"tables": [{"table": "shop.a", "column": "c"}] * 2}, "tables"),
    (ROWS | {"tables": [{"table": "s.a", "column": "c"}], "shared": ["s.a"]}, "shared"),
)
