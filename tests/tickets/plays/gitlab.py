"""GitLab: "Issues API", "Notes API", "Webhook events" of its documentation."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask, jsonify, request

from broker.secret import Secret
from broker.tickets import FetchedTicket, TicketSystem
from broker.tickets.driver import Account
from broker.tickets.gitlab import GitlabTickets
from tests.tickets.plays.base import AGENT, ASKS, BASE, WRITTEN, Play, Said

PROJECT = "group/support"


def issue(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": 100000 + number,
        "iid": number,
        "project_id": 4,
        "title": "Ut commodi ullam eos",
        "state": "opened",
        "labels": ["bug", "customer::acme"],
        "issue_type": "incident",
        "severity": "CRITICAL",
        "web_url": f"{BASE}/{PROJECT}/-/issues/{number}",
        "moved_to_id": None,
        "closed_at": None,
        **changes,
    }


class Gitlab(Play):
    def __init__(self) -> None:
        super().__init__(
            FetchedTicket(
                external_id="20",
                title="Ut commodi ullam eos",
                customer="acme",
                closed=False,
                url=f"{BASE}/{PROJECT}/-/issues/20",
                severity="critical",
                category="incident",
            ),
            closed=("2", "3"),
            gone="404",
            locked=None,
            broken=issue(20, state="reopened"),
            unmapped=("5", "6"),
            tickets={
                "20": issue(20),
                "2": issue(2, state="closed"),
                "3": issue(3, state="closed", moved_to_id=77),
                "5": issue(5, labels=[]),
                "6": issue(6, labels=["customer::acme", "customer::other"]),
            },
            window_s=None,
            signed=False,
        )

    def build(self, account: Account) -> TicketSystem:
        return GitlabTickets(account, PROJECT)

    def add_routes(self, app: Flask) -> None:
        """The project's path is one part of the address, its slash encoded."""
        issues = f"/api/v4/projects/{PROJECT}/issues"

        @app.get(f"{issues}/<number>")
        def show(number: str) -> Any:
            if number not in self.tickets:
                return jsonify(message="404 Not found"), 404
            return jsonify(self.tickets[number])

        @app.get(issues)
        def show_several() -> Any:
            asked = request.args.getlist("iids[]")[: int(request.args.get("per_page", "20"))]
            return jsonify([self.tickets[one] for one in asked if one in self.tickets])

        @app.get(f"{issues}/<number>/notes")
        def notes(number: str) -> Any:
            del number
            assert (request.args["sort"], request.args["order_by"]) == ("desc", "created_at")
            return jsonify(self.remarks)

        @app.get("/api/v4/users/7")
        def user() -> Any:
            return jsonify(id=7, username="erin", state="active", public_email=AGENT)

        @app.post(f"{issues}/<number>/notes")
        def note(number: str) -> Any:
            if number not in self.tickets:
                return jsonify(message="404 Not found"), 404
            asked = request.get_json()
            self.said.append(Said(number, asked["body"], asked["internal"]))
            return jsonify(id=302), 201

    def remark(self, text: str, *, hidden: bool = True, **changes: Any) -> dict[str, Any]:
        return {
            "id": 302,
            "body": text,
            "author": {"id": 7, "username": "erin", "name": "Erin", "state": "active"},
            "created_at": WRITTEN,
            "system": False,
            "noteable_type": "Issue",
            "internal": hidden,
            **changes,
        }

    def strangers(self) -> list[dict[str, Any]]:
        return [*super().strangers(), self.remark(ASKS, system=True)]

    def sign(
        self, external_id: str, secret: Secret[str], at_s: float
    ) -> tuple[dict[str, str], bytes]:
        named: object = int(external_id) if external_id.isdigit() else external_id
        body = json.dumps(
            {
                "object_kind": "issue",
                "event_type": "issue",
                "project": {"id": 4, "path_with_namespace": PROJECT},
                "object_attributes": {"iid": named, "action": "close", "updated_at": at_s},
            }
        ).encode()
        return {"X-Gitlab-Event": "Issue Hook", "X-Gitlab-Token": secret.reveal()}, body
