"""Freshdesk: "API v2: tickets, conversations, rate limit" of its documentation."""

from __future__ import annotations

import base64
import json
from typing import Any

from flask import Flask, jsonify, request

from broker.secret import Secret
from broker.tickets import FetchedTicket, TicketSystem
from broker.tickets.driver import Account
from broker.tickets.freshdesk import FreshdeskTickets
from tests.tickets.plays.base import AGENT, ASKS, BASE, TOKEN, WRITTEN, Play, Said


def ticket(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "cc_emails": [],
        "fr_escalated": False,
        "spam": False,
        "priority": 4,
        "requester_id": 1,
        "source": 2,
        "company_id": 77,
        "status": 2,
        "subject": "Exports stop at noon",
        "id": number,
        "type": "Incident",
        "deleted": None,
        "stats": {"reopened_at": "2026-09-01T10:00:00Z", "resolved_at": None, "closed_at": None},
        **changes,
    }


class Freshdesk(Play):
    def __init__(self) -> None:
        super().__init__(
            FetchedTicket(
                external_id="20",
                title="Exports stop at noon",
                customer="77",
                closed=False,
                url=f"{BASE}/a/tickets/20",
                severity="urgent",
                category="incident",
                reopened="2026-09-01T10:00:00Z",
            ),
            closed=("2", "3", "4", "5"),
            gone="404",
            locked=None,
            broken=ticket(20, status="2"),
            unmapped=("6",),
            tickets={
                "20": ticket(20),
                "2": ticket(2, status=4),
                "3": ticket(3, status=5),
                "4": ticket(4, spam=True),
                "5": ticket(5, deleted=True),
                "6": ticket(6, company_id=None),
            },
            window_s=None,
            remembers=False,
            signed=False,
        )

    def login(self) -> str:
        return f"Basic {base64.b64encode(f'{TOKEN.reveal()}:X'.encode()).decode()}"

    def build(self, account: Account) -> TicketSystem:
        return FreshdeskTickets(account)

    def add_routes(self, app: Flask) -> None:
        @app.get("/api/v2/tickets/<number>")
        def show(number: str) -> Any:
            """Without `include=stats` there are none; what is not there is an empty 404."""
            if number not in self.tickets:
                return "", 404
            shown = dict(self.tickets[number])
            if request.args.get("include") != "stats":
                del shown["stats"]
            return jsonify(shown)

        @app.get("/api/v2/tickets/<number>/conversations")
        def conversations(number: str) -> Any:
            """Pages of a hundred at most, the oldest first."""
            del number
            size, page = int(request.args["per_page"]), int(request.args["page"])
            return jsonify(self.remarks[size * (page - 1) : size * page])

        @app.get("/api/v2/agents/<number>")
        def agent(number: str) -> Any:
            """Whoever is no agent has no page here."""
            if number != "7":
                return "", 404
            return jsonify(id=7, available=True, contact={"active": True, "email": AGENT})

        @app.post("/api/v2/tickets/<number>/notes")
        def note(number: str) -> Any:
            if number not in self.tickets:
                return "", 404
            asked = request.get_json()
            self.said.append(Said(number, asked["body"], asked["private"]))
            return jsonify(id=5, private=True, ticket_id=int(number)), 201

    def remark(self, text: str, *, hidden: bool = True, **changes: Any) -> dict[str, Any]:
        return {
            "id": 3,
            "body": f"<div>{text}</div>",
            "body_text": text,
            "incoming": False,
            "private": hidden,
            "user_id": 7,
            "support_email": None,
            "source": 2,
            "ticket_id": 20,
            "created_at": WRITTEN,
            **changes,
        }

    def strangers(self) -> list[dict[str, Any]]:
        return [
            *super().strangers(),
            self.remark(ASKS, incoming=True),
            self.remark(ASKS, source=0),
        ]

    def sign(
        self, external_id: str, secret: Secret[str], at_s: float
    ) -> tuple[dict[str, str], bytes]:
        """As the rule that docs/ticket-systems.md describes; it says no instant."""
        del at_s
        number: object = int(external_id) if external_id.isdigit() else external_id
        body = json.dumps({"freshdesk_webhook": {"ticket_id": number}}).encode()
        return {"X-Broker-Token": secret.reveal()}, body
