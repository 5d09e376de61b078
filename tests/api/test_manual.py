"""`/api/docs`: every operation stands on it, and it asks no other host for anything."""

from __future__ import annotations

import json
import re

import pytest

from broker.api.manual import read_groups
from broker.api.specification import make_specification
from tests.api.conftest import Api

DOCUMENT = json.loads(make_specification())


@pytest.mark.long
def test_the_page_has_every_operation_and_nothing_of_another_host(api: Api) -> None:
    client = api.app.test_client(use_cookies=False)
    page = client.get("/api/docs")
    assert page.status_code == 200
    for methods in DOCUMENT["paths"].values():
        for method, told in methods.items():
            if method != "parameters":
                assert f'id="{told["operationId"]}"' in page.text
    assert "<script" not in page.text
    assert not [link for link in re.findall(r'(?:src|href)="([^"]+)"', page.text) if "//" in link]
    assert client.get("/api/openapi.json").json == DOCUMENT
    assert api.world.tenant not in page.text


def test_what_an_operation_takes_is_told_in_words() -> None:
    told = {one.name: one for group in read_groups(DOCUMENT) for one in group.operations}
    ask = {field.name: field for field in told["request_grant"].body}
    assert (ask["reason"].type, ask["reason"].required) == ("text", True)
    assert ask["raw_columns"].type == "list of text"
    assert ask["starts_at"].type == "date-time or null"
    plan = {field.name: field for field in told["get_plan"].parameters}
    assert plan["which"].type == "one of asked, given"
    lease = [field.name for field in told["ask_lease"].parameters]
    assert lease == ["wait", "Idempotency-Key"]
    assert "state" in [field.name for field in told["get_lease"].answer]
