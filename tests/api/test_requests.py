"""How requests are read and errors are told, and what every answer carries."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from broker.api import waiting
from broker.api.specification import make_specification
from broker.errors import SettingsError
from broker.http import create_app
from broker.ids import new_id
from broker.settings import Web
from tests.api.conftest import Api, with_tickets

SPECIFICATION = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_the_committed_specification_is_the_codes() -> None:
    command = "python -m broker.api.specification > docs/openapi.json"
    assert SPECIFICATION.read_text() == make_specification(), f"it is stale; run: {command}"


def test_a_bad_request_names_each_field(api: Api) -> None:
    answer = api.post(
        api.world.engineer,
        "/grants",
        {"ticket": "grt_1", "database": 5, "live_s": "60", "reason": "a\0b", "colour": "red"},
    )
    assert (answer.status_code, answer.mimetype) == (422, "application/problem+json")
    assert answer.json["type"] == "https://broker.test/problems/invalid"
    assert set(answer.json["fields"]) == {
        *("ticket", "database", "category", "live_s", "reason", "colour")
    }


def test_what_the_rules_refuse_names_each_field_too(api: Api) -> None:
    answer = api.ask(api.world.ticket(), reason="short", category="whim", live_s=10**6)
    assert answer.status_code == 422
    assert set(answer.json["fields"]) == {"reason", "category", "live_s"}


@pytest.mark.parametrize(
    "query", ["?state=open", "?limit=0", "?limit=101", "?cursor=x", "?teant=tnt_1", "?tenant=1"]
)
def test_a_filter_that_is_not_meant_is_refused_not_ignored(api: Api, query: str) -> None:
    answer = api.get(api.world.engineer, f"/grants{query}")
    assert answer.status_code == 422
    (field,) = answer.json["fields"]
    assert field.partition(".")[0] == query[1:].partition("=")[0]


@pytest.mark.parametrize("text", ["\0", "\ud800"])
def test_no_text_that_the_database_can_not_take_gets_there(api: Api, text: str) -> None:
    for path, body in (
        ("/tickets/look", {"external_id": text}),
        ("/invitations/accept", {"code": text, "password": text * 12}),
        ("/sign-in", {"email": text, "password": "x"}),
    ):
        assert api.post(api.world.engineer, path, body).status_code == 422


def test_a_path_that_is_no_id_is_not_found(api: Api) -> None:
    for path in ("/grants/x", "/grants/%00", f"/grants/{new_id('grt')}x", "/nothing"):
        answer = api.get(api.world.engineer, path)
        nothing = api.get(api.world.engineer, f"/grants/{new_id('grt')}")
        assert (answer.status_code, answer.data) == (404, nothing.data)


def test_pages_hold_everything_once_also_what_one_transaction_did(api: Api) -> None:
    world = api.world
    grant_id = world.approved()
    leases = {world.lease(grant_id)[0] for _ in range(4)}
    api.post(world.admin, f"/grants/{grant_id}/end")  # all four change at one instant
    found: list[str] = []
    cursor = ""
    while True:
        page = api.get(world.engineer, f"/leases?limit=1{cursor}").json
        found += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert sorted(found) == sorted(leases)


def test_waiting_ends_at_once_when_there_is_nothing_to_wait_for(api: Api) -> None:
    world = api.world
    grant_id = world.request()
    world.work()
    answer = api.get(world.engineer, f"/grants/{grant_id}?wait=10")
    assert answer.json["asked_digest"]
    assert "Retry-After" not in answer.headers


def test_beyond_the_places_for_waiting_the_answer_comes_at_once(api: Api) -> None:
    grant_id = api.world.request()
    with ExitStack() as taken:
        for _ in range(waiting.PLACES):
            taken.enter_context(waiting._places)
        answer = api.get(api.world.engineer, f"/grants/{grant_id}?wait=10")
    assert (answer.status_code, answer.headers["Retry-After"]) == (200, "2")
    assert answer.json["asked_digest"] is None


@pytest.mark.parametrize("path", ["/api/v1/me", "/api/v1/nothing", "/healthz"])
def test_every_answer_carries_the_strict_headers(api: Api, path: str) -> None:
    headers = api.app.test_client().get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Strict-Transport-Security"].startswith("max-age=")
    assert headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in headers


def test_a_foreign_host_a_wrong_method_and_too_much_are_refused(api: Api) -> None:
    client = api.app.test_client()
    foreign = client.get("/api/v1/me", headers={"Host": "evil.test"})
    assert foreign.status_code == 400
    assert "Set-Cookie" not in foreign.headers
    assert client.delete("/api/v1/me").status_code == 405
    big = api.post(api.world.engineer, "/tokens", {"name": "x" * (1 << 20), "days": 1})
    assert big.status_code == 413
    assert big.mimetype == "application/problem+json"


def test_a_defect_tells_nobody_anything(
    api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = api.token(api.world.engineer)
    marked = f"SELECT 'a row''s value' FROM {'nowhere'}"

    def fail() -> str:
        with api.world.as_(api.world.engineer) as tx:
            return str(tx.session.scalar(sa.text(marked)))

    monkeypatch.setitem(api.app.view_functions, "accounts.get_me", fail)
    answer = api.app.test_client().get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 500
    assert answer.json["type"] == "https://broker.test/problems/defect"
    out, err = capsys.readouterr()
    assert "request_failed" in out + err
    assert "nowhere" not in answer.text + out + err
    assert "a row" not in answer.text + out + err


def test_healthz_says_whether_the_control_database_answers(api: Api) -> None:
    client = api.app.test_client()
    assert client.get("/healthz").text == "ok"


def test_the_application_does_not_start_without_its_secret_key(api: Api) -> None:
    broker = with_tickets(api.world.broker, api.webhook_secret)
    object.__setattr__(broker, "settings", broker.settings.model_copy(update={"web": Web()}))
    with pytest.raises(SettingsError, match="BROKER_WEB__SECRET_KEY"):
        create_app(broker)


def test_cookies_are_bound_to_this_host_and_no_setting_weakens_them(api: Api) -> None:
    config = api.app.config
    assert config["SESSION_COOKIE_NAME"].startswith("__Host-")
    assert config["SESSION_COOKIE_SECURE"]
    assert config["SESSION_COOKIE_HTTPONLY"]
    assert config["SESSION_COOKIE_SAMESITE"] == "Lax"


def test_problems_hide_the_words_of_what_was_not_found(api: Api) -> None:
    path = f"/grants/{new_id('grt')}"
    problem = json.loads(api.get(api.world.admin, path).data)
    assert problem == {
        "type": "https://broker.test/problems/not-found",
        "title": "not found",
        "status": 404,
        "detail": "there is no such thing, or you may not see it",
    }
