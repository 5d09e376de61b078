"""Zendesk: its pages "Tickets", "Side-Loading", "Ticket events" and "Verifying webhooks"."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from flask import Flask, jsonify, request

from broker.secret import Secret
from broker.tickets import FetchedTicket, TicketSystem
from broker.tickets.driver import Account
from broker.tickets.zendesk import ZendeskTickets
from tests.tickets.plays.base import AGENT, ASKS, BASE, TOKEN, WRITTEN, Play, Said


def ticket(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "url": f"{BASE}/api/v2/tickets/{number}.json",
        "external_id": None,
        "created_at": "2026-09-20T22:55:29Z",
        "updated_at": "2026-09-21T05:38:32Z",
        "type": "incident",
        "subject": "My printer is on fire!",
        "raw_subject": "{{dc.printer_on_fire}}",
        "priority": "high",
        "status": "open",
        "requester_id": 20978392,
        "organization_id": 509974,
        "tags": ["enterprise", "other_tag"],
        "custom_fields": [{"id": 27642, "value": "745"}],
        "metric_set": {"ticket_id": number, "reopens": 3, "solved_at": None},
        **changes,
    }


class Zendesk(Play):
    def __init__(self) -> None:
        link = f"{BASE}/agent/tickets/35436"
        super().__init__(
            FetchedTicket(
                external_id="35436",
                title="My printer is on fire!",
                customer="509974",
                closed=False,
                url=link,
                severity="high",
                category="incident",
                reopened="3",
            ),
            closed=("2", "3", "4"),
            gone="404",
            locked="3",
            broken=ticket(35436, status="somehow"),
            unmapped=("5",),
            tickets={
                "35436": ticket(35436),
                "2": ticket(2, status="solved"),
                "3": ticket(3, status="closed", tags=["closed_by_merge"]),
                "4": ticket(4, status="deleted"),
                "5": ticket(5, organization_id=None),
            },
        )

    def login(self) -> str:
        pair = f"agent@vendor.test/token:{TOKEN.reveal()}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def more(self) -> dict[str, str]:
        return {"user": "agent@vendor.test"}

    def build(self, account: Account) -> TicketSystem:
        return ZendeskTickets(account)

    def add_routes(self, app: Flask) -> None:
        @app.get("/api/v2/tickets/<number>")
        def show(number: str) -> Any:
            if number not in self.tickets:
                return jsonify(error="RecordNotFound", description="Not found"), 404
            return jsonify(ticket=self.tickets[number])

        @app.get("/api/v2/tickets/show_many")
        def show_many() -> Any:
            """Deleted and unknown ones are left out, in no order that was asked for."""
            asked = list(request.args["ids"].split(","))
            found = [self.tickets[one] for one in sorted(asked) if one in self.tickets]
            return jsonify(tickets=found, count=len(found), next_page=None, previous_page=None)

        @app.get("/api/v2/tickets/<number>/comments")
        def comments(number: str) -> Any:
            """The users are there for `include=users` alone."""
            del number
            assert request.args.to_dict() == {
                "sort_order": "desc",
                "per_page": "100",
                "include": "users",
            }
            users = [
                {"id": 7, "email": AGENT, "role": "agent", "suspended": False},
                {"id": 8, "email": "customer@tenant.test", "role": "end-user", "suspended": False},
                {"id": 9, "email": AGENT, "role": "agent", "suspended": True},
            ]
            return jsonify(comments=self.remarks, users=users, next_page=None, count=1)

        @app.put("/api/v2/tickets/<number>")
        def update(number: str) -> Any:
            if number not in self.tickets:
                return jsonify(error="RecordNotFound"), 404
            if self.tickets[number]["status"] == "closed":
                return jsonify(error="RecordInvalid", details={"status": []}), 422
            comment = request.get_json()["ticket"]["comment"]
            self.said.append(Said(number, comment["body"], not comment["public"]))
            return jsonify(ticket=self.tickets[number], audit={"id": 1})

    def remark(self, text: str, *, hidden: bool = True, **changes: Any) -> dict[str, Any]:
        return {
            "id": 1274,
            "type": "Comment",
            "author_id": 7,
            "body": text,
            "html_body": f"<p>{text}</p>",
            "plain_body": text,
            "public": not hidden,
            "via": {"channel": "web", "source": {"from": {}, "to": {}, "rel": None}},
            "created_at": WRITTEN,
            **changes,
        }

    def strangers(self) -> list[dict[str, Any]]:
        return [
            *super().strangers(),
            self.remark(ASKS, author_id=8),
            self.remark(ASKS, author_id=9),
            self.remark(ASKS, via={"channel": "email"}),
        ]

    def sign(
        self, external_id: str, secret: Secret[str], at_s: float
    ) -> tuple[dict[str, str], bytes]:
        body = json.dumps(
            {
                "account_id": 22129848,
                "detail": {"id": external_id, "status": "SOLVED", "organization_id": "509974"},
                "event": {"current": "SOLVED", "previous": "OPEN"},
                "event_version": "2022-11-06",
                "id": "01JXW6N9M4BHZKQ8ZT1Y0V2C3D",
                "subject": f"zen:ticket:{external_id}",
                "time": "2026-09-21T14:13:20.000Z",
                "type": "zen:event-type:ticket.status_changed",
                "zendesk_event_version": "2022-11-06",
            }
        ).encode()
        timestamp = datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")
        digest = hmac.digest(secret.reveal().encode(), timestamp.encode() + body, hashlib.sha256)
        return {
            "X-Zendesk-Webhook-Signature": base64.b64encode(digest).decode(),
            "X-Zendesk-Webhook-Signature-Timestamp": timestamp,
            "X-Zendesk-Webhook-Invocation-Id": "01JXW6NAFA9Y7KJ2",
        }, body
