"""Jira Cloud: "Issues", "Issue comments", "Webhooks" of Atlassian's documentation."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from flask import Flask, jsonify, request

from broker.secret import Secret
from broker.tickets import FetchedTicket, TicketSystem
from broker.tickets.driver import Account
from broker.tickets.jira import JiraTickets
from tests.tickets.plays.base import AGENT, ASKS, BASE, Play, Said

FIELD = "customfield_10002"  # organizations, of Service Management


def issue(key: str, *, category: str = "indeterminate", **changes: Any) -> dict[str, Any]:
    return {
        "expand": "renderedFields,names,schema",
        "id": "10002",
        "self": f"{BASE}/rest/api/2/issue/10002",
        "key": key,
        "fields": {
            "summary": "Main order flow broken",
            "status": {
                "name": "Work in progress",
                "id": "3",
                "statusCategory": {"id": 4, "key": category, "colorName": "yellow"},
            },
            "priority": {"name": "Highest", "id": "1"},
            "issuetype": {"name": "[System] Incident", "id": "10101", "subtask": False},
            FIELD: [{"id": "12", "name": "Acme", "_links": {"self": f"{BASE}/organization/12"}}],
            **changes,
        },
    }


class Jira(Play):
    def __init__(self) -> None:
        super().__init__(
            FetchedTicket(
                external_id="SUP-1",
                title="Main order flow broken",
                customer="12",
                closed=False,
                url=f"{BASE}/browse/SUP-1",
                severity="highest",
            ),
            closed=("SUP-2", "OLD-3"),
            gone="SUP-404",
            locked=None,
            broken=issue("SUP-1", category="undefined"),
            unmapped=("SUP-5", "SUP-6", "SUP-7"),
            window_s=12 * 3600,
            tickets={
                "SUP-1": issue("SUP-1"),
                "SUP-2": issue("SUP-2", category="done"),
                "OLD-3": issue("NEW-9"),  # moved: it answers under its new key
                "SUP-5": issue("SUP-5", **{FIELD: []}),
                "SUP-6": issue("SUP-6", **{FIELD: [{"id": "12"}, {"id": "13"}]}),
                "SUP-7": issue("SUP-7", **{FIELD: None}),
            },
        )

    def build(self, account: Account) -> TicketSystem:
        return JiraTickets(account, FIELD)

    def refuse(self) -> Any:
        """As Jira Cloud does: a wrong token is nobody's, and nobody sees no issue."""
        message = "Issue does not exist or you do not have permission to see it."
        return jsonify(errorMessages=[message], errors={}), 404

    def add_routes(self, app: Flask) -> None:
        @app.get("/rest/api/2/issue/<key>")
        def show(key: str) -> Any:
            if key not in self.tickets:
                return self.refuse()
            return jsonify(self.tickets[key])

        @app.post("/rest/api/3/issue/bulkfetch")
        def fetch() -> Any:
            """Those that are not there stand in no list, not in the one of errors either."""
            asked = request.get_json()["issueIdsOrKeys"]
            found = [self.tickets[key] for key in asked if key in self.tickets]
            return jsonify(expand="names", issueErrors=[], issues=found)

        @app.get("/rest/api/2/issue/<key>/comment")
        def comments(key: str) -> Any:
            del key
            assert request.args["orderBy"] == "-created"
            return jsonify(startAt=0, maxResults=100, total=1, comments=self.remarks)

        @app.post("/rest/api/2/issue/<key>/comment")
        def comment(key: str) -> Any:
            if key not in self.tickets:
                return self.refuse()
            asked = request.get_json()
            internal = {"key": "sd.public.comment", "value": {"internal": True}}
            self.said.append(Said(key, asked["body"], internal in asked["properties"]))
            return jsonify(id="10000"), 201

    def remark(self, text: str, *, hidden: bool = True, **changes: Any) -> dict[str, Any]:
        return {
            "id": "10000",
            "author": {
                "accountId": "5b10a2844c20165700ede21g",
                "emailAddress": AGENT,
                "active": True,
                "accountType": "atlassian",
            },
            "body": text,
            "created": "2026-09-21T10:00:00.000+0000",
            "jsdPublic": not hidden,
            **changes,
        }

    def strangers(self) -> list[dict[str, Any]]:
        customer = {"emailAddress": AGENT, "active": True, "accountType": "customer"}
        left = {"emailAddress": AGENT, "active": False, "accountType": "atlassian"}
        return [
            *super().strangers(),
            self.remark(ASKS, author=customer),
            self.remark(ASKS, author=left),
        ]

    def sign(
        self, external_id: str, secret: Secret[str], at_s: float
    ) -> tuple[dict[str, str], bytes]:
        body = json.dumps(
            {
                "timestamp": int(at_s * 1000),
                "webhookEvent": "jira:issue_updated",
                "issue_event_type_name": "issue_generic",
                "issue": issue(external_id),
                "changelog": {"id": "10124", "items": [{"field": "status"}]},
            }
        ).encode()
        digest = hmac.digest(secret.reveal().encode(), body, hashlib.sha256)
        return {
            "X-Hub-Signature": f"sha256={digest.hex()}",
            "X-Atlassian-Webhook-Identifier": "6f1c4ab2",
            "X-Atlassian-Webhook-Retry": "1",
        }, body
