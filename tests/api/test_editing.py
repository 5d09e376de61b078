"""`ETag` and `If-Match`: of two who edit the same form, one is told."""

from __future__ import annotations

import pytest
from werkzeug.test import TestResponse

from tests.api.conftest import Api
from tests.world import enrol


def send(api: Api, method: str, path: str, body: object = None, **headers: str) -> TestResponse:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    sent["Authorization"] = f"Bearer {api.token(api.world.admin)}"
    client = api.app.test_client(use_cookies=False)
    return client.open(f"/api/v1{path}", method=method, json=body, headers=sent)


def test_of_two_who_edit_the_same_form_one_is_told(api: Api) -> None:
    path = f"/tenants/{api.world.tenant}/approval-policy"
    seen = send(api, "GET", path)
    tag = seen.headers["ETag"]
    assert send(api, "GET", path, If_None_Match=tag).status_code == 304
    first = send(api, "POST", path, {"approvals": 1, "masked_only": True}, If_Match=tag)
    assert (first.status_code, first.json["version"]) == (200, seen.json["version"] + 1)
    second = send(api, "POST", path, {"approvals": 1}, If_Match=tag)
    assert second.status_code == 412
    assert second.json["type"] == "https://broker.test/problems/changed-meanwhile"
    assert send(api, "GET", path).headers["ETag"] == first.headers["ETag"] != tag
    assert (
        send(api, "POST", path, {"approvals": 1}, If_Match=first.headers["ETag"]).status_code == 200
    )
    assert send(api, "POST", path, {"approvals": 1}).status_code == 200  # whatever stands there


@pytest.mark.long
def test_a_tag_tells_nothing_of_another_tenant(api: Api) -> None:
    """G12: also with a tag, theirs can't be told from what is not there."""
    other, _ = enrol(api.world, "Other tenant")
    nothing = "tnt_" + "a" * 26
    for tag in ("*", '"x"'):
        answers = [
            send(api, "POST", f"/tenants/{named}/approval-policy", {"approvals": 1}, If_Match=tag)
            for named in (other, nothing)
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].data == answers[1].data


@pytest.mark.long
def test_a_database_is_edited_from_the_form_that_was_seen(api: Api) -> None:
    path = f"/databases/{api.world.database_id}"
    tag = send(api, "GET", path).headers["ETag"]
    body = {"known_logins": ["app"]}
    assert send(api, "POST", f"{path}/known-logins", body, If_Match=tag).status_code == 200
    assert send(api, "POST", f"{path}/standbys", {"standbys": []}, If_Match=tag).status_code == 412
