"""Kinds of a scope through the API: asked, shown, narrowed, refused."""

from __future__ import annotations

from tests.api.conftest import Api


def test_raw_columns_are_asked_shown_and_masked_by_the_decision(api: Api) -> None:
    asked = api.ask(
        api.world.ticket(), copy_s=0, kind="raw", raw_columns=["crm.contacts.email"]
    ).json
    assert (asked["asked_kind"], asked["raw_columns"]) == ("raw", ["crm.contacts.email"])
    api.world.work()
    path = f"/grants/{asked['id']}"
    plan = api.get(api.world.admin, f"{path}/plan").json
    assert plan["kind"] == "raw"
    raw = [
        f"{table['schema']}.{table['name']}.{column['name']}"
        for table in plan["tables"]
        for column in table["columns"]
        if column["raw"]
    ]
    assert raw == asked["raw_columns"]
    body = {"shown_digest": plan["digest"], "columns_masked": raw}
    given = api.post(api.world.admin, f"{path}/approve", body).json
    assert given["given_kind"] == "masked"
    (decision,) = api.get(api.world.admin, f"{path}/decisions").json["items"]
    assert decision["kind"] == "masked"


def test_a_kind_that_can_not_be_is_refused_with_what_to_do(api: Api) -> None:
    ticket = api.world.ticket()
    refusals = {
        "kind": [
            {"kind": "write"},
            {"kind": "everything"},
            {"kind": "raw", "raw_columns": ["crm.contacts.email"]},  # with a copy
        ],
        "raw_columns": [{"kind": "raw", "copy_s": 0}, {"raw_columns": ["crm.contacts.email"]}],
    }
    for field, bodies in refusals.items():
        for body in bodies:
            answer = api.ask(ticket, **body)
            assert answer.status_code == 422, body
            assert field in answer.json["fields"], answer.json
    assert "ask for a copy and change that" in api.ask(ticket, kind="write").json["fields"]["kind"]


def test_a_decision_restricts_rows_and_says_which(api: Api) -> None:
    grant = api.ask(api.world.ticket(), copy_s=0).json
    api.world.work()
    path = f"/grants/{grant['id']}"
    digest = api.get(api.world.admin, f"{path}/plan").json["digest"]
    sector = {"table": "crm.companies", "column": "sector"}
    for wrong in (
        {**sector},
        {**sector, "values": ["food"], "days": 3},
        {"table": "crm.contacts", "column": "email", "values": ["x"]},
        {"table": "crm.companies", "column": "id", "values": ["1 OR 1=1"]},
    ):
        body = {"shown_digest": digest, "rows_only": [wrong]}
        answer = api.post(api.world.admin, f"{path}/approve", body)
        assert answer.status_code == 422, wrong
        assert "rows" in answer.json["fields"]
    body = {"shown_digest": digest, "rows_only": [{**sector, "values": ["food"]}]}
    assert api.post(api.world.admin, f"{path}/approve", body).status_code == 200
    given = api.get(api.world.engineer, f"{path}/plan?which=given").json
    only = {f"{t['schema']}.{t['name']}": t["rows_only"] for t in given["tables"] if t["rows_only"]}
    assert only == {"crm.companies": [{"column": "sector", "values": ["food"], "days": 0}]}
