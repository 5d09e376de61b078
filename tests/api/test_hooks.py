"""Webhooks are hints; one that is forged, not of now, or sent again does nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
import standardwebhooks
from werkzeug.test import TestResponse

from broker.secret import Secret
from tests.api.conftest import Api

OTHER = "whsec_" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
BODY = json.dumps({"type": "ticket.closed", "data": {"id": "T-1"}})


def send(
    api: Api,
    secret: str,
    *,
    message_id: str = "msg_1",
    age_s: int = 0,
    body: str = BODY,
    name: str = "generic",
) -> TestResponse:
    at = datetime.now(tz=UTC) - timedelta(seconds=age_s)
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(secret).sign(message_id, at, BODY),
    }
    client = api.app.test_client()
    return client.post(f"/hooks/tickets/{name}", data=body, headers=headers)


def traces(api: Api) -> list[int]:
    """How many rows a webhook could have left, and jobs."""
    tables = ("ticket_hint", "webhook_seen", "procrastinate_jobs", "audit_entry", "ticket")
    with api.world.as_(api.world.operator) as tx:
        return [tx.session.scalar(sa.text(f"SELECT count(*) FROM {name}")) for name in tables]


def test_a_webhook_leaves_a_hint_and_a_job_and_nothing_else(api: Api) -> None:
    before = traces(api)
    assert send(api, api.webhook_secret).status_code == 200
    assert traces(api) == [before[0] + 1, before[1] + 1, before[2] + 1, *before[3:]]


def test_a_replay_is_taken_and_changes_nothing(api: Api) -> None:
    send(api, api.webhook_secret)
    before = traces(api)
    assert send(api, api.webhook_secret).status_code == 200
    assert traces(api) == before


@pytest.mark.parametrize(
    "bad",
    [
        {"secret": OTHER},
        {"age_s": 3600},
        {"age_s": -3600},
        {"body": BODY.replace("T-1", "T-2")},
        {"body": "{}"},
    ],
    ids=["forged", "stale", "from the future", "changed", "emptied"],
)
def test_a_webhook_that_does_not_hold_changes_nothing(api: Api, bad: dict) -> None:
    before = traces(api)
    refused = send(api, bad.pop("secret", api.webhook_secret), **bad)
    assert refused.status_code == 401
    assert refused.mimetype == "application/problem+json"
    assert traces(api) == before


def test_an_unknown_ticket_system_is_not_found(api: Api) -> None:
    assert send(api, api.webhook_secret, name="zendesk").status_code == 404


def test_a_look_is_ordered_by_the_vendor_alone(api: Api) -> None:
    for actor in (api.world.admin, api.world.engineer):
        api.token(actor)
    before = traces(api)
    assert api.post(api.world.admin, "/tickets/look", {"external_id": "T-9"}).status_code == 403
    assert traces(api) == before
    assert api.post(api.world.engineer, "/tickets/look", {"external_id": "T-9"}).status_code == 202
    assert traces(api)[0] == before[0] + 1


def test_what_can_be_no_ticket_is_not_looked_for(api: Api) -> None:
    api.token(api.world.engineer)
    before = traces(api)
    for name in ("../x", "a b", "é"):
        refused = api.post(api.world.engineer, "/tickets/look", {"external_id": name})
        assert refused.status_code == 422
        assert refused.json["fields"] == {"external_id": "not an id"}
    assert traces(api) == before


def test_the_webhook_secret_is_in_no_answer(api: Api) -> None:
    assert Secret(api.webhook_secret).reveal().encode() not in send(api, OTHER).data
