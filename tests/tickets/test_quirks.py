"""What only one vendor does."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import UTC, datetime

import httpx
import pytest
import standardwebhooks
from flask import Flask, jsonify

from broker.secret import Secret
from broker.tickets import TicketSystemUnavailable, WebhookRefused, jira
from broker.tickets.driver import Account
from broker.tickets.gitlab import GitlabTickets
from broker.tickets.jira import JiraTickets
from broker.tickets.linear import LinearTickets
from tests.tickets.plays.base import AGENT, ASKS, BASE, TOKEN
from tests.tickets.plays.freshdesk import Freshdesk
from tests.tickets.plays.glpi import Glpi
from tests.tickets.plays.jira import Jira, issue
from tests.tickets.plays.linear import Linear


class Raw(httpx.BaseTransport):
    """Keeps the address as it goes over the line, and answers 404."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.raw_path)
        return httpx.Response(404, stream=httpx.ByteStream(b""))


def test_gitlabs_project_is_one_part_of_the_address() -> None:
    raw = Raw()
    GitlabTickets(Account(BASE, TOKEN, "1", transport=raw), "group/support").find("7")
    assert raw.paths == [b"/api/v4/projects/group%2Fsupport/issues/7"]


def test_gitlabs_signing_token_is_checked_as_standard_webhooks_say() -> None:
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    account = Account(BASE, TOKEN, "1", webhook_secrets=[Secret(secret)])
    driver = GitlabTickets(account, "group/support")
    body = json.dumps({"object_kind": "note", "issue": {"iid": 7}})
    at = datetime.now(UTC)
    headers = {
        "webhook-id": "f5e5f430",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(secret).sign("f5e5f430", at, body),
    }
    assert driver.read_webhook(headers, body.encode()).external_id == "7"
    with pytest.raises(WebhookRefused):
        driver.read_webhook(headers, body.replace("7", "8").encode())


def test_glpis_token_is_got_once_and_again_when_it_has_ended() -> None:
    play = Glpi()
    driver = play.driver()
    for _ in range(3):
        driver.find("20")
    assert play.given == 1
    driver._until = 0.0
    driver.find("20")
    assert play.given == 2


def test_linears_too_many_is_an_answer_400() -> None:
    app = Flask("busy")

    @app.post("/graphql")
    def busy() -> object:
        return jsonify(errors=[{"message": "x", "extensions": {"code": "RATELIMITED"}}]), 400

    transport = httpx.WSGITransport(app=app)
    driver = LinearTickets(Account(BASE, TOKEN, "SUP-1", transport=transport))
    with pytest.raises(TicketSystemUnavailable) as caught:
        driver.find("SUP-1")
    assert caught.value.facts == {"retry_after_s": 60}


def test_linears_own_keys_go_without_a_word_before_them() -> None:
    key = Secret("lin_api_0123456789")
    play = Linear()
    play.login = key.reveal  # type: ignore[method-assign]
    play.driver(token=key).probe()


def test_jira_of_ones_own_has_no_list_and_its_projects_may_be_the_customers() -> None:
    """Data Center: no bulk fetch; a personal access token."""
    app = Flask("data center")

    @app.get("/rest/api/2/issue/<key>")
    def show(key: str) -> object:
        return jsonify(issue(key, project={"id": "7", "key": "ACME"}))

    transport = httpx.WSGITransport(app=app)
    driver = JiraTickets(Account(BASE, TOKEN, "ACME-1", transport=transport))
    assert driver.find_many(["ACME-1", "ACME-2"]) == {}
    found = driver.find("ACME-1")
    assert found is not None
    assert found.customer == "ACME"


def test_jiras_wrong_token_makes_each_issue_missing_and_the_probe_tells() -> None:
    driver = Jira().driver(token=Secret("another-token"))
    assert driver.find("SUP-1") is None
    with pytest.raises(TicketSystemUnavailable, match="SUP-1"):
        driver.probe()


def test_freshdesks_first_reopening_changes_the_mark_too() -> None:
    play = Freshdesk()
    play.tickets["20"]["stats"] = {"reopened_at": None}
    before = play.driver().find("20").reopened
    play.tickets["20"]["stats"] = {"reopened_at": "2026-09-02T10:00:00Z"}
    assert (before, play.driver().find("20").reopened) == ("never", "2026-09-02T10:00:00Z")


def test_glpis_webhook_about_a_follow_up_names_its_ticket() -> None:
    """Of what hangs on a ticket: `itemtype` and `items_id`, or the ticket's own field on a task."""
    play = Glpi()
    for item, named in (
        ({"id": 8, "itemtype": "Ticket", "items_id": 20}, "20"),
        ({"id": 8, "tickets_id": 21}, "21"),
    ):
        assert play.driver().read_webhook(*play.sign_item(item)).external_id == named
    with pytest.raises(WebhookRefused, match="names no ticket"):
        play.driver().read_webhook(*play.sign_item({"id": 8, "itemtype": "Change", "items_id": 20}))


def test_freshdesks_last_notes_are_on_its_last_page() -> None:
    play = Freshdesk()
    play.remarks = [*([play.remark("a note")] * 230), play.remark(ASKS)]
    (found,) = play.driver().list_commands("20")
    assert found.text == ASKS


def test_jira_of_ones_own_says_in_a_property_that_a_comment_is_internal() -> None:
    play = Jira()
    shown = play.remark(ASKS, author={"emailAddress": AGENT, "active": True})
    del shown["jsdPublic"]
    play.remarks = [shown, shown | {"properties": [jira._INTERNAL]}]
    (found,) = play.driver().list_commands("SUP-1")
    assert found.author == AGENT
