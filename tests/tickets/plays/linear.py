"""Linear: "GraphQL", "Filtering", "Rate limiting", "Webhooks" of its documentation."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from flask import Flask, jsonify, request

from broker.secret import Secret
from broker.tickets import FetchedTicket, TicketSystem
from broker.tickets.driver import Account
from broker.tickets.linear import LinearTickets
from tests.tickets.plays.base import AGENT, ASKS, BASE, WRITTEN, Play, Said

# Those of the group alone: the query asks for no others.
ACME = [{"name": "acme"}]


def issue(identifier: str, kind: str = "started", **changes: Any) -> dict[str, Any]:
    return {
        "identifier": identifier,
        "title": "Charts are blank",
        "url": f"{BASE}/acme/issue/{identifier}",
        "trashed": None,
        "priorityLabel": "Urgent",
        "state": {"type": kind},
        "labels": {"nodes": ACME},
        **changes,
    }


class Linear(Play):
    def __init__(self) -> None:
        super().__init__(
            FetchedTicket(
                external_id="SUP-1",
                title="Charts are blank",
                customer="acme",
                closed=False,
                url=f"{BASE}/acme/issue/SUP-1",
                severity="urgent",
            ),
            closed=("SUP-2", "SUP-3", "SUP-4", "SUP-5", "OLD-6"),
            gone="SUP-404",
            locked=None,
            broken=issue("SUP-1", "somehow"),
            unmapped=("SUP-7", "SUP-8"),
            tickets={
                "SUP-1": issue("SUP-1"),
                "SUP-2": issue("SUP-2", "completed"),
                "SUP-3": issue("SUP-3", "canceled"),
                "SUP-4": issue("SUP-4", "duplicate"),
                "SUP-5": issue("SUP-5", trashed=True),
                "OLD-6": issue("NEW-1"),
                "SUP-7": issue("SUP-7", labels={"nodes": []}),
                "SUP-8": issue("SUP-8", labels={"nodes": [*ACME, {"name": "other"}]}),
            },
            window_s=60,
            internal=False,
        )

    def build(self, account: Account) -> TicketSystem:
        return LinearTickets(account)

    def refuse(self) -> Any:
        return _error("Authentication required, not authenticated", "AUTHENTICATION_ERROR"), 400

    def add_routes(self, app: Flask) -> None:
        @app.post("/graphql")
        def answer() -> Any:
            asked = request.get_json()
            variables = asked["variables"]
            if "issues(filter" in asked["query"]:
                wanted = [
                    f"{one['team']['key']['eq']}-{one['number']['eq']}"
                    for one in variables["filter"]["or"]
                ]
                found = [self.tickets[one] for one in wanted if one in self.tickets]
                return jsonify(data={"issues": {"nodes": found[: variables["first"]]}})
            name = variables.get("id") or variables["input"]["issueId"]
            if "comments(" in asked["query"]:
                return jsonify(data={"issue": {"comments": {"nodes": self.remarks}}})
            if name not in self.tickets:
                return _error("Entity not found: Issue", "INPUT_ERROR")
            if "commentCreate" in asked["query"]:
                self.said.append(Said(name, variables["input"]["body"], internal=False))
                return jsonify(data={"commentCreate": {"success": True}})
            return jsonify(data={"issue": self.tickets[name]})

    def remark(self, text: str, *, hidden: bool = True, **changes: Any) -> dict[str, Any]:
        """One that is told elsewhere too, to a customer say, stands in a thread of its own kind."""
        return {
            "id": "8a5f2ad2",
            "body": text,
            "createdAt": WRITTEN,
            "externalThread": None if hidden else {"type": "slack"},
            "user": {"email": AGENT, "active": True, "guest": False},
            **changes,
        }

    def strangers(self) -> list[dict[str, Any]]:
        guest = {"email": AGENT, "active": True, "guest": True}
        return [*super().strangers(), self.remark(ASKS, user=guest), self.remark(ASKS, user=None)]

    def sign(
        self, external_id: str, secret: Secret[str], at_s: float
    ) -> tuple[dict[str, str], bytes]:
        body = json.dumps(
            {
                "action": "update",
                "type": "Issue",
                "data": {"id": "2174add1-f7c8-44e3-bbf3-2d60b5ea8bc9", "identifier": external_id},
                "organizationId": "b4b8b2f1",
                "webhookTimestamp": int(at_s * 1000),
                "webhookId": "000042e3-d123-4980-b49f-8e140eef9329",
            }
        ).encode()
        digest = hmac.digest(secret.reveal().encode(), body, hashlib.sha256)
        return {"Linear-Signature": digest.hex(), "Linear-Delivery": "234d1a4e"}, body


def _error(message: str, code: str) -> Any:
    """As Linear says it: in an answer 200, with `data` empty."""
    return jsonify(data=None, errors=[{"message": message, "extensions": {"code": code}}])
